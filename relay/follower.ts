/** Keeps the relay's view of the chain: keys that were registered and revoked, and which messages anchors list. */
import { followLog, type LogReader } from "../io/catch-up.ts";
import type { Mailbox } from "../io/mailbox/mailbox.ts";
import { pause as wait } from "../io/pause.ts";
import type { Log } from "../io/log.ts";
import { computeBackoffMs } from "../protocol/backoff.ts";
import { toDmtpError, type DmtpError } from "../protocol/error.ts";

export interface FollowerOptions {
  readonly mailbox: Mailbox;
  readonly reader: LogReader;
  readonly pollIntervalMs: number;
  readonly log?: Log;
  /** Called when the view, or what was decided about messages, is another. */
  readonly onChange?: () => void;
  readonly pause?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Milliseconds of a clock that never jumps. */
  readonly elapsedMs?: () => number;
}

const MAX_PAUSE_MS = 30_000;
/** Without a look at the chain for so long, keys that were revoked since may still be taken. */
const STALE_MS = 120_000;

export class Follower {
  private readonly options: Required<FollowerOptions>;
  private readonly ending = new AbortController();
  private succeededAtMs: number | null = null;
  /** Why the last look failed; null when it did not. */
  problem: DmtpError | null = null;

  constructor(options: FollowerOptions) {
    this.options = {
      log: () => undefined,
      onChange: () => undefined,
      pause: wait,
      elapsedMs: () => performance.now(),
      ...options,
    };
  }

  /** Whether the view is recent enough to decide by. */
  get isCurrent(): boolean {
    return this.succeededAtMs !== null && this.options.elapsedMs() - this.succeededAtMs < STALE_MS;
  }

  /** Goes on until {@link stop}. */
  async run(): Promise<void> {
    const { signal } = this.ending;
    const isEnding = (): boolean => signal.aborted;
    for (let failures = 0; !isEnding();) {
      failures = (await this.look()) ? 0 : failures + 1;
      const { pollIntervalMs, pause } = this.options;
      await pause(failures === 0 ? pollIntervalMs : computeBackoffMs(failures, pollIntervalMs, MAX_PAUSE_MS), signal);
    }
  }

  /** Looks at the chain once. @returns whether it answered */
  async look(): Promise<boolean> {
    const { mailbox, reader, log, onChange, elapsedMs } = this.options;
    try {
      const before = mailbox.log.view()?.hash;
      await followLog(mailbox, reader, await reader.head());
      this.succeededAtMs = elapsedMs();
      this.problem = null;
      if (mailbox.log.view()?.hash !== before) onChange();
      return true;
    } catch (thrown) {
      const error = toDmtpError(thrown);
      // Another process, such as `anchor --watch`, has read the same blocks.
      if (error.code === "MAILBOX_OVERTAKEN") return true;
      if (this.problem?.code !== error.code) log(error.message, { level: "error", code: error.code });
      this.problem = error;
      return false;
    }
  }

  stop(): void {
    this.ending.abort();
  }
}
