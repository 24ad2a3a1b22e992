/** The edge between Hardhat's command line and the commands: results to stdout, errors to exit codes, nothing else here. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { EXIT_CODES } from "../io/exit-codes.ts";
import { harmlessJson, shortLine } from "../io/harmless.ts";
import { DmtpError } from "../protocol/error.ts";
import { findHint } from "../protocol/hint.ts";
import { translateForeignError } from "./foreign-error.ts";
import { promptOnStderr } from "./hardhat-prompts.ts";
import { repeatNetwork } from "./next-command.ts";
import { openSession, type Session } from "./session.ts";
import { terminal } from "./terminal.ts";

/** What a command found: data for `--json`, the same for a person, and how it ends. */
export interface Outcome {
  /** One JSON document; integers of any size as decimal text. */
  readonly data: object;
  readonly text: string;
  /** The command that a person may want next; only they are told. */
  readonly next?: string;
  /** Set when the command worked, and what it found is bad. */
  readonly error?: DmtpError;
}

/** Makes a Hardhat action of a command. */
export function command<Arguments extends { readonly json: boolean }>(
  run: (session: Session, args: Arguments) => Promise<Outcome>,
): (args: Arguments, hre: HardhatRuntimeEnvironment) => Promise<void> {
  return (args, hre) =>
    conclude(
      () => {
        promptOnStderr(hre);
        return openSession(hre, process.env, terminal);
      },
      (session) => run(session, args),
      args.json,
    );
}

/** Opens the session, prints the outcome, closes what was opened, and leaves the exit code. Throws nothing. */
export async function conclude<Opened extends { close(): Promise<void> }>(
  open: () => Promise<Opened>,
  run: (session: Opened) => Promise<Outcome>,
  json: boolean,
): Promise<void> {
  let session: Opened | undefined;
  try {
    session = await open();
    const { data, text, next, error } = await run(session);
    terminal.progress(null);
    terminal.result(json ? harmlessJson(data) : [text, ...formatNext(next)].join("\n"));
    if (error !== undefined) reportError(error, false);
  } catch (error) {
    terminal.progress(null);
    reportError(asDmtpError(error), json);
  } finally {
    // What does not close now ends with the process, and what was found is told all the same.
    await session?.close().catch(() => undefined);
  }
}

function formatNext(next: string | undefined): string[] {
  return next === undefined ? [] : [`next: ${repeatNetwork(next)}`];
}

/** As every JSON document of a command has an error. */
export function describeError(error: DmtpError): object {
  const { code, kind, message } = error;
  return { code, kind, message, hint: repeatNetwork(findHint(error)) };
}

/** `error[CODE]: what` and `hint: what to do` on stderr, and the exit code of its kind. No stack trace for a user's mistake. */
export function reportError(error: DmtpError, json: boolean): void {
  if (json) terminal.result(harmlessJson({ error: describeError(error) }));
  // A node, a gateway or a file may have a say in the message.
  terminal.note(`error[${error.code}]: ${shortLine(error.message)}\nhint: ${findHint(error)}`);
  if (error.kind === "bug" && error.cause instanceof Error && error.cause.stack !== undefined)
    terminal.note(error.cause.stack);
  process.exitCode = EXIT_CODES[error.kind];
}

/** A node that went away and Hardhat's own errors (no such network, no keystore value) are told as ours; the rest are defects. */
export function asDmtpError(error: unknown): DmtpError {
  if (error instanceof DmtpError) return error;
  const translated = translateForeignError(error);
  if (translated !== null) return translated;
  return new DmtpError("INTERNAL", error instanceof Error ? error.message : "something that is no error was thrown", {
    cause: error,
  });
}
