/** Mutants: a Solidity source with one thing wrong in it. Whatever the tests let pass, they don't test. */

export interface Mutant {
  /** The file's name, then line and column, from 1. */
  readonly place: string;
  /** The line it is in, as written. */
  readonly line: string;
  /** `< → <=`; what is removed becomes nothing. */
  readonly change: string;
  /** The whole file with the change in it. */
  readonly source: string;
}

/** What else a programmer could have written there by mistake. */
const OPERATORS: Readonly<Record<string, readonly string[]>> = {
  "==": ["!="],
  "!=": ["=="],
  "<": ["<=", ">"],
  ">": [">=", "<"],
  "<=": ["<", ">"],
  ">=": [">", "<"],
  "&&": ["||"],
  "||": ["&&"],
  "+": ["-"],
  "-": ["+"],
  "*": ["/"],
  "/": ["*"],
  "%": ["/"],
  "&": ["|"],
  "|": ["&"],
  "<<": [">>"],
  ">>": ["<<"],
  "|=": ["&=", "="],
  "~": [""],
  "!": [""],
  "++": ["--"],
};

/** Each pattern's whole match goes; what is put there instead keeps the file a program. */
const REMOVALS: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  [/\bonlyOwner\b(?= \{)/g, ""],
  [/\bemit\b[^;]*;/g, "{}"],
  [/\brevert\b[^;]*;/g, "{}"],
  [/\breturn;/g, "{}"],
  // A call, an assignment or an increment that is a statement of its own.
  [/(?<=^ +(?:else )?)(?:_\w+\(.*\)|[\w.]+(?:\[.+\])? \|?= [^;]*|\+\+[\w.]+);$/gm, "{}"],
];

const TOKEN = /[<>]=|<<|>>|\|=|&&|\|\||\+\+|\*\*|=>|[=!]=|[-+*/%&|<>~!]|(?<![\w.])(?:0x[0-9a-f]+|\d+)\b/gi;

/** Every mutant of a source, in the order of their places. */
export function mutantsOf(name: string, source: string): Mutant[] {
  const code = blank(source);
  const mutants: (Mutant & { readonly start: number })[] = [];
  const add = (start: number, from: string, to: string): void => {
    const before = source.slice(0, start);
    const lineStart = before.lastIndexOf("\n") + 1;
    const place = `${name}:${before.split("\n").length}:${start - lineStart + 1}`;
    const line = source.slice(lineStart, source.indexOf("\n", start)).trim();
    const change = `${from.replaceAll(/\s+/g, " ")} → ${to === "" || to === "{}" ? "nothing" : to}`;
    mutants.push({ place, line, change, source: before + to + source.slice(start + from.length), start });
  };
  for (const { 0: token, index } of code.matchAll(TOKEN)) {
    if (/^\d/.test(token)) add(index, token, String(BigInt(token) + 1n));
    else for (const other of OPERATORS[token] ?? []) add(index, token, other);
  }
  for (const [pattern, replacement] of REMOVALS) {
    for (const { 0: text, index } of code.matchAll(pattern)) {
      add(index, source.slice(index, index + text.length), replacement);
    }
  }
  return mutants.sort((a, b) => a.start - b.start);
}

/** The source with spaces for comments, strings, imports and the pragma: nothing in them is a program's. */
function blank(source: string): string {
  return source.replaceAll(/\/\/.*|\/\*[^]*?\*\/|"[^"\n]*"|^(?:import|pragma)\b[^;]*;/gm, (text) =>
    text.replaceAll(/[^\n]/g, " "),
  );
}
