/**
 * Fetches the blocks that the history lacks, for as long as it lacks them: several at once, and each again and again, ever
 * more rarely. It holds nothing up; what comes late is delivered late.
 */
import type { SourceHealth } from "../io/content/health.ts";
import type { ContentStore, LocalStore } from "../io/content/store.ts";
import { verified } from "../io/content/verified.ts";
import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { SYSTEM_CLOCK, type Clock } from "./clock.ts";
import { Delivery, type DeliveryOptions } from "./delivery.ts";
import { familyOf } from "./family.ts";
import type { Log } from "./log.ts";
import type { Missing } from "./missing-content.ts";
import { Retries } from "./retries.ts";

export interface FetcherOptions extends Pick<DeliveryOptions, "deliver" | "prepare"> {
  /** From a local one, what a block leads to is fetched with it. */
  readonly content: ContentStore | LocalStore;
  /** What is missing now: another object after the history could not be written, or was taken back. */
  readonly missing: () => Missing;
  readonly log: Log;
  readonly concurrency?: number;
  readonly firstRetryMs?: number;
  readonly maxRetryMs?: number;
  readonly random?: () => number;
  readonly clock?: Clock;
}

type Settings = Required<Omit<FetcherOptions, "deliver" | "prepare">>;

/** Of what is asked for, one in so many is something that was asked for in vain before: a thousand absent blocks delay no new one. */
const RETRY_SHARE = 4;

/** With fewer blocks than this left to ask for, more of a history is begun. */
const LITTLE = 32;

const NOTHING: Missing = { has: () => false, takeNew: () => [] };

export class Fetcher {
  /** Whether the store answered the last time; what it does not have is an answer. */
  isReachable = true;
  private readonly options: Settings;
  private readonly delivery: Delivery;
  private readonly local: LocalStore | null;
  /** Of what is in flight. */
  private readonly limit: number;
  /** Whose new ones are in {@link fresh}. */
  private known: Missing | null = null;
  /** Not asked for yet, the newest last. These are taken first: a shard's messages before the next shard. */
  private fresh: Cid[] = [];
  /**
   * Not asked for yet, of anchors that were read a long way below the head. They are taken when little else is left, so that
   * what is missing at any time is a part of the history, not all of it.
   */
  private readonly history = new Set<Cid>();
  private readonly retries: Retries;
  private readonly inFlight = new Set<Cid>();
  private turn = 0;
  private isStopped = false;

  constructor({ deliver, prepare, ...options }: FetcherOptions) {
    this.options = {
      concurrency: 16,
      firstRetryMs: 500,
      maxRetryMs: 60_000,
      random: Math.random,
      clock: SYSTEM_CLOCK,
      ...options,
    };
    const { log, clock, content, concurrency } = this.options;
    this.retries = new Retries({ ...this.options, onDue: () => this.pump() });
    this.local = "getAll" in content ? content : null;
    // A local store answers at once: one after the other they are delivered in the order in which they are wanted.
    this.limit = this.local === null ? concurrency : 1;
    this.delivery = new Delivery({
      deliver,
      ...(prepare !== undefined && { prepare }),
      log,
      clock,
      onFailure: (cids) => {
        for (const cid of cids) this.retries.add(cid);
      },
      onRoom: () => this.pump(),
    });
  }

  /**
   * To be called when more may be missing. What was asked for and is not missing any more is given up when its turn comes.
   * @param of what is new: the newest, or a history that is being read
   */
  want(of: "newest" | "history"): void {
    if (this.isStopped) return;
    const { missing } = this;
    if (missing !== this.known) {
      this.fresh = [];
      this.history.clear();
    }
    this.known = missing;
    const added = missing.takeNew();
    const isNew = (cid: Cid): boolean => !this.retries.has(cid) && !this.inFlight.has(cid) && !this.delivery.has(cid);
    for (const cid of (of === "history" ? added : added.toReversed()).filter(isNew)) {
      if (of === "history") this.history.add(cid);
      else this.fresh.push(cid);
    }
    this.pump();
  }

  /** Whether everything missing has been asked for at least once, and what came has been delivered. */
  get isSettled(): boolean {
    if (this.hasFresh || !this.delivery.isEmpty) return false;
    for (const cid of this.inFlight) if (!this.retries.has(cid)) return false;
    return true;
  }

  /** How many of what is missing have been asked for in vain. */
  get retryCount(): number {
    const { missing } = this;
    let count = 0;
    for (const cid of this.retries.cids()) if (missing.has(cid)) count += 1;
    return count;
  }

  /** How each content source has done so far, in the order of the configuration. */
  get sources(): readonly SourceHealth[] {
    return this.options.content.health?.() ?? [];
  }

  stop(): void {
    this.isStopped = true;
    this.delivery.stop();
    this.retries.clear();
  }

  private pump(): void {
    while (!this.isStopped && this.inFlight.size < this.limit && !this.delivery.isFull) {
      const cid = this.next();
      if (cid === undefined) return;
      if (!this.missing.has(cid)) this.retries.delete(cid);
      else if (!this.inFlight.has(cid) && !this.delivery.has(cid)) void this.attempt(cid);
    }
  }

  private next(): Cid | undefined {
    this.turn += 1;
    if (this.retries.hasDue && (!this.hasFresh || this.turn % RETRY_SHARE === 0)) return this.retries.takeDue();
    if (this.history.size > 0 && this.fresh.length < LITTLE) return takeFirst(this.history);
    return this.fresh.pop();
  }

  private get hasFresh(): boolean {
    return this.fresh.length > 0 || this.history.size > 0;
  }

  /** Never rejects. */
  private async attempt(cid: Cid): Promise<void> {
    this.inFlight.add(cid);
    let blocks: ReadonlyMap<Cid, Uint8Array> | null = null;
    try {
      blocks = await this.fetch(cid);
      if (!this.isReachable) this.retries.hasten();
      this.isReachable = true;
    } catch (error) {
      if (this.isReachable && !this.isStopped) {
        const what = error instanceof DmtpError ? `error[${error.code}]: ${error.message}` : "the content store failed";
        this.options.log(`${what}; what is missing is asked for again`);
      }
      this.isReachable = false;
    }
    this.inFlight.delete(cid);
    if (this.isStopped) return;
    if (!this.missing.has(cid)) {
      this.retries.delete(cid);
    } else if (blocks === null) {
      this.retries.add(cid);
    } else {
      this.retries.delete(cid);
      this.delivery.take(blocks, () => this.isIdle);
    }
    this.pump();
    this.delivery.schedule(this.isIdle);
  }

  /** Null for one that the store does not have. */
  private async fetch(cid: Cid): Promise<ReadonlyMap<Cid, Uint8Array> | null> {
    const { local } = this;
    if (local === null) {
      const bytes = verified(cid, await this.options.content.get(cid));
      return bytes === null ? null : new Map([[cid, bytes]]);
    }
    const family = await familyOf(local, [cid], (lead) => this.delivery.has(lead));
    return family.has(cid) ? family : null;
  }

  private get missing(): Missing {
    try {
      return this.options.missing();
    } catch {
      // The disk can't be read, which the follower says. What was known is as good as anything until it can.
      return this.known ?? NOTHING;
    }
  }

  /** Whether nothing is on its way. */
  private get isIdle(): boolean {
    return this.inFlight.size === 0 && !this.hasFresh && !this.retries.hasDue;
  }
}

function takeFirst(cids: Set<Cid>): Cid | undefined {
  const [first] = cids;
  if (first !== undefined) cids.delete(first);
  return first;
}
