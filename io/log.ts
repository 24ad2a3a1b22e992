/** The operator's log: one line for each thing that happened, whoever had a say in its words. */
import { shortLine } from "./harmless.ts";

/** Takes one line for the operator; holds no key, plaintext, signature or URL secret. */
export type Log = (line: string) => void;

/** A log that writes lines which nobody can forge others with, or fill the disk. */
export function openLog(write: (text: string) => void): Log {
  return (line) => write(`${shortLine(line)}\n`);
}

/** Where a defect showed: each line is set in, so that no error's words look like a line of the log. */
export function logStack(log: Log, error: unknown): void {
  const stack = error instanceof Error ? (error.stack ?? error.message) : "something that is no error was thrown";
  for (const line of stack.split("\n").slice(0, MAX_STACK_LINES)) log(`    ${line}`);
}

const MAX_STACK_LINES = 30;
