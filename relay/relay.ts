/** The relay put together: HTTP in front, intake → mailbox, and the chain behind. */
import { statfsSync } from "node:fs";

import { makeApp } from "../http/app.ts";
import type { BudgetOptions } from "../http/budget.ts";
import { Streams, type StreamsOptions } from "../http/live/streams.ts";
import { listen } from "../http/server.ts";
import type { LogReader } from "../io/catch-up.ts";
import type { ContentStore } from "../io/content/store.ts";
import type { Mailbox } from "../io/mailbox/mailbox.ts";
import type { RelayedFilter } from "../io/mailbox/relayed.ts";
import type { Log } from "../io/log.ts";
import { toDmtpError, type DmtpError } from "../protocol/error.ts";
import type { Deployment } from "../protocol/room.ts";
import { Follower } from "./follower.ts";
import { Intake, type Policy } from "./intake.ts";
import { DEFAULT_LIMITS, Limiter, type Limits } from "./limits.ts";
import { MessageEvents } from "./messages.ts";
import { RelayMetrics } from "./metrics.ts";
import { Promiser, type PromiserOptions } from "./promises.ts";
import { RELAY_INFO, RELAY_ROUTES } from "./routes.ts";

export interface RelayOptions {
  readonly deployment: Deployment;
  /** Stays open when the relay is closed, as the content store does. */
  readonly mailbox: Mailbox;
  readonly content: Pick<ContentStore, "put">;
  readonly reader: LogReader;
  /** The folder of the mailbox, whose disk must have room. */
  readonly folder: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly pollIntervalMs: number;
  /** Null: messages are taken, and nothing is promised. */
  readonly promiser: PromiserOptions | null;
  readonly limits?: Limits;
  readonly policy?: Policy;
  /** Web pages that may use the relay: origins, or `*`. All of them unless given: what they bring is signed. */
  readonly corsOrigins?: readonly string[];
  /** Proxies of the operator in front, each of which adds to X-Forwarded-For. */
  readonly trustedProxies?: number;
  /** Nothing is taken when the disk has less. */
  readonly minFreeBytes?: number;
  readonly streams?: StreamsOptions;
  readonly budget?: BudgetOptions;
  readonly log?: Log;
  /** Called for each request that a defect ended. */
  readonly onBug?: (request: string, error: DmtpError) => void;
}

export interface Relay {
  readonly url: string;
  /** Answers what was brought, and stops. */
  close(): Promise<void>;
}

const MIN_FREE_BYTES = 512 * 1024 * 1024;
/** The disk is asked no more often. */
const DISK_LOOK_MS = 1_000;
/** Other processes write to the mailbox too: their changes are noticed by as much later. */
const WAKE_MS = 500;

/** Serves at once, and follows the chain from now on. @throws ADDRESS_IN_USE, CONFIGURATION_INVALID */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  const { deployment, mailbox, content, reader, folder, host, port, pollIntervalMs, corsOrigins = ["*"] } = options;
  const { limits = DEFAULT_LIMITS, log = () => undefined, onBug = () => undefined } = options;
  const promiser = new Promiser(deployment, mailbox, options.promiser);
  const events = new MessageEvents(mailbox);
  const streams = new Streams<RelayedFilter>(events, { maxStreams: 4_096, ...options.streams });
  const wake = (): void => streams.wake();
  const intake = new Intake({
    ...{ deployment, mailbox, content, promiser, log },
    limiter: new Limiter(limits),
    hasRoom: watchDisk(folder, options.minFreeBytes ?? MIN_FREE_BYTES),
    onTaken: wake,
    ...(options.policy !== undefined && { policy: options.policy }),
  });
  const follower = new Follower({ mailbox, reader, pollIntervalMs, log, onChange: wake });
  const metrics = new RelayMetrics(mailbox, intake, promiser, () => streams.size);
  const service = { deployment, mailbox, intake, promiser, follower, streams, limits, metrics, now: Date.now };
  const app = makeApp(RELAY_ROUTES, service, {
    ...{ info: RELAY_INFO, onBug, corsOrigins, trustedProxies: options.trustedProxies ?? 0 },
    ...(options.budget !== undefined && { budget: options.budget }),
    onAnswer: (seconds, labels) => metrics.latency.observe(seconds, labels),
  });
  const server = await listen(app, host, port);
  const running = follower.run();
  let seen = events.end;
  const timer = setInterval(() => {
    try {
      const { end } = events;
      if (end !== seen) wake();
      seen = end;
    } catch (error) {
      // A mailbox that is busy now is looked at again in a moment.
      const { code, message } = toDmtpError(error);
      log(message, { level: "warning", code });
    }
  }, WAKE_MS);
  timer.unref();
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    clearInterval(timer);
    follower.stop();
    intake.close();
    streams.close();
    await server.close();
    await running;
  };
  return { url: server.url, close: () => (closing ??= close()) };
}

/** Whether a folder's disk has so much left. */
function watchDisk(folder: string, minFreeBytes: number): () => boolean {
  let lookedAtMs = -Infinity;
  let hasRoom = true;
  return () => {
    if (performance.now() - lookedAtMs < DISK_LOOK_MS) return hasRoom;
    lookedAtMs = performance.now();
    const { bavail, bsize } = statfsSync(folder);
    hasRoom = bavail * bsize >= minFreeBytes;
    return hasRoom;
  };
}
