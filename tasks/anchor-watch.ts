/** `anchor --watch`: a service that anchors on an interval, waits out what passes, and can be ended at any moment. */
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { harmlessJson, shortLine } from "../io/harmless.ts";
import { pause } from "../io/pause.ts";
import { computeBackoffMs } from "../protocol/backoff.ts";
import type { DmtpError } from "../protocol/error.ts";
import { findHint } from "../protocol/hint.ts";
import type { AnchorOptions } from "./anchor-options.ts";
import { describeAnchored } from "./anchor-report.ts";
import { anchorRound } from "./anchor-round.ts";
import { asDmtpError } from "./command.ts";
import { repeatNetwork } from "./next-command.ts";
import { openSession, type Session } from "./session.ts";
import { terminal, type Terminal } from "./terminal.ts";

/** What a round looks like in the log. */
export type RoundLine = Readonly<Record<string, unknown>> & {
  readonly event: "anchored" | "idle" | "failed" | "stopped";
};

interface WatchParts {
  readonly open: () => Promise<Session>;
  readonly log: (line: RoundLine) => void;
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly elapsedMs: () => number;
}

const FIRST_RETRY_MS = 5_000;
const MAX_RETRY_MS = 600_000;
/** A round that is at work when the service is told to end has this long; the journal has what it did, whenever it is cut off. */
const END_WITHIN_MS = 4_000;

/** What a command tells a person, as lines of a log: no node and no store can write lines of their own into it. */
const LOG: Terminal = {
  ...terminal,
  note: (text) => terminal.note(shortLine(text)),
  progress: () => undefined,
};

/** Runs until SIGTERM or SIGINT, then ends with 0; a first round that the configuration makes impossible ends it with 1. */
export async function watch(hre: HardhatRuntimeEnvironment, options: AnchorOptions, intervalS: number): Promise<void> {
  const ending = new AbortController();
  const end = (): void => {
    if (ending.signal.aborted) return;
    ending.abort();
    setTimeout(() => process.exit(0), END_WITHIN_MS).unref();
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  try {
    await watchRounds(options, intervalS * 1_000, ending.signal, {
      open: () => openSession(hre, process.env, LOG),
      log: (line) => terminal.result(harmlessJson({ time: new Date().toISOString(), ...line }, 0)),
      pause,
      elapsedMs: () => performance.now(),
    });
  } finally {
    process.off("SIGTERM", end);
    process.off("SIGINT", end);
  }
}

/**
 * One round after the other, a log line for each, until `signal`.
 * @throws what the first round throws, if the person who started it has to mend it; nothing later
 */
export async function watchRounds(
  options: AnchorOptions,
  intervalMs: number,
  signal: AbortSignal,
  { open, log, pause, elapsedMs }: WatchParts,
): Promise<void> {
  let failures = 0;
  const isEnding = (): boolean => signal.aborted;
  for (let round = 0; !isEnding(); round++) {
    const startedAtMs = elapsedMs();
    const durationMs = (): number => Math.round(elapsedMs() - startedAtMs);
    let pauseMs = intervalMs;
    let session: Session | undefined;
    let anchors: object[] = [];
    try {
      session = await open();
      const { anchored, error } = await anchorRound(session, options, signal);
      anchors = anchored.map(describeAnchored);
      if (error !== undefined) throw error;
      failures = 0;
      const { unanchored } = session.mailbox.counts();
      log({ event: anchors.length > 0 ? "anchored" : "idle", durationMs: durationMs(), anchors, waiting: unanchored });
    } catch (thrown) {
      const error = asDmtpError(thrown);
      if (round === 0 && isForPersonToMend(error)) throw error;
      if (isEnding()) break;
      failures += 1;
      pauseMs = computeBackoffMs(failures, FIRST_RETRY_MS, Math.max(intervalMs, MAX_RETRY_MS));
      const { code, kind } = error;
      const message = shortLine(error.message);
      const retryInS = Math.round(pauseMs / 1_000);
      log({
        event: "failed",
        durationMs: durationMs(),
        code,
        kind,
        message,
        hint: repeatNetwork(findHint(error)),
        anchors,
        failures,
        retryInS,
      });
    } finally {
      // What does not close ends with the process; the service goes on.
      await session?.close().catch(() => undefined);
    }
    await pause(pauseMs, signal);
  }
  log({ event: "stopped" });
}

/** An account without funds is filled up by somebody who does not know of this process; anything else needs another configuration. */
function isForPersonToMend({ kind, code }: DmtpError): boolean {
  return kind === "input" && code !== "FUNDS_INSUFFICIENT";
}
