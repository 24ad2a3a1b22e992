/**
 * The chain as an index follows it: from any of several nodes, each of which may lag, cap, lie, leave out and go away. What it
 * gives is proved to be whole and of one chain; what can't be proved it does not give.
 */
import { toHex, type Hex } from "../../protocol/bytes.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { ChainEvent } from "../../protocol/event.ts";
import type { Deployment } from "../../protocol/room.ts";
import { parseBlock, type Block } from "./answer.ts";
import { readIdentity, isSameChain, type ChainIdentity } from "./chain-identity.ts";
import type { Contracts } from "./contract-check.ts";
import { Endpoint, isPassing } from "./endpoint.ts";
import { gapIn, gapOf, isOfReplaced, mend } from "./gap.ts";
import { DEFAULT_DEPTH, type ChainHead } from "./head.ts";
import { majority, quorumOf, reachedBy } from "./quorum.ts";
import { faultOf } from "./rpc-fault.ts";
import { resultOf, type Rpc, type RpcAnswer, type RpcCall } from "./rpc.ts";
import { sortEvents, type EventCounts } from "./sequence.ts";
import { headerCall, join, readStretch, stretchCalls, stretchOf, type Stretch } from "./stretch.ts";

/** Where an index stands. */
export interface Place {
  readonly number: number;
  readonly hash: Hex;
  /** The events of both contracts up to there. */
  readonly counts: EventCounts;
}

export interface Look extends ChainHead {
  /** The final block that `finalized` is the number of; null where only a depth says so. */
  readonly finalizedBlock: Block | null;
  /** What the chain has at the index's place; null when it does not reach it. */
  readonly standing: Block | null;
  /** The block after the index's place, when it came with the same request. */
  readonly next: Stretch | null;
}

export interface FeedOptions {
  readonly finalityDepth?: number;
  /** Ranges that are read at the same time. */
  readonly concurrency?: number;
  /** No range is larger. */
  readonly maxRangeBlocks?: number;
  readonly now?: () => number;
  readonly log?: (line: string) => void;
}

/** The first stretch shows how dense the events are; the next are as long as brings so many, which are held in memory. */
const FIRST_STRETCH_BLOCKS = 256;
const STRETCH_EVENTS = 8_000;
const MAX_GROWTH = 4;
/** Ranges of a stretch, at most: what is read must be taken at some time. */
const MAX_PARTS = 64;

interface Sight {
  readonly endpoint: Endpoint;
  readonly latest: Block;
  readonly finalizedBlock: Block | null;
  readonly standing: Block | null;
  readonly next: Stretch | null;
}

export class ChainFeed {
  readonly identity: ChainIdentity;
  readonly endpoints: readonly Endpoint[];
  private readonly depth: number;
  private readonly concurrency: number;
  private readonly maxRangeBlocks: number;
  private readonly log: (line: string) => void;
  private stretchBlocks = FIRST_STRETCH_BLOCKS;
  private isMeasured = false;
  /** Who said what the last look found, best first: they have what it found. */
  private trusted: readonly Endpoint[];

  private constructor(endpoints: readonly Endpoint[], identity: ChainIdentity, options: FeedOptions) {
    this.endpoints = endpoints;
    this.trusted = endpoints;
    this.identity = identity;
    this.depth = options.finalityDepth ?? DEFAULT_DEPTH;
    this.concurrency = options.concurrency ?? 4;
    this.maxRangeBlocks = options.maxRangeBlocks ?? Infinity;
    this.log = options.log ?? (() => undefined);
  }

  /**
   * Checks chain and contracts at every node that answers; one that is away now is checked when it comes.
   * @throws CHAIN_UNREACHABLE when none answers; CHAIN_ID_WRONG, CONTRACT_MISSING, CONTRACT_WRONG, CHAIN_DISAGREES
   */
  static async open(
    rpcs: readonly Rpc[],
    contracts: Contracts,
    expectedChainId?: number,
    options: FeedOptions = {},
  ): Promise<ChainFeed> {
    if (rpcs.length === 0) throw new DmtpError("CONFIGURATION_INVALID", "no RPC URL is given");
    const endpoints = rpcs.map((rpc) => new Endpoint(rpc, options.now));
    let identity: ChainIdentity | null = null;
    let reason: Error | null = null;
    for (const [i, check] of (
      await Promise.allSettled(endpoints.map(({ rpc }) => readIdentity(rpc, contracts, expectedChainId)))
    ).entries()) {
      const endpoint = endpoints[i];
      if (check.status === "rejected") {
        const failure: unknown = check.reason;
        if (!(failure instanceof DmtpError))
          throw new DmtpError("INTERNAL", "a node was asked wrongly", { cause: failure });
        if (failure.code !== "CHAIN_UNREACHABLE") throw failure;
        reason ??= failure;
        endpoint?.rest();
        continue;
      }
      if (identity !== null && !isSameChain(identity, check.value)) {
        throw new DmtpError("CHAIN_DISAGREES", `${rpcs[0]?.name ?? ""} and ${endpoint?.name ?? ""} serve two chains`);
      }
      identity = check.value;
      if (endpoint !== undefined) endpoint.isChecked = true;
    }
    if (identity === null) throw reason ?? new DmtpError("CHAIN_UNREACHABLE", "no node answers");
    return new ChainFeed(endpoints, identity, options);
  }

  get deployment(): Deployment {
    return this.identity.deployment;
  }

  /** No event of either contract lies before this block. */
  get startBlock(): number {
    return this.identity.startBlock;
  }

  /**
   * Where the chain stands, what it has at the index's place, and the block that comes next: one request to each node.
   * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES
   */
  async look(place: Place | null): Promise<Look> {
    const sights: Sight[] = [];
    const reasons: DmtpError[] = [];
    const asked = await this.available();
    const [primary] = asked;
    await Promise.all(
      asked.map(async (endpoint) => {
        try {
          sights.push(await this.see(endpoint, place, endpoint === primary));
        } catch (error) {
          if (!isPassing(error)) throw error;
          if (faultOf(error) === null) endpoint.rest();
          reasons.push(error as DmtpError);
        }
      }),
    );
    if (sights.length === 0) throw reasons[0] ?? new DmtpError("CHAIN_UNREACHABLE", "no node can be used now");
    sights.sort((a, b) => asked.indexOf(a.endpoint) - asked.indexOf(b.endpoint));
    return this.agree(sights, place);
  }

  /** Null when the chain is not that long. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  async block(number: number): Promise<Block | null> {
    return this.first(async (endpoint) => {
      const block = parseBlock((await endpoint.batch([headerCall(number)]))[0] ?? null);
      if (block !== null && block.number !== number)
        throw new DmtpError("CHAIN_DISAGREES", `${endpoint.name} gave another block than asked for`);
      return block;
    });
  }

  /**
   * What lies above a place, up to a block that a look has found, in order and in stretches of one chain.
   * @param reach a block that the first stretch has to go up to, for a gap to show in it that showed there
   * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES; CHAIN_INCOMPLETE with a Gap as its cause
   */
  async *stretches(place: Place | null, head: Block, reach = 0): AsyncGenerator<Stretch> {
    let start = place === null ? this.startBlock : place.number + 1;
    let before: EventCounts = place?.counts ?? { anchors: 0, keys: 0 };
    let below = place?.hash ?? null;
    const underWay: { from: number; to: number; stretch: Promise<Stretch> }[] = [];
    while (start <= head.number || underWay.length > 0) {
      // One at a time until it is known how dense the events are, and what the node grants.
      const limit = this.isMeasured ? this.concurrency : 1;
      while (start <= head.number && underWay.length < limit) {
        const to = Math.min(head.number, Math.max(reach, start + this.rangeBlocks() - 1));
        const stretch = this.agreedStretch(start, to, to === head.number);
        // It is looked at when its turn comes; until then a failure is not unhandled.
        stretch.catch(() => undefined);
        underWay.push({ from: start, to, stretch });
        start = to + 1;
      }
      const next = underWay.shift();
      if (next === undefined) return;
      let stretch = await next.stretch;
      if (gapIn(stretch, before) !== null) stretch = await this.whole(next.from, next.to, stretch, before);
      if (below !== null && stretch.first.parentHash !== below)
        throw new DmtpError("CHAIN_DISAGREES", `block ${next.from} is not on top of the block that was read before`);
      if (next.to === head.number && stretch.last.hash !== head.hash)
        throw new DmtpError("CHAIN_DISAGREES", `block ${head.number} was replaced while it was read`);
      this.adapt(stretch.events.length, next.to - next.from + 1);
      before = countsAfter(stretch, before);
      below = stretch.last.hash;
      yield stretch;
    }
  }

  /** Calls `onHead` when a node says that it has a new block; null when no node does that. */
  subscribe(onHead: () => void): (() => void) | null {
    const ends = this.endpoints.flatMap(({ rpc }) => rpc.subscribe?.(onHead) ?? []);
    if (ends.length === 0) return null;
    return () => {
      for (const end of ends) end();
    };
  }

  /** Nodes that don't rest, checked; a wrong one is never used. When all rest, they are asked all the same. */
  private async available(): Promise<Endpoint[]> {
    const awake = this.endpoints.filter(({ isAvailable }) => isAvailable);
    const asked = awake.length > 0 ? awake : [...this.endpoints];
    const right = await Promise.all(
      asked.map(async (endpoint) => {
        if (endpoint.isChecked) return true;
        try {
          const { deployment } = this.identity;
          const found = await readIdentity(endpoint.rpc, deployment, deployment.chainId);
          if (!isSameChain(found, this.identity)) throw new DmtpError("CHAIN_DISAGREES", "it serves another chain");
          endpoint.isChecked = true;
          return true;
        } catch (error) {
          const message = error instanceof Error ? error.message : "it failed";
          if (!(error instanceof DmtpError) || error.code !== "CHAIN_UNREACHABLE")
            this.log(`${endpoint.name} is not used: ${message}`);
          endpoint.rest();
          return false;
        }
      }),
    );
    return asked.filter((_, i) => right[i]);
  }

  private async see(endpoint: Endpoint, place: Place | null, isPrimary: boolean): Promise<Sight> {
    const { deployment } = this;
    const next = place === null ? this.startBlock : place.number + 1;
    const calls: RpcCall[] = [];
    const ask = (...asked: RpcCall[]): ((answers: RpcAnswer[]) => RpcAnswer[]) => {
      const at = calls.length;
      calls.push(...asked);
      return (answers) => answers.slice(at, at + asked.length);
    };
    const latestOf = ask(headerCall("latest"));
    const finalizedOf = endpoint.knowsFinalized ? ask(headerCall("finalized")) : null;
    const standingOf = place === null ? null : ask(headerCall(place.number));
    const stretchesOf = isPrimary ? ask(...stretchCalls(deployment, next, next)) : null;
    const answers = await endpoint.attempt(calls);

    const latest = parseBlock(resultOf(latestOf(answers)[0]) ?? null);
    if (latest === null) throw new DmtpError("CHAIN_DISAGREES", `${endpoint.name} has no newest block`);
    const finalizedBlock = this.finalizedOf(endpoint, finalizedOf?.(answers)[0]);
    const standing = place === null ? null : parseBlock(resultOf(standingOf?.(answers)[0]) ?? null);
    let stretch: Stretch | null = null;
    try {
      if (stretchesOf !== null && latest.number >= next)
        stretch = stretchOf(deployment, next, next, true, stretchesOf(answers));
    } catch (error) {
      // A node that lags behind its own head; what it left out of this answer is asked for again.
      if (!isPassing(error)) throw error;
    }
    return { endpoint, latest, finalizedBlock, standing, next: stretch };
  }

  private finalizedOf(endpoint: Endpoint, answer: RpcAnswer | undefined): Block | null {
    if (answer === undefined) return null;
    if ("error" in answer) {
      if (faultOf(answer.error)?.fault !== "answer") throw answer.error;
      endpoint.knowsFinalized = false;
      return null;
    }
    return parseBlock(answer.result ?? null);
  }

  /** What a quorum of the nodes says. */
  private async agree(sights: readonly Sight[], place: Place | null): Promise<Look> {
    const quorum = quorumOf(this.endpoints.length, sights.length);
    const number = reachedBy(
      sights.map(({ latest }) => latest.number),
      quorum,
    );
    const reaching = sights.filter(({ latest }) => latest.number >= number);
    const votes = await Promise.all(
      reaching.map(async (sight) => {
        if (sight.latest.number === number) return { sight, block: sight.latest };
        const block = parseBlock((await sight.endpoint.batch([headerCall(number)]))[0] ?? null);
        return { sight, block };
      }),
    );
    const has = votes.filter((vote): vote is { sight: Sight; block: Block } => vote.block?.number === number);
    const agreeing = majority(has, quorum, ({ block }) => block.hash, `block ${number}`);
    const [best] = agreeing;
    if (best === undefined) throw new DmtpError("INTERNAL", "a quorum of none");
    this.trusted = agreeing.map(({ sight }) => sight.endpoint);
    const finals = agreeing.map(({ sight }) => this.finalOf(sight));
    const finalized = Math.min(number, reachedBy(finals, quorum));
    const finalizedBlock = agreeing.find(({ sight }) => sight.finalizedBlock?.number === finalized)?.sight
      .finalizedBlock;
    const { standing, next } = best.sight;
    return {
      block: best.block,
      finalized,
      finalizedBlock: finalizedBlock ?? null,
      standing: standing === null || standing.number === place?.number ? standing : null,
      // Only what the quorum has too: a block that one node is ahead by can wait.
      next: next !== null && next.last.number <= number && this.isProved(next, best.block, quorum) ? next : null,
    };
  }

  /** The block itself is proved by the quorum's hash; of one below it, only one node has spoken. */
  private isProved(next: Stretch, head: Block, quorum: number): boolean {
    if (next.last.number === head.number) return next.last.hash === head.hash && quorum === 1;
    return quorum === 1;
  }

  private finalOf({ latest, finalizedBlock }: Sight): number {
    // Null: the tag is not known, or known and nothing is final yet.
    return finalizedBlock === null ? Math.max(0, latest.number - this.depth) : finalizedBlock.number;
  }

  private rangeBlocks(): number {
    const granted = this.trusted[0]?.range.sizeBlocks ?? 1;
    const blocks = Math.max(1, Math.min(this.stretchBlocks, granted * MAX_PARTS, this.maxRangeBlocks));
    return blocks > granted ? blocks - (blocks % granted) : blocks;
  }

  private adapt(eventCount: number, blocks: number): void {
    const fitting = Math.floor((blocks * STRETCH_EVENTS) / Math.max(1, eventCount));
    this.stretchBlocks = Math.max(1, Math.min(2 ** 24, fitting, Math.max(blocks, this.stretchBlocks) * MAX_GROWTH));
    const granted = this.trusted[0]?.range.sizeBlocks ?? 1;
    this.isMeasured = blocks >= Math.min(this.stretchBlocks / 2, granted, this.maxRangeBlocks);
  }

  /** A stretch as a quorum of the nodes gives it, whole or not. */
  private async agreedStretch(from: number, to: number, isCounted: boolean): Promise<Stretch> {
    const quorum = quorumOf(this.endpoints.length, this.trusted.length);
    const waiting = [...this.trusted];
    const given: Stretch[] = [];
    let reason: unknown;
    while (given.length < quorum && waiting.length > 0) {
      const asked = waiting.splice(0, quorum - given.length);
      for (const answer of await Promise.allSettled(
        asked.map((endpoint) => readStretch(endpoint, this.deployment, from, to, isCounted)),
      )) {
        if (answer.status === "fulfilled") given.push(answer.value);
        else if (isPassing(answer.reason)) reason = answer.reason;
        else throw answer.reason;
      }
    }
    const [first, ...others] = given;
    if (first === undefined) throw reason;
    return others.reduce(unite, first);
  }

  /** A stretch that has a gap, read on where an answer may have been cut off, then from other nodes, then from receipts. */
  private async whole(from: number, to: number, gappy: Stretch, before: EventCounts): Promise<Stretch> {
    let stretch = gappy;
    for (const endpoint of this.trusted) {
      try {
        stretch = unite(stretch, await this.readCarefully(endpoint, from, to, before));
      } catch (error) {
        if (!isPassing(error)) throw error;
      }
      if (gapIn(stretch, before) === null) return stretch;
    }
    let reason: unknown;
    for (const endpoint of this.trusted) {
      try {
        return await mend(endpoint, this.deployment, stretch, before);
      } catch (error) {
        if (!isPassing(error) || isOfReplaced(error)) throw error;
        if (reason === undefined || gapOf(error) !== null) reason = error;
      }
    }
    if (gapOf(reason) !== null) throw reason;
    const contract = gapIn(stretch, before) ?? "anchors";
    throw new DmtpError("CHAIN_INCOMPLETE", `the node leaves out events of ${contract} after block ${from - 1}`, {
      cause: { contract, isBefore: true, upTo: to },
    });
  }

  /** Range by range, each read on where its answer may have been cut off: some nodes do that and say nothing. */
  private async readCarefully(endpoint: Endpoint, from: number, to: number, before: EventCounts): Promise<Stretch> {
    let whole: Stretch | null = null;
    let counts = before;
    for (let start = from; start <= to;) {
      const end = Math.min(to, start + endpoint.range.sizeBlocks - 1);
      let part = await readStretch(endpoint, this.deployment, start, end, false);
      if (isCutOff(part, counts)) part = await this.readOn(endpoint, part, counts);
      counts = part.counts ?? countsAfter(part, counts);
      whole = whole === null ? part : join(whole, part);
      start = end + 1;
    }
    if (whole === null) throw new DmtpError("INTERNAL", "a stretch without blocks");
    return whole;
  }

  private async readOn(endpoint: Endpoint, part: Stretch, before: EventCounts): Promise<Stretch> {
    const { first, last } = part;
    if (last.number > first.number) endpoint.range.shrink(last.number - first.number + 1);
    let whole = part;
    for (let start = first.number; start <= last.number && isCutOff(whole, before);) {
      start = Math.max(start, whole.events.at(-1)?.blockNumber ?? start);
      const end = Math.min(last.number, start + endpoint.range.sizeBlocks - 1);
      const { events } = await readStretch(endpoint, this.deployment, start, end, false);
      const united = unite(whole, { ...whole, events });
      if (united.events.length === whole.events.length) start = end + 1;
      whole = united;
    }
    // All of it must be of the chain that the first answer was of.
    return unite(whole, await readStretch(endpoint, this.deployment, last.number, last.number, false));
  }

  /** From the first node that answers. */
  private async first<T>(ask: (endpoint: Endpoint) => Promise<T>): Promise<T> {
    let reason: unknown;
    for (const endpoint of this.trusted) {
      try {
        return await ask(endpoint);
      } catch (error) {
        if (!isPassing(error)) throw error;
        reason = error;
      }
    }
    throw reason;
  }
}

/** How many events there are after a stretch. */
export function countsAfter({ events }: Pick<Stretch, "events">, before: EventCounts): EventCounts {
  const keys = events.filter(({ kind }) => kind !== "anchor").length;
  return { anchors: before.anchors + events.length - keys, keys: before.keys + keys };
}

/**
 * The events that either of two nodes gives for one stretch: both may leave some out. What one of them made up would not go
 * together with the other's, with the indices or with the counts.
 * @throws CHAIN_DISAGREES
 */
function unite(a: Stretch, b: Stretch): Stretch {
  const differ = (): DmtpError => new DmtpError("CHAIN_DISAGREES", `the nodes differ up to block ${a.last.number}`);
  const counts = a.counts ?? b.counts;
  if (a.last.hash !== b.last.hash || JSON.stringify(counts) !== JSON.stringify(b.counts ?? counts)) throw differ();
  const known = new Map(a.events.map((event) => [placeOf(event), textOf(event)]));
  const added = b.events.filter((event) => {
    const text = known.get(placeOf(event));
    if (text !== undefined && text !== textOf(event)) throw differ();
    return text === undefined;
  });
  return { ...a, counts, events: added.length === 0 ? a.events : sortEvents([...a.events, ...added]) };
}

/** Whether all that is missing comes after the last event that is there. */
function isCutOff(stretch: Stretch, before: EventCounts): boolean {
  return gapIn(stretch, before) !== null && gapIn({ ...stretch, counts: null }, before) === null;
}

function placeOf({ blockNumber, logIndex }: ChainEvent): string {
  return `${blockNumber} ${logIndex}`;
}

function textOf(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => {
    if (typeof member === "bigint") return String(member);
    return member instanceof Uint8Array ? toHex(member) : member;
  });
}
