/** What became of a transaction, by the word of one node. */
import type { Hex } from "../../../protocol/bytes.ts";
import { malformed, parseBigQuantity, parseHash, parseLogs, parseQuantity, type Log } from "../rpc/parsed-answer.ts";
import type { Rpc } from "../rpc/rpc.ts";

export interface MinedTransaction {
  readonly hash: Hex;
  readonly blockNumber: number;
  readonly blockHash: Hex;
  readonly isReverted: boolean;
  readonly gasUsed: bigint;
  /** In wei. */
  readonly cost: bigint;
  readonly logs: readonly Log[];
}

/** An answer of eth_getTransactionReceipt; null while the transaction is in no block. @throws CHAIN_DISAGREES */
export function parseReceipt(answer: unknown): MinedTransaction | null {
  if (answer === null || answer === undefined) return null;
  if (typeof answer !== "object") throw malformed("a receipt");
  const receipt = answer as Record<string, unknown>;
  const gasUsed = parseBigQuantity(receipt.gasUsed);
  return {
    hash: parseHash(receipt.transactionHash),
    blockNumber: parseQuantity(receipt.blockNumber),
    blockHash: parseHash(receipt.blockHash),
    isReverted: parseQuantity(receipt.status) !== 1,
    gasUsed,
    cost: gasUsed * parseBigQuantity(receipt.effectiveGasPrice),
    logs: parseLogs(receipt.logs),
  };
}

/** Null while the transaction is in no block that the node knows. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
export async function readReceipt(rpc: Rpc, hash: Hex): Promise<MinedTransaction | null> {
  return parseReceipt(await rpc.request({ method: "eth_getTransactionReceipt", params: [hash] }));
}
