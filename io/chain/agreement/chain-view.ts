/** Where the chain stands and what comes next, by the word of several nodes: what a quorum of them says. */
import { DmtpError } from "../../../protocol/error.ts";
import { parseBlock, type Block } from "../rpc/parsed-answer.ts";
import type { Endpoint } from "../rpc/endpoint.ts";
import type { ChainHead } from "./chain-head.ts";
import { majority, majorityOf, quorumOf, reachedBy } from "./quorum.ts";
import type { Place, Sight } from "./node-view.ts";
import { headerCall, type Stretch } from "../events/block-range.ts";

export interface Look extends ChainHead {
  /** Whether most of the nodes that were given say so. While they do not, nothing more is final. */
  readonly isConfirmed: boolean;
  /** The final block that `finalized` is the number of; null where only a depth says so. */
  readonly finalizedBlock: Block | null;
  /** What the chain has at the index's place; null when it does not reach it. */
  readonly standing: Block | null;
  /** The block after the index's place, when it came with the same request. */
  readonly next: Stretch | null;
}

/**
 * @param sights of the nodes that answered, the best first
 * @param given how many nodes there are, those that did not answer included
 * @param depth behind a node's head, what is final by its word when it has no tag for that
 * @returns the look, and who said so, best first: they have what it found
 * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES
 */
export async function agreeOnLook(
  sights: readonly Sight[],
  given: number,
  depth: number,
  place: Place | null,
): Promise<{ readonly look: Look; readonly endpoints: readonly Endpoint[] }> {
  const quorum = quorumOf(given, sights.length);
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
  const finals = agreeing.map(({ sight: { endpoint, latest } }) => endpoint.finality.finalizedAt(latest.number, depth));
  const isConfirmed = agreeing.length >= majorityOf(given);
  const finalized = isConfirmed ? Math.min(number, reachedBy(finals, quorum)) : -1;
  const finalizedBlock = agreeing.find(({ sight }) => sight.finalizedBlock?.number === finalized)?.sight.finalizedBlock;
  const { standing, next } = best.sight;
  const look = {
    isConfirmed,
    block: best.block,
    finalized,
    finalizedBlock: finalizedBlock ?? null,
    standing: standing === null || standing.number === place?.number ? standing : null,
    // Of its events, one node has spoken: that is enough only where one is.
    next: next !== null && quorum === 1 && isBelowOrAt(best.block, next) ? next : null,
  };
  return { look, endpoints: agreeing.map(({ sight }) => sight.endpoint) };
}

function isBelowOrAt(head: Block, { last }: Stretch): boolean {
  return last.number < head.number || last.hash === head.hash;
}
