/**
 * Fetches the blocks that the history lacks, for as long as it lacks them: several at once, and each again and again, ever
 * more rarely. It holds nothing up; what comes late is delivered late.
 */
import type { SourceHealth } from "../io/content/health.ts";
import type { ContentStore } from "../io/content/store.ts";
import { verifyBlock, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { SYSTEM_CLOCK, type Clock } from "./clock.ts";
import type { Log } from "./log.ts";
import type { CidSet } from "./missing-content.ts";

export interface FetcherOptions {
  readonly content: ContentStore;
  /** Takes what was fetched, each block the one that its CID names. */
  readonly deliver: (blocks: ReadonlyMap<Cid, Uint8Array>) => void;
  readonly log: Log;
  readonly concurrency?: number;
  readonly firstRetryMs?: number;
  readonly maxRetryMs?: number;
  readonly random?: () => number;
  readonly clock?: Clock;
}

interface Wanted {
  attempts: number;
  /** Set while it waits for its next attempt: gives it up. */
  cancel: (() => void) | null;
}

/**
 * A delivery costs a transaction, and a look at all that is undecided: while more is on its way, it waits this many times as
 * long as the last one took, and when nothing is, just as long.
 */
const PATIENCE = 10;
const MAX_DELIVERY_MS = 2_000;
/** Deliver at once before more than this is held in memory. */
const MAX_HELD_BYTES = 16 * 1024 * 1024;

export class Fetcher {
  /** Whether the store answered the last time; what it does not have is an answer. */
  isReachable = true;
  private readonly options: Required<FetcherOptions>;
  private readonly wanted = new Map<Cid, Wanted>();
  /** Whose attempt is due, in order. A set, since shifting a long array copies it. */
  private readonly queue = new Set<Cid>();
  private inFlight = 0;
  private held = new Map<Cid, Uint8Array>();
  private heldBytes = 0;
  private cancelDelivery: (() => void) | null = null;
  private lastDeliveryMs = 0;
  private deliveredAtMs = 0;
  private isStopped = false;

  constructor(options: FetcherOptions) {
    this.options = {
      concurrency: 16,
      firstRetryMs: 500,
      maxRetryMs: 60_000,
      random: Math.random,
      clock: SYSTEM_CLOCK,
      ...options,
    };
  }

  /** Says what is lacking now. What was asked for and is not lacking any more is given up. */
  want(cids: CidSet): void {
    if (this.isStopped) return;
    for (const [cid, { cancel }] of this.wanted) {
      if (cids.has(cid)) continue;
      cancel?.();
      this.wanted.delete(cid);
    }
    for (const cid of cids) {
      if (this.wanted.has(cid) || this.held.has(cid)) continue;
      this.wanted.set(cid, { attempts: 0, cancel: null });
      this.queue.add(cid);
    }
    this.pump();
  }

  /** Whether everything lacking has been asked for at least once, and what came has been delivered. */
  get isSettled(): boolean {
    return this.held.size === 0 && this.retryCount === this.wanted.size;
  }

  /** How many have been asked for in vain. */
  get retryCount(): number {
    let retrying = 0;
    for (const { attempts } of this.wanted.values()) if (attempts > 0) retrying += 1;
    return retrying;
  }

  /** How each content source has done so far, in the order of the configuration. */
  get sources(): readonly SourceHealth[] {
    return this.options.content.health?.() ?? [];
  }

  stop(): void {
    this.isStopped = true;
    this.cancelDelivery?.();
    for (const { cancel } of this.wanted.values()) cancel?.();
    this.wanted.clear();
  }

  private pump(): void {
    while (this.inFlight < this.options.concurrency && this.heldBytes < MAX_HELD_BYTES) {
      const [cid] = this.queue;
      if (cid === undefined) return;
      this.queue.delete(cid);
      const wanted = this.wanted.get(cid);
      if (wanted === undefined) continue;
      this.inFlight += 1;
      void this.attempt(cid, wanted);
    }
  }

  /** Never rejects. */
  private async attempt(cid: Cid, wanted: Wanted): Promise<void> {
    let bytes: Uint8Array | null = null;
    try {
      bytes = verified(cid, await this.options.content.get(cid));
      if (!this.isReachable) this.retryNow();
      this.isReachable = true;
    } catch (error) {
      if (this.isReachable && !this.isStopped) {
        const what = error instanceof DmtpError ? `error[${error.code}]: ${error.message}` : "the content store failed";
        this.options.log(`${what}; what is missing is asked for again`);
      }
      this.isReachable = false;
    }
    this.inFlight -= 1;
    if (this.isStopped) return;
    if (this.wanted.get(cid) === wanted) {
      if (bytes === null) this.retryLater(cid, wanted);
      else this.hold(cid, bytes);
    }
    this.pump();
    this.scheduleDelivery();
  }

  private retryLater(cid: Cid, wanted: Wanted): void {
    const { firstRetryMs, maxRetryMs, random, clock } = this.options;
    const delayMs = Math.min(maxRetryMs, firstRetryMs * 2 ** Math.min(wanted.attempts, 30));
    wanted.attempts += 1;
    // Spread by a quarter either way, so that what went missing together is not asked for together.
    wanted.cancel = clock.after(delayMs * (0.75 + random() / 2), () => this.retry(cid, wanted));
  }

  private retry(cid: Cid, wanted: Wanted): void {
    wanted.cancel = null;
    this.queue.add(cid);
    this.pump();
  }

  /** The store is back after a failure: whoever waits is due. */
  private retryNow(): void {
    for (const [cid, wanted] of this.wanted) {
      if (wanted.cancel === null) continue;
      wanted.cancel();
      wanted.cancel = null;
      this.queue.add(cid);
    }
  }

  private hold(cid: Cid, bytes: Uint8Array): void {
    this.wanted.delete(cid);
    this.held.set(cid, bytes);
    this.heldBytes += bytes.length;
  }

  private scheduleDelivery(): void {
    const { clock } = this.options;
    if (this.held.size === 0) return;
    const isIdle = this.inFlight === 0 && this.queue.size === 0;
    const patience = isIdle ? 1 : PATIENCE;
    const dueAtMs = this.deliveredAtMs + Math.min(MAX_DELIVERY_MS, patience * this.lastDeliveryMs);
    const waitMs = dueAtMs - clock.now();
    if (waitMs <= 0 || this.heldBytes >= MAX_HELD_BYTES) {
      this.deliverNow();
    } else if (isIdle || this.cancelDelivery === null) {
      this.cancelDelivery?.();
      this.cancelDelivery = clock.after(waitMs, () => this.deliverNow());
    }
  }

  private deliverNow(): void {
    const { clock } = this.options;
    this.cancelDelivery?.();
    this.cancelDelivery = null;
    const blocks = this.held;
    this.held = new Map();
    this.heldBytes = 0;
    const startedAtMs = clock.now();
    try {
      this.options.deliver(blocks);
    } catch (error) {
      // The disk is full, say. Nothing is lost: what was not taken is asked for again.
      this.options.log(`fetched blocks could not be stored: ${error instanceof Error ? error.message : "unknown"}`);
      for (const cid of blocks.keys()) {
        const wanted: Wanted = { attempts: 1, cancel: null };
        this.wanted.set(cid, wanted);
        this.retryLater(cid, wanted);
      }
    }
    this.deliveredAtMs = clock.now();
    this.lastDeliveryMs = this.deliveredAtMs - startedAtMs;
    this.pump();
  }
}

/** Bytes that are not what was asked for are as good as none, whatever the source; they would be fetched again and again. */
function verified(cid: Cid, bytes: Uint8Array | null): Uint8Array | null {
  try {
    return bytes === null ? null : verifyBlock(cid, bytes);
  } catch {
    return null;
  }
}
