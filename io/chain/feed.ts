/**
 * The chain as an index follows it: from any of several nodes, each of which may lag, cap, lie, leave out and go away. What it
 * gives is proved to be whole and of one chain; what can't be proved it does not give.
 */
import { computeBackoffMs } from "../../protocol/backoff.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Deployment } from "../../protocol/room.ts";
import { pause as wait } from "../pause.ts";
import { agreeOnLook, type Look } from "./agreement/chain-view.ts";
import { proveCounts, readAgreed, readWhole } from "./agreement/agreed-range.ts";
import { parseBlock, type Block } from "./rpc/parsed-answer.ts";
import { isAskedTooMuch } from "./rpc/call-batches.ts";
import { identify, isSameChain, readIdentity, type ChainIdentity } from "./agreement/chain-identity.ts";
import type { Contracts } from "./agreement/contract-check.ts";
import { Endpoint, isPassing } from "./rpc/endpoint.ts";
import { gapIn } from "./events/missing-events.ts";
import { DEFAULT_DEPTH } from "./agreement/chain-head.ts";
import { quorumOf } from "./agreement/quorum.ts";
import { faultOf } from "./rpc/rpc-fault.ts";
import type { Rpc } from "./rpc/rpc.ts";
import { countsAfter, type EventCounts } from "./events/event-sequence.ts";
import { see, type Place, type Sight } from "./agreement/node-view.ts";
import { headerCall, type Stretch } from "./events/block-range.ts";

export interface FeedOptions {
  readonly finalityDepth?: number;
  /** Ranges that are read at the same time. */
  readonly concurrency?: number;
  /** No range is larger. */
  readonly maxRangeBlocks?: number;
  readonly now?: () => number;
  readonly pause?: (ms: number) => Promise<void>;
  readonly log?: (line: string) => void;
}

/** The first range shows how dense the events are; the next ranges are sized to bring this number of events, which are held in memory. */
const FIRST_STRETCH_BLOCKS = 256;
const STRETCH_EVENTS = 4_000;
const MAX_GROWTH = 4;
/** Ranges of a stretch, at most: what is read must be taken at some time. */
const MAX_PARTS = 64;

const MAX_PAUSES_AT_START = 8;
const FIRST_PAUSE_AT_START_MS = 1_000;
const MAX_PAUSE_AT_START_MS = 30_000;

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
   * Where all say that they were asked too much, it is waited for two minutes.
   * @throws CHAIN_UNREACHABLE when none answers; CHAIN_ID_WRONG, CONTRACT_MISSING, CONTRACT_WRONG, CHAIN_DISAGREES
   */
  static async open(
    rpcs: readonly Rpc[],
    contracts: Contracts,
    expectedChainId?: number,
    options: FeedOptions = {},
  ): Promise<ChainFeed> {
    const { now, pause = wait, log = () => undefined } = options;
    const endpoints = rpcs.map((rpc) => new Endpoint(rpc, now));
    for (let pauses = 0; ; pauses++) {
      try {
        return new ChainFeed(endpoints, await identify(endpoints, contracts, expectedChainId), options);
      } catch (error) {
        // A service that ended because its provider was asked too much would be started again, and ask again.
        if (!isAskedTooMuch(error) || pauses === MAX_PAUSES_AT_START) throw error;
        log(`${(error as Error).message}; the chain is asked again in a moment`);
        await pause(computeBackoffMs(pauses + 1, FIRST_PAUSE_AT_START_MS, MAX_PAUSE_AT_START_MS));
      }
    }
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
    const next = place === null ? this.startBlock : place.number + 1;
    await Promise.all(
      asked.map(async (endpoint) => {
        try {
          sights.push(await see(endpoint, this.deployment, { place, next, isPrimary: endpoint === primary }));
        } catch (error) {
          if (!isPassing(error)) throw error;
          if (faultOf(error) === null) endpoint.rest();
          reasons.push(error as DmtpError);
        }
      }),
    );
    if (sights.length === 0) throw reasons[0] ?? new DmtpError("CHAIN_UNREACHABLE", "no node can be used now");
    sights.sort((a, b) => asked.indexOf(a.endpoint) - asked.indexOf(b.endpoint));
    const { look, endpoints } = await agreeOnLook(sights, this.endpoints.length, this.depth, place);
    this.trusted = endpoints;
    return look;
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
    const { deployment } = this;
    let start = place === null ? this.startBlock : place.number + 1;
    let before: EventCounts = place?.counts ?? { anchors: 0, keys: 0 };
    let below = place?.hash ?? null;
    const underWay: { from: number; to: number; stretch: Promise<Stretch> }[] = [];
    while (start <= head.number || underWay.length > 0) {
      // One at a time until it is known how dense the events are, and what the node grants.
      const limit = this.isMeasured ? this.concurrency : 1;
      while (start <= head.number && underWay.length < limit) {
        const to = Math.min(head.number, Math.max(reach, start + this.rangeBlocks() - 1));
        const stretch = readAgreed(this.trusted, this.quorum, { deployment, from: start, to }, to === head.number);
        // It is looked at when its turn comes; until then a failure is not unhandled.
        stretch.catch(() => undefined);
        underWay.push({ from: start, to, stretch });
        start = to + 1;
      }
      const next = underWay.shift();
      if (next === undefined) return;
      let stretch = await next.stretch;
      if (gapIn(stretch, before) !== null)
        stretch = await readWhole(this.trusted, { deployment, from: next.from, to: next.to }, stretch, before);
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

  /**
   * Holds the events up to the head that the last look found against what the contracts count there.
   * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES; CHAIN_INCOMPLETE with a Gap as its cause
   */
  prove(head: Place): Promise<void> {
    return proveCounts(this.trusted, this.quorum, this.deployment, head);
  }

  /** Calls `onHead` when a node says that it has a new block; null when no node does that. */
  subscribe(onHead: () => void): (() => void) | null {
    const ends = this.endpoints.flatMap(({ rpc }) => rpc.subscribe?.(onHead) ?? []);
    if (ends.length === 0) return null;
    return () => {
      for (const end of ends) end();
    };
  }

  private get quorum(): number {
    return quorumOf(this.endpoints.length, this.trusted.length);
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
