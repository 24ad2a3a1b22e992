/** What a person sees. Text from others is made harmless before it reaches a terminal; `--json` keeps it exact. */
import { harmless, harmlessLine } from "../io/harmless.ts";
import type { Binding } from "../protocol/keys.ts";
import type { ErrorCode } from "../protocol/error.ts";
import type { Verdict } from "../protocol/verdict.ts";
import { repeatNetwork } from "./next-command.ts";

/** Where a command writes: results on stdout, everything else on stderr. */
export interface Terminal {
  result(text: string): void;
  /** A warning or a hint. */
  note(text: string): void;
  /** What is going on right now; replaced by the next, gone at the end, only shown on a TTY. */
  progress(text: string | null): void;
}

export const terminal: Terminal = {
  result: (text) => {
    process.stdout.write(`${text}\n`);
  },
  note: (text) => {
    process.stderr.write(`${repeatNetwork(harmless(text))}\n`);
  },
  progress: (text) => {
    if (process.stderr.isTTY) process.stderr.write(text === null ? "\r\x1b[K" : `\r\x1b[K${harmlessLine(text)}`);
  },
};

/** `verified`, `missing`, or `rejected` with its code and reason. */
export function formatVerdict(verdict: Verdict<ErrorCode>): string {
  return verdict.status === "rejected" ? `rejected (${verdict.code}: ${harmlessLine(verdict.reason)})` : verdict.status;
}

/** How a message's key is known, to go behind its verdict. */
export function formatBinding(binding: Binding | null): string {
  if (binding === null) return "";
  return binding === "signature" ? ", key signed by its wallet" : ", key by the chain's word alone";
}

/** Whether the counts and roots of an anchor cover a message, to go behind its verdict; null for one that no anchor lists. */
export function formatAccount(accounted: boolean | null): string {
  return accounted === false ? ", not accounted" : "";
}

/** Lines of `name  value`, aligned. */
export function table(rows: readonly (readonly [name: string, value: string | number])[], indent = "  "): string {
  const width = rows.reduce((longest, [name]) => Math.max(longest, name.length), 0);
  return rows.map(([name, value]) => `${indent}${name.padEnd(width)}  ${value}`).join("\n");
}

/** `1 message`, `2 messages`, `1,000 messages` */
export function plural(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** `512 B`, `12.3 kB`, `4.0 MB` */
export function formatBytes(sizeBytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = sizeBytes;
  let unit = 0;
  for (; size >= 1_000 && unit < units.length - 1; unit++) size /= 1_000;
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit] ?? ""}`;
}

/** `2026-11-23 23:03:07Z`; a clock from outside can claim any time. */
export function formatTime(timestampMs: number): string {
  const date = new Date(timestampMs);
  if (Number.isNaN(date.getTime())) return `${timestampMs} ms`;
  return date
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, "Z");
}

/** The first and last digits of an address or hash. */
export function short(hex: string): string {
  return hex.length <= 16 ? hex : `${hex.slice(0, 8)}…${hex.slice(-6)}`;
}
