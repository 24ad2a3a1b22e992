/** The options of a script: one description gives the parser, the usage that `--help` prints, and the checks of each value. */
import { parseArgs } from "node:util";

interface Flag {
  readonly type: "flag";
  readonly about: string;
}

interface Text {
  readonly type: "text";
  /** What stands for the value in the usage, such as `TEXT`. */
  readonly value: string;
  readonly about: string;
  readonly default?: string;
}

interface Count {
  readonly type: "count";
  readonly value: string;
  readonly about: string;
  readonly default?: number;
}

export type Option = Flag | Text | Count;
export type Options = Readonly<Record<string, Option>>;

type ValueOf<Described extends Option> = Described extends Flag
  ? boolean
  : Described extends { readonly default: infer Default }
    ? Default extends number
      ? number
      : string
    : (Described extends Count ? number : string) | undefined;

export type Values<Described extends Options> = { readonly [Name in keyof Described]: ValueOf<Described[Name]> };

export interface Usage<Described extends Options> {
  /** As it is typed: `npm run demo`. */
  readonly command: string;
  /** What it does, in a sentence or a few lines. */
  readonly about: string;
  readonly options: Described;
  /** What stands for arguments without a name in the usage; without it they are refused. */
  readonly positionals?: string;
}

export interface Given<Described extends Options> {
  readonly values: Values<Described>;
  readonly positionals: readonly string[];
}

/** A mistake in what was typed. */
export class UsageError extends Error {}

/**
 * The options that this process was given. `--help` prints the usage and ends the process with 0; what the usage does not know ends
 * it with 1, so that a script never begins its work on a misspelt option.
 */
export function readOptions<const Described extends Options>(usage: Usage<Described>): Given<Described> {
  const args = process.argv.slice(2);
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${formatUsage(usage)}\n`);
    process.exit(0);
  }
  try {
    return parseOptions(usage, args);
  } catch (error) {
    if (error instanceof UsageError) failWithUsage(usage, error.message);
    throw error;
  }
}

/** Says what is wrong with what was typed, prints the usage, and ends the process with 1. */
export function failWithUsage(usage: Usage<Options>, what: string): never {
  process.stderr.write(`error[USAGE]: ${what}\n\n${formatUsage(usage)}\n`);
  process.exit(1);
}

/** @throws UsageError for an option that is unknown, or has no value or a wrong one */
export function parseOptions<const Described extends Options>(
  { options, positionals }: Usage<Described>,
  args: readonly string[],
): Given<Described> {
  const parsed = parseTyped(options, args, positionals !== undefined);
  const values = Object.entries(options).map(([name, option]) => [name, readValue(name, option, parsed.values[name])]);
  return { values: Object.fromEntries(values) as Values<Described>, positionals: parsed.positionals };
}

function parseTyped(options: Options, args: readonly string[], allowPositionals: boolean) {
  const types = Object.entries(options).map(([name, { type }]) => {
    return [name, { type: type === "flag" ? ("boolean" as const) : ("string" as const) }] as const;
  });
  try {
    return parseArgs({ args: [...args], options: Object.fromEntries(types), allowPositionals });
  } catch (error) {
    // parseArgs throws a TypeError with such a code for a mistake in the arguments. Its first sentence says what is wrong.
    if (!String((error as { code?: unknown }).code).startsWith("ERR_PARSE_ARGS")) throw error;
    throw new UsageError((error as Error).message.split(/\. |\n/, 1)[0]);
  }
}

function readValue(
  name: string,
  option: Option,
  given: string | boolean | undefined,
): string | number | boolean | undefined {
  if (option.type === "flag") return given === true;
  if (typeof given !== "string") return option.default;
  if (option.type === "text") return given;
  const count = Number(given);
  if (given.trim() === "" || !Number.isFinite(count) || count < 0) {
    throw new UsageError(`--${name} takes a number, not "${given}"`);
  }
  return count;
}

/** The line to type, what it does, and an aligned line for each option. */
export function formatUsage({ command, about, options, positionals }: Usage<Options>): string {
  const rows = Object.entries(options).map(([name, option]) => {
    const value = option.type === "flag" ? "" : ` ${option.value}`;
    const preset =
      option.type === "flag" || option.default === undefined || option.default === "" ? "" : option.default;
    return [`--${name}${value}`, `${option.about}${preset === "" ? "" : ` (default: ${preset})`}`] as const;
  });
  const brief = [...(positionals === undefined ? [] : [`[${positionals}]`]), ...rows.map(([name]) => `[${name}]`)];
  const width = Math.max(...rows.map(([name]) => name.length), "--help".length);
  return [
    `usage: ${[command, ...(brief.length === 0 ? [] : ["--"]), ...brief].join(" ")}`,
    "",
    about,
    "",
    ...[...rows, ["--help", "Print this"] as const].map(([name, what]) => `  ${name.padEnd(width)}  ${what}`),
  ].join("\n");
}
