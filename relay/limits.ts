/**
 * How much a relay takes from whom. Buckets are in memory and are forgotten when the process ends: what they protect is this process and
 * its disk, and a restart gives nobody more than one bucket.
 */
import type { Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { Lru } from "../protocol/lru.ts";

/** A bucket of `size` units that fills up by `perSecond`. */
export interface Limit {
  readonly size: number;
  readonly perSecond: number;
}

export interface Limits {
  /** Messages from one sender to one receiver. */
  readonly conversation: Limit;
  /** Bytes of blocks from one sender. */
  readonly senderBytes: Limit;
  /** Receivers that a sender never wrote to. */
  readonly newReceivers: Limit;
  /** Senders that write to one receiver for the first time, and that it never wrote to. */
  readonly strangers: Limit;
  /** Messages that one client address brings; one with a wrong signature counts ten times. */
  readonly clientWrites: Limit;
}

export const DAY_S = 86_400;

export const DEFAULT_LIMITS: Limits = {
  conversation: { size: 60, perSecond: 1 },
  senderBytes: { size: 4 * 1024 * 1024, perSecond: 4_000 },
  newReceivers: { size: 20, perSecond: 20 / DAY_S },
  strangers: { size: 200, perSecond: 200 / DAY_S },
  clientWrites: { size: 3_000, perSecond: 10 },
};

/** What a message with a wrong signature costs its client, in messages. */
export const FORGERY_COST = 10;
/** Only so many are remembered: a name that drops out of the LRU starts with a full bucket again. */
const MAX_BUCKETS = 100_000;

interface Bucket {
  readonly left: number;
  readonly atMs: number;
}

/** One limit, for each of many. */
class Buckets {
  private readonly limit: Limit;
  private readonly buckets = new Lru<string, Bucket>(MAX_BUCKETS);

  constructor(limit: Limit) {
    this.limit = limit;
  }

  /** Seconds until as much can be taken; 0 for now. What is larger than the bucket can be taken when it is full. */
  waitFor(name: string, amount: number, nowMs: number): number {
    const missing = Math.min(amount, this.limit.size) - this.left(name, nowMs);
    return missing <= 0 ? 0 : missing / this.limit.perSecond;
  }

  /** May leave less than nothing. */
  take(name: string, amount: number, nowMs: number): void {
    this.buckets.set(name, { left: this.left(name, nowMs) - amount, atMs: nowMs });
  }

  private left(name: string, nowMs: number): number {
    const { size, perSecond } = this.limit;
    const bucket = this.buckets.get(name);
    if (bucket === undefined) return size;
    return Math.min(size, bucket.left + ((nowMs - bucket.atMs) / 1_000) * perSecond);
  }
}

/** A message as the limits see it. */
export interface Posting {
  readonly sender: Address;
  readonly receiver: Address;
  readonly sizeBytes: number;
  /** Whether the sender has written to the receiver before. */
  readonly isFirst: boolean;
  /** Whether it is the first to a receiver that never wrote to the sender. */
  readonly isStranger: boolean;
}

export class Limiter {
  private readonly now: () => number;
  private readonly conversation: Buckets;
  private readonly senderBytes: Buckets;
  private readonly newReceivers: Buckets;
  private readonly strangers: Buckets;
  private readonly clientWrites: Buckets;

  /** @param now milliseconds of a clock that never jumps */
  constructor(limits: Limits = DEFAULT_LIMITS, now: () => number = () => performance.now()) {
    this.now = now;
    this.conversation = new Buckets(limits.conversation);
    this.senderBytes = new Buckets(limits.senderBytes);
    this.newReceivers = new Buckets(limits.newReceivers);
    this.strangers = new Buckets(limits.strangers);
    this.clientWrites = new Buckets(limits.clientWrites);
  }

  /** Counts what a client brings, before anything is looked at. @throws LIMIT_REACHED */
  admitClient(client: string): void {
    this.check("this address", [[this.clientWrites, client, 1]]);
    this.clientWrites.take(client, 1, this.now());
  }

  /** Whoever brings what nobody signed pays for the work of finding that out. */
  chargeForgery(client: string): void {
    this.clientWrites.take(client, FORGERY_COST - 1, this.now());
  }

  /** @throws LIMIT_REACHED, with the seconds to wait */
  check(who: string, takes: readonly (readonly [Buckets, string, number])[]): void {
    const nowMs = this.now();
    const waitS = Math.max(...takes.map(([buckets, name, amount]) => buckets.waitFor(name, amount, nowMs)));
    if (waitS <= 0) return;
    throw new DmtpError("LIMIT_REACHED", `${who} brings more than the relay takes in this time`, {
      retryAfterS: Math.ceil(waitS),
    });
  }

  /** Counts a message that is taken. @throws LIMIT_REACHED when it must not be, and then counts nothing */
  admitMessage({ sender, receiver, sizeBytes, isFirst, isStranger }: Posting): void {
    const takes: (readonly [Buckets, string, number])[] = [
      [this.conversation, `${sender} ${receiver}`, 1],
      [this.senderBytes, sender, sizeBytes],
    ];
    if (isFirst) takes.push([this.newReceivers, sender, 1]);
    if (isStranger) takes.push([this.strangers, receiver, 1]);
    this.check("this sender", takes);
    const nowMs = this.now();
    for (const [buckets, name, amount] of takes) buckets.take(name, amount, nowMs);
  }
}
