/** The pinned compiler, for tools that want its output in a shape of their own. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { compiler } from "../hardhat.config.ts";
import { ROOT } from "./tool.ts";

/** What the compiler is given and gives, as far as it is looked at here: its own standard JSON. */
export interface Compilation {
  /** `0.8.37+commit.…` */
  readonly version: string;
  readonly input: { readonly sources: Readonly<Record<string, Source>> };
  readonly output: {
    readonly sources: Readonly<Record<string, { readonly id: number; readonly ast: object }>>;
    readonly contracts: Readonly<Record<string, Readonly<Record<string, CompiledContract>>>>;
  };
}

export interface CompiledContract {
  readonly abi: readonly object[];
  /** JSON text. */
  readonly metadata: string;
  readonly evm: {
    readonly bytecode: object;
    readonly deployedBytecode: object;
    readonly methodIdentifiers: Readonly<Record<string, string>>;
  };
}

interface Source {
  readonly content: string;
}

interface Compiler {
  version(): string;
  compile(input: string, callbacks: { import(path: string): { contents: string } | { error: string } }): string;
}

/** Loaded when it is used first: that takes most of a second. */
let solc: Compiler | undefined;

/** Compiles these files, relative to the project's folder, and what they import, as hardhat.config.ts says. */
export function compileSolidity(paths: readonly string[]): Compilation {
  const sources: Record<string, Source> = {};
  for (const path of paths) sources[path] = { content: readFileSync(join(ROOT, path), "utf8") };
  return compile(sources, { "*": { "": ["ast"], "*": ["abi", "metadata", "devdoc", "userdoc", "evm"] } });
}

/** Throws when the compiler would not take `content` as the file at `path`. */
export function checkSolidity(path: string, content: string): void {
  // To ask for an AST alone is to have everything checked and no code made.
  compile({ [path]: { content } }, { "*": { "": ["ast"] } });
}

function compile(sources: Record<string, Source>, outputSelection: object): Compilation {
  solc ??= createRequire(import.meta.url)("solc") as Compiler;
  const input = { language: "Solidity", sources, settings: { ...compiler.settings, outputSelection } };
  const find = (path: string): { contents: string } => {
    // What is in the repository lies where its name says, packages in node_modules.
    const folder = /^(contracts|test)\//.test(path) ? ROOT : join(ROOT, "node_modules");
    const contents = readFileSync(join(folder, path), "utf8");
    sources[path] = { content: contents };
    return { contents };
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: find })) as Compilation["output"] & {
    readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  };
  const errors = (output.errors ?? []).filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new Error(errors.map(({ formattedMessage }) => formattedMessage).join("\n"));
  return { version: solc.version().replace(/\.Emscripten\.clang$/, ""), input, output };
}
