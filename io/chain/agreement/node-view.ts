/** What one node shows of the chain in one request: its head, what is final, what it has at a place, and the block after that. */
import type { Hex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { Deployment } from "../../../protocol/room.ts";
import { parseBlock, type Block } from "../rpc/parsed-answer.ts";
import { isPassing, type Endpoint } from "../rpc/endpoint.ts";
import { resultOf, type RpcAnswer, type RpcCall } from "../rpc/rpc.ts";
import type { EventCounts } from "../events/event-sequence.ts";
import { headerCall, stretchCalls, stretchOf, type Stretch } from "../events/block-range.ts";

/** Where an index stands. */
export interface Place {
  readonly number: number;
  readonly hash: Hex;
  /** The events of both contracts up to there. */
  readonly counts: EventCounts;
}

export interface Sight {
  readonly endpoint: Endpoint;
  readonly latest: Block;
  /** The last one that the node called final, now or before. */
  readonly finalizedBlock: Block | null;
  readonly standing: Block | null;
  readonly next: Stretch | null;
}

export interface SightOptions {
  readonly place: Place | null;
  /** The block after the place. */
  readonly next: number;
  /** Whether it is asked for the next block too. */
  readonly isPrimary: boolean;
}

/** @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
export async function see(
  endpoint: Endpoint,
  deployment: Deployment,
  { place, next, isPrimary }: SightOptions,
): Promise<Sight> {
  const calls: RpcCall[] = [];
  const ask = (...asked: RpcCall[]): ((answers: RpcAnswer[]) => RpcAnswer[]) => {
    const at = calls.length;
    calls.push(...asked);
    return (answers) => answers.slice(at, at + asked.length);
  };
  const latestOf = ask(headerCall("latest"));
  const finalizedOf = endpoint.finality.isAsked ? ask(headerCall("finalized")) : null;
  const standingOf = place === null ? null : ask(headerCall(place.number));
  const stretchesOf = isPrimary ? ask(...stretchCalls(deployment, next, next)) : null;
  const answers = await endpoint.attempt(calls);

  const latest = parseBlock(resultOf(latestOf(answers)[0]) ?? null);
  if (latest === null) throw new DmtpError("CHAIN_DISAGREES", `${endpoint.name} has no newest block`);
  const finalized = finalizedOf?.(answers)[0];
  if (finalized !== undefined) endpoint.finality.take(finalized);
  const standing = place === null ? null : parseBlock(resultOf(standingOf?.(answers)[0]) ?? null);
  let stretch: Stretch | null = null;
  try {
    if (stretchesOf !== null && latest.number >= next)
      stretch = stretchOf(deployment, next, next, true, stretchesOf(answers));
  } catch (error) {
    // A node that lags behind its own head; what it left out of this answer is asked for again.
    if (!isPassing(error)) throw error;
  }
  return { endpoint, latest, finalizedBlock: endpoint.finality.block, standing, next: stretch };
}
