/**
 * A stretch of the chain as several nodes give it, each of which may have left out events: agreed on by a quorum, and made whole
 * where it has a gap.
 */
import { toHex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { ChainEvent } from "../../../protocol/event.ts";
import type { Deployment } from "../../../protocol/room.ts";
import { isPassing, type Endpoint } from "../rpc/endpoint.ts";
import { gapIn, gapOf, incomplete, isFirstMissing, isOfReplaced, mend, type Gap } from "../events/missing-events.ts";
import { countsAfter, sortEvents, type EventCounts } from "../events/event-sequence.ts";
import type { Place } from "./node-view.ts";
import { join, readStretch, type Stretch } from "../events/block-range.ts";

/** Blocks, both included, and whose events of them. */
export interface StretchBounds {
  readonly deployment: Deployment;
  readonly from: number;
  readonly to: number;
}

/** A stretch as a quorum of the nodes gives it, whole or not. */
export async function readAgreed(
  endpoints: readonly Endpoint[],
  quorum: number,
  { deployment, from, to }: StretchBounds,
  isCounted: boolean,
): Promise<Stretch> {
  const waiting = [...endpoints];
  const given: Stretch[] = [];
  let reason: unknown;
  while (waiting.length > 0) {
    const asked = waiting.splice(0, Math.max(1, quorum - given.length));
    for (const answer of await Promise.allSettled(
      asked.map((endpoint) => readStretch(endpoint, deployment, from, to, isCounted)),
    )) {
      if (answer.status === "fulfilled") given.push(answer.value);
      else if (isPassing(answer.reason)) reason = answer.reason;
      else throw answer.reason;
    }
    if (given.length < quorum) continue;
    try {
      return uniteMost(given, quorum);
    } catch (error) {
      // One of them may be wrong: those that were not asked yet decide.
      if (!isPassing(error)) throw error;
      reason = error;
    }
  }
  throw reason;
}

/** What a quorum of them says together. @throws CHAIN_DISAGREES */
function uniteMost(given: readonly Stretch[], quorum: number): Stretch {
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
export async function proveCounts(
  endpoints: readonly Endpoint[],
  quorum: number,
  deployment: Deployment,
  { number, hash, counts }: Place,
): Promise<void> {
  const block = await readAgreed(endpoints, quorum, { deployment, from: number, to: number }, true);
  if (block.last.hash !== hash)
    throw new DmtpError("CHAIN_DISAGREES", `block ${number} was replaced while it was read`);
  const contract = gapIn({ events: [], counts: block.counts }, counts);
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

/** A stretch that has a gap, read on where an answer may have been cut off, then from other nodes, then from receipts. */
export async function readWhole(
  endpoints: readonly Endpoint[],
  bounds: StretchBounds,
  gappy: Stretch,
  before: EventCounts,
): Promise<Stretch> {
  let stretch = gappy;
  for (const endpoint of endpoints) {
    try {
      stretch = unite(stretch, await readCarefully(endpoint, bounds, before));
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
    if (gapIn(stretch, before) === null) return stretch;
  }
  let reason: unknown;
  for (const endpoint of endpoints) {
    try {
      return await mend(endpoint, bounds.deployment, stretch, before);
    } catch (error) {
      if (!isPassing(error) || isOfReplaced(error)) throw error;
      if (reason === undefined || gapOf(error) !== null) reason = error;
    }
  }
  if (gapOf(reason) !== null) throw reason;
  const contract = gapIn(stretch, before) ?? "anchors";
  throw incomplete(contract, isFirstMissing(stretch, before, contract), bounds.from, bounds.to);
}

/** Range by range, each read on where its answer may have been cut off: some nodes do that and say nothing. */
async function readCarefully(
  endpoint: Endpoint,
  { deployment, from, to }: StretchBounds,
  before: EventCounts,
): Promise<Stretch> {
  let whole: Stretch | null = null;
  let counts = before;
  for (let start = from; start <= to;) {
    const end = Math.min(to, start + endpoint.range.sizeBlocks - 1);
    let part = await readStretch(endpoint, deployment, start, end, false);
    if (isCutOff(part, counts)) part = await readOn(endpoint, deployment, part, counts);
    counts = part.counts ?? countsAfter(part, counts);
    whole = whole === null ? part : join(whole, part);
    start = end + 1;
  }
  if (whole === null) throw new DmtpError("INTERNAL", "a stretch without blocks");
  return whole;
}

async function readOn(
  endpoint: Endpoint,
  deployment: Deployment,
  part: Stretch,
  before: EventCounts,
): Promise<Stretch> {
  const { first, last } = part;
  if (last.number > first.number) endpoint.range.shrink(last.number - first.number + 1);
  let whole = part;
  for (let start = first.number; start <= last.number && isCutOff(whole, before);) {
    start = Math.max(start, whole.events.at(-1)?.blockNumber ?? start);
    const end = Math.min(last.number, start + endpoint.range.sizeBlocks - 1);
    const { events } = await readStretch(endpoint, deployment, start, end, false);
    const united = unite(whole, { ...whole, events });
    if (united.events.length === whole.events.length) start = end + 1;
    whole = united;
  }
  // All of it must be of the chain that the first answer was of.
  return unite(whole, await readStretch(endpoint, deployment, last.number, last.number, false));
}

/**
 * The events that either of two nodes gives for one stretch: both may leave some out. What one of them made up would not go
 * together with the other's, with the indices or with the counts.
 * @throws CHAIN_DISAGREES
 */
function unite(a: Stretch, b: Stretch): Stretch {
  const differ = (): DmtpError => new DmtpError("CHAIN_DISAGREES", `the nodes differ up to block ${a.last.number}`);
  const counts = a.counts ?? b.counts;
  const anchorHead = a.anchorHead ?? b.anchorHead;
  if (a.last.hash !== b.last.hash || JSON.stringify(counts) !== JSON.stringify(b.counts ?? counts)) throw differ();
  if (anchorHead !== (b.anchorHead ?? anchorHead)) throw differ();
  const known = new Map(a.events.map((event) => [placeOf(event), textOf(event)]));
  const added = b.events.filter((event) => {
    const text = known.get(placeOf(event));
    if (text !== undefined && text !== textOf(event)) throw differ();
    return text === undefined;
  });
  return { ...a, counts, anchorHead, events: added.length === 0 ? a.events : sortEvents([...a.events, ...added]) };
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
