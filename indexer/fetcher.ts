/**
 * Fetches the blocks that the history lacks, for as long as it lacks them: several at once, and each again and again, ever
 * more rarely. It holds nothing up; what comes late is delivered late.
 */
import type { SourceHealth } from "../io/content/health.ts";
import type { ContentStore, LocalStore } from "../io/content/store.ts";
import { verified } from "../io/content/verified.ts";
import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { MAX_KEY_DOCUMENT_BYTES } from "../protocol/key-document.ts";
import { SYSTEM_CLOCK, type Clock } from "./clock.ts";
import { Delivery, type DeliveryOptions } from "./delivery.ts";
import { prefetchDag } from "./dag-prefetch.ts";
import type { Log } from "../io/log.ts";
import type { Want, WantList } from "./want-list.ts";
import { WantQueue, type Attempt } from "./want-queue.ts";

export interface FetcherOptions extends Pick<DeliveryOptions, "deliver" | "prepare" | "isBusy"> {
  /** From a local one, what a block leads to is fetched with it. */
  readonly content: ContentStore | LocalStore;
  /** What is missing now: another object after the history could not be written, or was taken back. */
  readonly missing: () => WantList;
  readonly log: Log;
  readonly concurrency?: number;
  readonly firstRetryMs?: number;
  readonly maxRetryMs?: number;
  readonly random?: () => number;
  readonly clock?: Clock;
}

/** After the disk could not be read. */
const REREAD_MS = 1_000;

const NOTHING: WantList = {
  has: () => false,
  takeNew: () => ({ wants: [], isAll: true }),
  page: () => ({ wants: [], next: null, nextAnchor: null }),
};

export class Fetcher {
  private readonly content: ContentStore;
  private readonly local: LocalStore | null;
  private readonly readMissing: () => WantList;
  private readonly isBusy: () => boolean;
  private readonly log: Log;
  private readonly queue: WantQueue;
  private readonly delivery: Delivery;
  /** Whose new ones were taken. */
  private known: WantList | null = null;
  private isStopped = false;
  private readonly clock: Clock;
  private cancelPump: () => void = () => undefined;

  constructor({ content, missing, log, deliver, prepare, isBusy, ...options }: FetcherOptions) {
    const { concurrency = 16, firstRetryMs = 500, maxRetryMs = 60_000, random = Math.random } = options;
    const { clock = SYSTEM_CLOCK } = options;
    this.content = content;
    this.clock = clock;
    this.readMissing = missing;
    this.isBusy = isBusy ?? (() => false);
    this.log = log;
    this.local = "getAll" in content ? content : null;
    // A local store answers at once: one after the other they are delivered in the order in which they are wanted.
    const limit = this.local === null ? concurrency : 1;
    this.queue = new WantQueue({ limit, firstRetryMs, maxRetryMs, random, clock, onDue: () => this.pump() });
    this.delivery = new Delivery({
      deliver,
      ...(prepare !== undefined && { prepare }),
      ...(isBusy !== undefined && { isBusy }),
      log,
      clock,
      onFailure: (cids) => {
        for (const cid of cids) this.queue.absentNow({ cid, kind: "message", anchorIndex: null }, "first");
      },
      onRoom: () => this.pump(),
    });
  }

  /** Whether the store answered the last time; what it does not have is an answer. */
  get isReachable(): boolean {
    return this.queue.isReachable;
  }

  /**
   * To be called when more may be missing. What was asked for and is not missing any more is given up when its turn comes.
   * @param of what is new: the newest, or a history that is being read
   */
  want(of: "newest" | "history"): void {
    if (this.isStopped) return;
    const { missing } = this;
    if (missing !== this.known) this.queue.reset(missing);
    this.known = missing;
    const { wants, isAll } = missing.takeNew();
    for (const want of of === "history" ? wants : wants.toReversed()) {
      if (!this.delivery.has(want.cid)) this.queue.add(want, of);
    }
    if (!isAll) this.queue.surveyAgain();
    this.pump();
    this.delivery.schedule(this.isIdle);
  }

  /**
   * Whether everything missing has been asked for at least once, and what came has been delivered. Where the store may search long,
   * key documents and the rest of an anchor of which little was there are not waited for: anybody can name any number of blocks that
   * nobody has.
   */
  get isSettled(): boolean {
    const { isReachable, hasFresh, hasDeferred, isExpecting } = this.queue;
    const isWaiting = hasFresh || (this.local !== null && hasDeferred);
    return !(isReachable && isWaiting) && !isExpecting && this.delivery.isEmpty;
  }

  /** How many of the `missing` blocks have been asked for and not found. */
  countAbsent(missing: number): number {
    return this.queue.countAbsent(Math.max(0, missing - this.delivery.size));
  }

  /** How each content source has done so far, in the order of the configuration. */
  get sources(): readonly SourceHealth[] {
    return this.content.health?.() ?? [];
  }

  stop(): void {
    this.isStopped = true;
    this.cancelPump();
    this.delivery.stop();
    this.queue.stop();
  }

  /** Asks for as much as there is room for. Never throws. */
  private pump(): void {
    try {
      while (!this.isStopped && !this.delivery.isFull) {
        const attempt = this.queue.next();
        if (attempt === null) return;
        const { cid } = attempt.want;
        if (!this.isWanted(cid)) this.queue.delete(cid);
        else if (!this.queue.isInFlight(cid) && !this.delivery.has(cid)) void this.attempt(attempt);
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : "unknown";
      this.log(`what is missing could not be read: ${reason}`, { level: "error" });
      this.cancelPump();
      this.cancelPump = this.clock.after(REREAD_MS, () => this.pump());
    }
  }

  private isWanted(cid: Cid): boolean {
    try {
      return this.missing.has(cid);
    } catch {
      // The disk can't be read, which the follower says. Whether it is wanted is found out when it is delivered.
      return true;
    }
  }

  /** Never rejects. */
  private async attempt(attempt: Attempt): Promise<void> {
    const { queue } = this;
    const { cid } = attempt.want;
    queue.begin(attempt);
    let blocks: ReadonlyMap<Cid, Uint8Array> | null = null;
    let failure: { readonly error: unknown } | null = null;
    try {
      blocks = await this.fetch(attempt.want);
    } catch (error) {
      failure = { error };
    }
    const want = queue.end(attempt);
    if (this.isStopped) return;
    if (failure !== null && queue.isReachable) this.report(failure.error);
    if (!this.isWanted(cid)) queue.delete(cid);
    else if (failure !== null) queue.failed(want);
    else if (blocks === null) queue.absentNow(want, attempt.lane);
    else {
      queue.found(want, attempt.lane);
      this.delivery.take(blocks, () => this.isIdle);
    }
    // The thread that asks a local store also judges what is here: that goes first, and its next turn asks on.
    if (blocks === null && this.local !== null && this.isBusy()) return;
    this.pump();
    this.delivery.schedule(this.isIdle);
  }

  /** Null for one that the store does not have. */
  private async fetch({ cid, kind }: Want): Promise<ReadonlyMap<Cid, Uint8Array> | null> {
    const { local } = this;
    // A document is never followed: anybody can register what leads to a million blocks.
    if (local === null || kind === "document") {
      const options = kind === "document" ? { maxBytes: MAX_KEY_DOCUMENT_BYTES } : {};
      const bytes = verified(cid, await this.content.get(cid, options));
      return bytes === null ? null : new Map([[cid, bytes]]);
    }
    const blocks = await prefetchDag(local, [cid], (link) => this.delivery.has(link));
    return blocks.has(cid) ? blocks : null;
  }

  private report(error: unknown): void {
    const what = error instanceof DmtpError ? error.message : "the content store failed";
    this.log(`${what}; what is missing is asked for again`, {
      level: "error",
      ...(error instanceof DmtpError && { code: error.code }),
    });
  }

  private get missing(): WantList {
    try {
      return this.readMissing();
    } catch {
      // The disk can't be read, which the follower says. What was known is as good as anything until it can.
      return this.known ?? NOTHING;
    }
  }

  /** Whether nothing is on its way that is likely to be there. */
  private get isIdle(): boolean {
    const { hasFresh, isExpecting, hasYoungRetries } = this.queue;
    return !hasFresh && !isExpecting && !hasYoungRetries;
  }
}
