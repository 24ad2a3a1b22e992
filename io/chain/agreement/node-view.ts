/** What one node shows of the chain in one request: its head, what is final, its block at a checkpoint, and the block after that. */
import type { EventCounts } from "../../../protocol/event.ts";
import type { Hex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { Deployment } from "../../../protocol/room.ts";
import { parseBlock, type Block } from "../rpc/parsed-answer.ts";
import { isPassing, type Endpoint } from "../rpc/endpoint.ts";
import { resultOf, type RpcAnswer, type RpcCall } from "../rpc/rpc.ts";
import { encodeRangeCalls, headerCall, parseRange, type BlockRange } from "../events/block-range.ts";

/** The last block that a reader has taken. */
export interface Checkpoint {
  readonly number: number;
  readonly hash: Hex;
  /** The events of both contracts up to there. */
  readonly counts: EventCounts;
}

export interface NodeView {
  readonly endpoint: Endpoint;
  readonly latest: Block;
  /** The last one that the node called final, now or before. */
  readonly finalizedBlock: Block | null;
  readonly checkpointBlock: Block | null;
  readonly next: BlockRange | null;
}

export interface NodeViewOptions {
  readonly checkpoint: Checkpoint | null;
  /** The block whose events are asked for in the same request; null for none. */
  readonly next: number | null;
}

/** @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
export async function fetchNodeView(
  endpoint: Endpoint,
  deployment: Deployment,
  { checkpoint, next }: NodeViewOptions,
): Promise<NodeView> {
  const calls: RpcCall[] = [];
  const ask = (...asked: RpcCall[]): ((answers: RpcAnswer[]) => RpcAnswer[]) => {
    const at = calls.length;
    calls.push(...asked);
    return (answers) => answers.slice(at, at + asked.length);
  };
  const takeLatest = ask(headerCall("latest"));
  const takeFinalized = endpoint.finality.isAsked ? ask(headerCall("finalized")) : null;
  const takeCheckpoint = checkpoint === null ? null : ask(headerCall(checkpoint.number));
  const takeRange = next === null ? null : ask(...encodeRangeCalls(deployment, next, next));
  const answers = await endpoint.attempt(calls);

  const latest = parseBlock(resultOf(takeLatest(answers)[0]) ?? null);
  if (latest === null) throw new DmtpError("CHAIN_DISAGREES", `${endpoint.name} has no newest block`);
  const finalized = takeFinalized?.(answers)[0];
  if (finalized !== undefined) endpoint.finality.take(finalized);
  const checkpointBlock = takeCheckpoint === null ? null : parseBlock(resultOf(takeCheckpoint(answers)[0]) ?? null);
  let range: BlockRange | null = null;
  try {
    if (takeRange !== null && next !== null && latest.number >= next)
      range = parseRange(deployment, { from: next, to: next, isCounted: true }, takeRange(answers));
  } catch (error) {
    // A node that lags behind its own head; what it left out of this answer is asked for again.
    if (!isPassing(error)) throw error;
  }
  return { endpoint, latest, finalizedBlock: endpoint.finality.block, checkpointBlock, next: range };
}
