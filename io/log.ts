/** A service's log for its operator: one entry for each thing that happened, in one line, whoever had a say in its words. */
import type { ErrorCode } from "../protocol/error.ts";
import { harmlessJson, shortLine } from "./harmless.ts";

export const LOG_LEVELS = ["info", "warning", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LogDetails {
  /** `info` when it is not given. */
  readonly level?: LogLevel;
  readonly code?: ErrorCode;
  readonly hint?: string;
  /** Where a defect showed. */
  readonly cause?: unknown;
}

/** Takes one thing that happened; holds no key, plaintext, signature or URL secret. */
export type Log = (message: string, details?: LogDetails) => void;

export interface LogOptions {
  /** `text` for a person, a JSON document a line for a collector of logs. */
  readonly format: LogFormat;
  /** What is below it is not written. */
  readonly level: LogLevel;
  readonly write: (text: string) => void;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

const MAX_STACK_LINES = 30;

/** Reads LOG_FORMAT and LOG_LEVEL. An unknown value counts as unset here; parseEnvironment, which runs later, refuses it. */
export function readLogSettings(
  variables: Readonly<Record<string, string | undefined>>,
): Pick<LogOptions, "format" | "level"> {
  return {
    format: LOG_FORMATS.find((format) => format === variables["LOG_FORMAT"]) ?? "text",
    level: LOG_LEVELS.find((level) => level === variables["LOG_LEVEL"]) ?? "info",
  };
}

/** A log in which no message, whoever chose its words, can look like another entry or be long enough to fill the disk. */
export function openLog({ format, level: lowest, write, now = Date.now }: LogOptions): Log {
  const encode = format === "json" ? encodeJson : encodeText;
  return (message, details = {}) => {
    const { level = "info" } = details;
    if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(lowest)) return;
    write(encode(message, { ...details, level }, now()));
  };
}

type Levelled = LogDetails & { readonly level: LogLevel };

function encodeJson(message: string, { level, code, hint, cause }: Levelled, nowMs: number): string {
  const time = new Date(nowMs).toISOString();
  const entry = {
    time,
    level,
    ...(code !== undefined && { code }),
    message: shortLine(message),
    ...(hint !== undefined && { hint }),
    ...(cause !== undefined && { stack: readStack(cause) }),
  };
  return `${harmlessJson(entry, 0)}\n`;
}

/** What goes with a message stands in lines below it, set in, so that no error's words look like an entry. */
function encodeText(message: string, { level, code, hint, cause }: Levelled): string {
  const label = code === undefined ? level : `${level}[${code}]`;
  const lines = [shortLine(level === "info" && code === undefined ? message : `${label}: ${message}`)];
  if (hint !== undefined) lines.push(shortLine(`hint: ${hint}`));
  if (cause !== undefined) for (const line of readStack(cause)) lines.push(`    ${line}`);
  return `${lines.join("\n")}\n`;
}

function readStack(cause: unknown): string[] {
  const stack = cause instanceof Error ? (cause.stack ?? cause.message) : "something that is no error was thrown";
  return stack.split("\n").slice(0, MAX_STACK_LINES).map(shortLine);
}
