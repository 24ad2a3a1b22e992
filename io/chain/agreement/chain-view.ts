/** Where the chain stands and what comes next, by the word of several nodes: what a quorum of them says. */
import { DmtpError } from "../../../protocol/error.ts";
import { parseBlock, type Block } from "../rpc/parsed-answer.ts";
import type { Endpoint } from "../rpc/endpoint.ts";
import { majority, reachedBy } from "./quorum.ts";
import type { Checkpoint, NodeView } from "./node-view.ts";
import { headerCall, type BlockRange } from "../events/block-range.ts";

export interface ChainHead {
  readonly block: Block;
  /** The highest final block number: by the `finalized` tag, or else the head's minus a depth. */
  readonly finalized: number;
}

export interface ChainView extends ChainHead {
  /** Whether as many of the nodes that were given say so as have to. While they do not, nothing more is final. */
  readonly isConfirmed: boolean;
  /** The final block that `finalized` is the number of; null where only a depth says so. */
  readonly finalizedBlock: Block | null;
  /** What the chain has at the checkpoint; null when it does not reach it. */
  readonly checkpointBlock: Block | null;
  /** The block after the checkpoint, when it came with the same request. */
  readonly next: BlockRange | null;
}

export interface AgreementOptions {
  /** How many of the nodes that were given have to say the same; those that did not answer count as given. */
  readonly required: number;
  /** How far behind a node's head a block is final where the node has no tag for that. */
  readonly finalityDepth: number;
  readonly checkpoint: Checkpoint | null;
}

/**
 * @param views of the nodes that answered, the best first
 * @returns the view, and who said so, best first: they have what it found
 * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES
 */
export async function agreeOnView(
  views: readonly NodeView[],
  { required, finalityDepth, checkpoint }: AgreementOptions,
): Promise<{ readonly view: ChainView; readonly endpoints: readonly Endpoint[] }> {
  const quorum = Math.min(views.length, required);
  const number = reachedBy(
    views.map(({ latest }) => latest.number),
    quorum,
  );
  const reaching = views.filter(({ latest }) => latest.number >= number);
  const votes = await Promise.all(
    reaching.map(async (view) => {
      if (view.latest.number === number) return { view, block: view.latest };
      const block = parseBlock((await view.endpoint.batch([headerCall(number)]))[0] ?? null);
      return { view, block };
    }),
  );
  const has = votes.filter((vote): vote is { view: NodeView; block: Block } => vote.block?.number === number);
  const agreeing = majority(has, quorum, ({ block }) => block.hash, `block ${number}`);
  const [best] = agreeing;
  if (best === undefined) throw new DmtpError("INTERNAL", "a quorum of none");
  const finals = agreeing.map(({ view: { endpoint, latest } }) =>
    endpoint.finality.finalizedAt(latest.number, finalityDepth),
  );
  const isConfirmed = agreeing.length >= required;
  const finalized = isConfirmed ? Math.min(number, reachedBy(finals, quorum)) : -1;
  const finalizedBlock = agreeing.find(({ view }) => view.finalizedBlock?.number === finalized)?.view.finalizedBlock;
  const { checkpointBlock, next } = best.view;
  const view: ChainView = {
    isConfirmed,
    block: best.block,
    finalized,
    finalizedBlock: finalizedBlock ?? null,
    checkpointBlock: checkpointBlock === null || checkpointBlock.number === checkpoint?.number ? checkpointBlock : null,
    // The next block's events come from one node, so they are used only with a quorum of one.
    next: next !== null && quorum === 1 && isBelowOrAt(best.block, next) ? next : null,
  };
  return { view, endpoints: agreeing.map((vote) => vote.view.endpoint) };
}

function isBelowOrAt(head: Block, { last }: BlockRange): boolean {
  return last.number < head.number || last.hash === head.hash;
}
