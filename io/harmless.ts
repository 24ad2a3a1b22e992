/** Texts that others choose, on their way to a terminal or a log: what a node, a gateway, a manifest or a message says. */

/**
 * A stranger's text for a terminal: control characters, escape sequences and bidirectional overrides are shown as `\u{…}`,
 * so that no message can move the cursor, colour or reorder what is printed around it. Line breaks stay.
 */
export function harmless(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) => {
    if (character === "\n" || character === "\t") return character;
    // Joiners make emoji and several scripts; on their own they do nothing to a terminal.
    if (character === "\u200d" || character === "\u200c") return character;
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}

/** The same in one line: no text can look like lines of their own. */
export function harmlessLine(text: string): string {
  return harmless(text).replaceAll("\n", "\\u{a}").replaceAll("\t", "\\u{9}");
}

/** The most characters of one line that others have a say in: enough for any reason, and too few to fill a disk or a screen. */
const MAX_LINE_CHARACTERS = 1_000;

/** The same in one line, cut in length. */
export function shortLine(text: string): string {
  // What is cut off is never looked at: it may be megabytes.
  const line = harmlessLine(text.slice(0, MAX_LINE_CHARACTERS));
  return text.length > MAX_LINE_CHARACTERS ? `${line}…` : line;
}

/** A JSON document that a terminal can show: it means the same, with what is not harmless as escapes. */
export function harmlessJson(value: object, indent = 2): string {
  return JSON.stringify(value, null, indent).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    character === "\n" ? character : escapeUnits(character),
  );
}

/** UTF-16 code units, as JSON has them. */
function escapeUnits(character: string): string {
  return Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`,
  ).join("");
}
