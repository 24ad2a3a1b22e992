/** What a list of events must look like if nothing was left out, put twice or moved: the contracts number every event. */
import type { Hex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import { comparePositions, type ChainEvent, type EventCounts } from "../../../protocol/event.ts";
import { isHeadAfter } from "./stored-entry.ts";

/** How many events there are after a range. */
export function countsAfter({ events }: { readonly events: readonly ChainEvent[] }, before: EventCounts): EventCounts {
  const keys = events.filter(({ kind }) => kind !== "anchor").length;
  return { anchors: before.anchors + events.length - keys, keys: before.keys + keys };
}

/**
 * Orders events by their place on the chain; indices may be missing, and do not fall or repeat.
 * @throws CHAIN_DISAGREES for two events in one place, a repeated or falling index, or two hashes of one block
 */
export function sortEvents(events: readonly ChainEvent[]): ChainEvent[] {
  const ordered = [...events].sort(comparePositions);
  const next = { anchors: 0, keys: 0 };
  ordered.forEach((event, i) => {
    const before = ordered[i - 1];
    if (before?.blockNumber === event.blockNumber) {
      if (before.blockHash !== event.blockHash) throw disagrees(`block ${event.blockNumber} has two hashes`);
      if (before.logIndex === event.logIndex)
        throw disagrees(`log ${event.logIndex} of block ${event.blockNumber} came twice`);
    }
    const contract = event.kind === "anchor" ? "anchors" : "keys";
    const due = next[contract];
    if (event.index < due) throw disagrees(`${contract}: event ${event.index} came where ${due} was due`);
    next[contract] = event.index + 1;
  });
  return ordered;
}

/**
 * Proves that ordered events are all there are after the first `before` ones: up to the counts that the contracts themselves give.
 * @throws CHAIN_INCOMPLETE, CHAIN_DISAGREES when there are more
 */
export function checkComplete(
  events: readonly ChainEvent[],
  counts: EventCounts,
  before: EventCounts = { anchors: 0, keys: 0 },
): void {
  for (const contract of ["anchors", "keys"] as const) {
    const indices = events
      .filter(({ kind }) => (kind === "anchor") === (contract === "anchors"))
      .map(({ index }) => index);
    const first = before[contract];
    const count = counts[contract] - first;
    if (indices.length > 0 && indices[0] !== first) throw incomplete(`${contract}: event ${first} was left out`);
    if (indices.length < count) throw incomplete(`${contract}: ${indices.length} events of ${count}`);
    if (indices.length > count) throw disagrees(`${contract}: ${indices.length} events, the contract counts ${count}`);
  }
}

/** Holds the last entry of CIDStore against the contract's own word of it. @throws CHAIN_DISAGREES */
export function checkHead(events: readonly ChainEvent[], head: Hex): void {
  const last = events.findLast((event) => event.kind === "anchor") ?? null;
  if (!isHeadAfter(last, head)) throw disagrees("CIDStore's head is not its last entry in the logs");
}

function disagrees(what: string): DmtpError {
  return new DmtpError("CHAIN_DISAGREES", what);
}

function incomplete(what: string): DmtpError {
  return new DmtpError("CHAIN_INCOMPLETE", what);
}
