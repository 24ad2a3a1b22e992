/** The blocks between a checkpoint and a head with their events, in ranges: each is whole, and all are of one chain. */
import type { EventCounts } from "../../../protocol/event.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { Hex } from "../../../protocol/bytes.ts";
import { completeRange, readGiven, type GivenRange } from "../agreement/agreed-range.ts";
import type { NodePool } from "../agreement/node-pool.ts";
import type { Block } from "../rpc/parsed-answer.ts";
import type { BlockRange, RangeRequest } from "./block-range.ts";
import { countsAfter } from "./event-sequence.ts";

/** Where reading begins. */
export interface RangeStart {
  readonly from: number;
  /** The events before it. */
  readonly counts: EventCounts;
  /** The hash of the block before it; null where that is not known. */
  readonly parentHash: Hex | null;
}

export interface RangeReaderOptions {
  /** Ranges that are read at the same time. */
  readonly concurrency: number;
  /** No range is larger. */
  readonly maxRangeBlocks: number;
}

export interface RangeLimits {
  /** A block that the first range has to reach, for a gap to show in it that showed there. */
  readonly minEnd?: number;
  /** Reading ends when this number of events was read. */
  readonly enough?: number;
  /** See {@link RangeRequest}. */
  readonly finalUpTo?: number;
}

/** The first range shows how dense the events are; the next are sized to bring this number of events, which are held in memory. */
const FIRST_RANGE_BLOCKS = 256;
const RANGE_EVENTS = 4_000;
const MAX_GROWTH = 4;
/** A range is read in at most this number of parts: what is read must be taken at some time. */
const MAX_PARTS = 64;

export class RangeReader {
  private readonly pool: NodePool;
  private readonly options: RangeReaderOptions;
  private sizeBlocks = FIRST_RANGE_BLOCKS;
  private isMeasured = false;

  constructor(pool: NodePool, options: RangeReaderOptions) {
    this.pool = pool;
    this.options = options;
  }

  /**
   * What lies from a start up to a block that a view has shown, in order.
   * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES; CHAIN_INCOMPLETE with a Gap as its cause
   */
  async *read(start: RangeStart, head: Block, limits: RangeLimits = {}): AsyncGenerator<BlockRange> {
    const { deployment } = this.pool.identity;
    const { minEnd = 0, enough = Infinity, finalUpTo } = limits;
    let { from, counts, parentHash } = start;
    let eventCount = 0;
    const underWay: { readonly request: RangeRequest; readonly given: Promise<GivenRange[]> }[] = [];
    while ((from <= head.number || underWay.length > 0) && eventCount < enough) {
      // One at a time until it is known how dense the events are, and what the node grants.
      const limit = this.isMeasured ? this.options.concurrency : 1;
      while (from <= head.number && underWay.length < limit) {
        const to = Math.min(head.number, Math.max(minEnd, from + this.nextSizeBlocks(enough) - 1));
        const request = { deployment, from, to, isCounted: to === head.number, finalUpTo };
        const given = readGiven(this.pool, request);
        // It is looked at when its turn comes; until then a failure is not unhandled.
        given.catch(() => undefined);
        underWay.push({ request, given });
        from = to + 1;
      }
      const next = underWay.shift();
      if (next === undefined) return;
      const { request } = next;
      const range = await completeRange(await next.given, request, counts);
      if (parentHash !== null && range.first.parentHash !== parentHash)
        throw disagrees(`block ${request.from} is not on top of the block that was read before`);
      if (request.to === head.number && range.last.hash !== head.hash)
        throw disagrees(`block ${head.number} was replaced while it was read`);
      this.adapt(range.events.length, request.to - request.from + 1);
      counts = countsAfter(range, counts);
      parentHash = range.last.hash;
      eventCount += range.events.length;
      yield range;
    }
  }

  /** @param enough events that are wanted: whoever wants a number of them holds all of them in memory */
  private nextSizeBlocks(enough: number): number {
    const granted = this.pool.trusted[0]?.range.sizeBlocks ?? 1;
    if (enough !== Infinity) return Math.max(1, Math.min(granted, this.options.maxRangeBlocks));
    const blocks = Math.max(1, Math.min(this.sizeBlocks, granted * MAX_PARTS, this.options.maxRangeBlocks));
    return blocks > granted ? blocks - (blocks % granted) : blocks;
  }

  private adapt(eventCount: number, blocks: number): void {
    const fitting = Math.floor((blocks * RANGE_EVENTS) / Math.max(1, eventCount));
    this.sizeBlocks = Math.max(1, Math.min(2 ** 24, fitting, Math.max(blocks, this.sizeBlocks) * MAX_GROWTH));
    const granted = this.pool.trusted[0]?.range.sizeBlocks ?? 1;
    this.isMeasured = blocks >= Math.min(this.sizeBlocks / 2, granted, this.options.maxRangeBlocks);
  }
}

function disagrees(what: string): DmtpError {
  return new DmtpError("CHAIN_DISAGREES", what);
}
