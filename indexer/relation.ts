/** How what a node shows of the chain relates to the blocks that the index has seen. */
import type { ChainView } from "../io/chain/agreement/chain-view.ts";
import type { ChainClient } from "../io/chain/client.ts";
import type { ChainHead } from "../io/chain/agreement/chain-view.ts";
import { DmtpError } from "../protocol/error.ts";
import type { BlockId, BlockLog } from "./store/block-log.ts";

/** What of the chain client is used. */
export type SeenChain = Pick<ChainClient, "startBlock" | "block">;

export type Relation = "ahead" | "same" | "behind" | "contradicts";

/** Only a hash that contradicts one that was seen is a reorg; a lower head alone is a node that lags. */
export async function relationTo(chain: SeenChain, log: BlockLog, view: ChainView): Promise<Relation> {
  const { cursor } = log;
  const { block: head, checkpointBlock } = view;
  if (cursor === null) return head.number < chain.startBlock ? "behind" : "ahead";
  if (head.number === cursor.number) return head.hash === cursor.hash ? "same" : "contradicts";
  if (head.number > cursor.number) {
    // A node that has a head but not what lies below it answers from two places: it is asked again.
    if (checkpointBlock === null) return "behind";
    if (checkpointBlock.hash !== cursor.hash) return "contradicts";
    return head.number > cursor.number + 1 || head.parentHash === cursor.hash ? "ahead" : "contradicts";
  }
  const seen = log.seenAt(head.number);
  if (seen === null) return "behind";
  const hash = seen.number === head.number ? head.hash : (await chain.block(seen.number))?.hash;
  return hash === undefined || hash === seen.hash ? "behind" : "contradicts";
}

/** The highest seen block that still stands: found by ever larger steps down, then by halving. */
export async function commonAncestor(
  chain: SeenChain,
  log: BlockLog,
  { block: head }: ChainHead,
): Promise<BlockId | null> {
  const seen = log.seenUpTo(head.number);
  const stands = async (at: number): Promise<boolean> => {
    const block = seen[at];
    if (block === undefined) return false;
    const found = block.number === head.number ? head : await chain.block(block.number);
    if (found === null) throw new DmtpError("CHAIN_UNREACHABLE", `the node does not have block ${block.number}`);
    return found.hash === block.hash;
  };
  // Invariant: `fallen` does not stand (−1: above all of them), `standing` does (the length: nothing does).
  let fallen = -1;
  let standing = 0;
  while (standing < seen.length && !(await stands(standing))) {
    fallen = standing;
    standing = Math.min(seen.length, 2 * standing + 1);
  }
  while (standing - fallen > 1) {
    const middle = Math.floor((standing + fallen) / 2);
    if (await stands(middle)) standing = middle;
    else fallen = middle;
  }
  return seen[standing] ?? null;
}
