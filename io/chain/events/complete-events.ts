/** All events between two blocks, proved to be all by what the contracts count at the end. */
import type { Hex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { ChainEvent, EventCounts } from "../../../protocol/event.ts";
import type { ChainHead } from "../agreement/chain-view.ts";
import type { NodePool } from "../agreement/node-pool.ts";
import { cidStoreInterface, keyRegistryInterface } from "../contracts.ts";
import { parseCount, parseHash } from "../rpc/parsed-answer.ts";
import { checkComplete, checkHead } from "./event-sequence.ts";
import { getGap } from "./missing-events.ts";
import type { RangeReader } from "./range-reader.ts";

/** What was logged since, and CIDStore's head after it, 32 bytes. */
export interface NewEvents {
  readonly events: ChainEvent[];
  readonly anchorHead: Hex;
}

export interface EventBounds {
  readonly from: number;
  /** How many events there are before that block. */
  readonly before: EventCounts;
  readonly head: ChainHead;
}

/**
 * Reads up to a head, which must be the same at the end of reading. No block is read when the contracts count no more than `before`,
 * and none after the last event that they count.
 * @throws CHAIN_UNREACHABLE, CHAIN_INCOMPLETE, CHAIN_DISAGREES
 */
export async function readAllBetween(
  pool: NodePool,
  reader: RangeReader,
  { from, before, head: { block, finalized } }: EventBounds,
): Promise<NewEvents> {
  const { counts, anchorHead } = await fetchTotals(pool, block.number);
  const enough = counts.anchors + counts.keys - before.anchors - before.keys;
  const events: ChainEvent[] = [];
  const start = { from, counts: before, parentHash: null };
  // What was left out at the end of a range may show only at the head, so after a gap all is read as one range that ends there.
  for (let minEnd = 0; ; minEnd = block.number) {
    events.length = 0;
    try {
      for await (const range of reader.read(start, block, { minEnd, enough, finalUpTo: finalized }))
        for (const event of range.events) events.push(event);
      break;
    } catch (error) {
      if (getGap(error) === null || minEnd === block.number) throw error;
    }
  }
  checkComplete(events, counts, before);
  if ((await pool.fetchBlock(block.number))?.hash !== block.hash)
    throw new DmtpError("CHAIN_DISAGREES", `block ${block.number} was replaced while it was read`);
  if (counts.anchors > before.anchors) checkHead(events, anchorHead);
  return { events, anchorHead };
}

/** What both contracts count, and CIDStore's head. */
async function fetchTotals(
  pool: NodePool,
  blockNumber: number,
): Promise<{ readonly counts: EventCounts; readonly anchorHead: Hex }> {
  const { cidStore, keyRegistry } = pool.identity.deployment;
  const [anchors, keys, head] = await pool.callViews(
    [
      { to: cidStore, contract: cidStoreInterface, name: "count" },
      { to: keyRegistry, contract: keyRegistryInterface, name: "count" },
      { to: cidStore, contract: cidStoreInterface, name: "head" },
    ],
    blockNumber,
  );
  return { counts: { anchors: parseCount(anchors), keys: parseCount(keys) }, anchorHead: parseHash(head) };
}
