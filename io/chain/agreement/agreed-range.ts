/**
 * A range of the chain as several nodes give it, each of which may have left out events: agreed on by a quorum, and made whole
 * where it has a gap.
 */
import { DmtpError } from "../../../protocol/error.ts";
import type { ChainEvent, EventCounts } from "../../../protocol/event.ts";
import { isPassing, type Endpoint } from "../rpc/endpoint.ts";
import {
  findGap,
  getGap,
  incomplete,
  isFirstMissing,
  isReplaced,
  repairRange,
  type Gap,
} from "../events/missing-events.ts";
import { countsAfter, sortEvents } from "../events/event-sequence.ts";
import { join, readRange, type BlockRange, type RangeRequest } from "../events/block-range.ts";
import type { Checkpoint } from "./node-view.ts";
import type { NodePool } from "./node-pool.ts";
import { readFromQuorum, toComparableText } from "./quorum.ts";

/** A range as some nodes give it, whole or not. */
export interface GivenRange {
  readonly range: BlockRange;
  /** Who is asked for what it lacks. */
  readonly by: readonly Endpoint[];
}

/**
 * A range as the nodes give it. Where most of them are enough it is one, which any of them may complete: what one node leaves out
 * another has. Where all have to agree it is one for each node, which that node alone may complete: nothing is taken by the word of
 * fewer.
 */
export async function readGiven(pool: NodePool, request: RangeRequest): Promise<GivenRange[]> {
  const { trusted, quorum } = pool;
  if (!pool.isUnanimous) return [{ range: await readAgreed(trusted, quorum, request), by: trusted }];
  return Promise.all(trusted.map(async (endpoint) => ({ range: await readRange(endpoint, request), by: [endpoint] })));
}

/**
 * One whole range of those that nodes gave for the same blocks.
 * @param before how many events there are before it
 * @throws CHAIN_UNREACHABLE; CHAIN_DISAGREES; CHAIN_INCOMPLETE with a Gap as its cause
 */
export async function completeRange(
  given: readonly GivenRange[],
  request: RangeRequest,
  before: EventCounts,
): Promise<BlockRange> {
  // A node that has no state as old as that is held against the counts of one that has it.
  const counts = given.find(({ range }) => range.counts !== null)?.range.counts ?? null;
  const wholes = await Promise.all(
    given.map(async ({ range, by }) => {
      const counted = { ...range, counts: range.counts ?? counts };
      return findGap(counted, before) === null ? counted : readWhole(by, request, counted, before);
    }),
  );
  return wholes.reduce((first, other) => {
    const united = unite(first, other);
    if (united.events.length === first.events.length && united.events.length === other.events.length) return united;
    // Only what the contracts count at the head can tell which of them left something out.
    throw incomplete("anchors", true, request.from, request.to);
  });
}

/** A range as a quorum of the nodes gives it, whole or not. */
function readAgreed(endpoints: readonly Endpoint[], quorum: number, request: RangeRequest): Promise<BlockRange> {
  return readFromQuorum(
    endpoints,
    quorum,
    (endpoint) => readRange(endpoint, request),
    (given) => uniteMost(given, quorum),
  );
}

/** What a quorum of them says together. @throws CHAIN_DISAGREES */
function uniteMost(given: readonly BlockRange[], quorum: number): BlockRange {
  let reason: unknown;
  for (const one of given) {
    let united = one;
    let count = 1;
    for (const other of given) {
      if (other === one) continue;
      try {
        united = unite(united, other);
        count += 1;
      } catch (error) {
        if (!isPassing(error)) throw error;
        reason = error;
      }
    }
    if (count >= quorum) return united;
  }
  throw reason;
}

/**
 * Compares the number of events up to a block with what the contracts count there.
 * @throws CHAIN_INCOMPLETE with a Gap as its cause, CHAIN_UNREACHABLE, CHAIN_DISAGREES
 */
export async function proveCounts(pool: NodePool, { number, hash, counts }: Checkpoint): Promise<void> {
  const { deployment } = pool.identity;
  const request = { deployment, from: number, to: number, isCounted: true };
  const block = await readAgreed(pool.trusted, pool.quorum, request);
  if (block.last.hash !== hash)
    throw new DmtpError("CHAIN_DISAGREES", `block ${number} was replaced while it was read`);
  const contract = findGap({ events: [], counts: block.counts }, counts);
  if (contract === null) return;
  if ((block.counts?.[contract] ?? 0) < counts[contract])
    throw new DmtpError(
      "CHAIN_DISAGREES",
      `the node counts fewer events of ${contract} up to block ${number} than it gave`,
    );
  throw new DmtpError("CHAIN_INCOMPLETE", `the node left out events of ${contract} up to block ${number}`, {
    cause: { contract, isBefore: true, upTo: number } satisfies Gap,
  });
}

/** A range that has a gap, read on where an answer may have been cut off, then from other nodes, then from receipts. */
async function readWhole(
  endpoints: readonly Endpoint[],
  request: RangeRequest,
  gappy: BlockRange,
  before: EventCounts,
): Promise<BlockRange> {
  let range = gappy;
  for (const endpoint of endpoints) {
    try {
      range = unite(range, await readCarefully(endpoint, request, before));
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
    if (findGap(range, before) === null) return range;
  }
  let reason: unknown;
  for (const endpoint of endpoints) {
    try {
      return await repairRange(endpoint, request.deployment, range, before);
    } catch (error) {
      if (!isPassing(error) || isReplaced(error)) throw error;
      if (reason === undefined || getGap(error) !== null) reason = error;
    }
  }
  if (getGap(reason) !== null) throw reason;
  const contract = findGap(range, before) ?? "anchors";
  throw incomplete(contract, isFirstMissing(range, before, contract), request.from, request.to);
}

/** Range by range, each read on where its answer may have been cut off: some nodes do that and say nothing. */
async function readCarefully(endpoint: Endpoint, request: RangeRequest, before: EventCounts): Promise<BlockRange> {
  const { from, to } = request;
  let whole: BlockRange | null = null;
  let counts = before;
  for (let start = from; start <= to;) {
    const end = Math.min(to, start + endpoint.range.sizeBlocks - 1);
    let part = await readRange(endpoint, { ...request, from: start, to: end, isCounted: false });
    if (isCutOff(part, counts)) part = await readOn(endpoint, request, part, counts);
    counts = part.counts ?? countsAfter(part, counts);
    whole = whole === null ? part : join(whole, part);
    start = end + 1;
  }
  if (whole === null) throw new DmtpError("INTERNAL", "a range without blocks");
  return whole;
}

async function readOn(
  endpoint: Endpoint,
  request: RangeRequest,
  part: BlockRange,
  before: EventCounts,
): Promise<BlockRange> {
  const { first, last } = part;
  if (last.number > first.number) endpoint.range.shrink(last.number - first.number + 1);
  let whole = part;
  for (let start = first.number; start <= last.number && isCutOff(whole, before);) {
    start = Math.max(start, whole.events.at(-1)?.blockNumber ?? start);
    const end = Math.min(last.number, start + endpoint.range.sizeBlocks - 1);
    const { events } = await readRange(endpoint, { ...request, from: start, to: end, isCounted: false });
    const united = unite(whole, { ...whole, events });
    if (united.events.length === whole.events.length) start = end + 1;
    whole = united;
  }
  // All of it must be of the chain that the first answer was of.
  return unite(whole, await readRange(endpoint, { ...request, from: last.number, to: last.number, isCounted: false }));
}

/**
 * The events that either of two nodes gives for one range: both may leave some out. What one of them made up would not go
 * together with the other's, with the indices or with the counts.
 * @throws CHAIN_DISAGREES
 */
function unite(a: BlockRange, b: BlockRange): BlockRange {
  const differ = (): DmtpError => new DmtpError("CHAIN_DISAGREES", `the nodes differ up to block ${a.last.number}`);
  const counts = a.counts ?? b.counts;
  const anchorHead = a.anchorHead ?? b.anchorHead;
  if (a.last.hash !== b.last.hash || JSON.stringify(counts) !== JSON.stringify(b.counts ?? counts)) throw differ();
  if (anchorHead !== (b.anchorHead ?? anchorHead)) throw differ();
  const known = new Map(a.events.map((event) => [toPositionText(event), toComparableText(event)]));
  const added = b.events.filter((event) => {
    const text = known.get(toPositionText(event));
    if (text !== undefined && text !== toComparableText(event)) throw differ();
    return text === undefined;
  });
  return { ...a, counts, anchorHead, events: added.length === 0 ? a.events : sortEvents([...a.events, ...added]) };
}

/** Whether all that is missing comes after the last event that is there. */
function isCutOff(range: BlockRange, before: EventCounts): boolean {
  return findGap(range, before) !== null && findGap({ ...range, counts: null }, before) === null;
}

function toPositionText({ blockNumber, logIndex }: ChainEvent): string {
  return `${blockNumber} ${logIndex}`;
}
