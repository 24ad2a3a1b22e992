/** What a transaction may cost: EIP-1559 fees from the node, Polygon's floor, and the operator's caps. All amounts in wei. */
import { DmtpError } from "../../../protocol/error.ts";
import { GWEI } from "./amount.ts";
import { malformed, parseBigQuantity } from "../rpc/parsed-answer.ts";
import { faultOf } from "../rpc/rpc-fault.ts";
import type { Rpc } from "../rpc/rpc.ts";

export interface Fees {
  /** For each unit of gas, the base fee included. */
  readonly maxFeePerGas: bigint;
  readonly maxPriorityFeePerGas: bigint;
}

/** What the operator allows. */
export interface FeeLimits {
  /** For each unit of gas; undefined: whatever stays below `maxCost`. */
  readonly maxFeePerGas: bigint | undefined;
  /** For the whole transaction. */
  readonly maxCost: bigint;
}

/** What blocks take at the moment. */
export interface FeeMarket {
  readonly baseFeePerGas: bigint;
  /** The least tip that the chain's nodes take. */
  readonly tipFloor: bigint;
  /** The tip that the node suggests, never below the floor. */
  readonly tip: bigint;
}

/** Bor refuses transactions with a lower tip, on Polygon and on Amoy; its nodes do not always say so in what they suggest. */
const TIP_FLOORS: ReadonlyMap<number, bigint> = new Map([
  [137, 25n * GWEI],
  [80_002, 25n * GWEI],
]);

/** @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES, TRANSACTION_FAILED for a chain without EIP-1559 */
export async function readFeeMarket(rpc: Rpc, chainId: number): Promise<FeeMarket> {
  const [block, suggested] = await Promise.all([
    rpc.request({ method: "eth_getBlockByNumber", params: ["latest", false] }),
    suggestedTip(rpc),
  ]);
  if (block === null || typeof block !== "object") throw malformed("a block");
  const { baseFeePerGas } = block as { readonly baseFeePerGas?: unknown };
  if (baseFeePerGas === undefined) throw new DmtpError("TRANSACTION_FAILED", "the chain has no base fee (EIP-1559)");
  const tipFloor = TIP_FLOORS.get(chainId) ?? 0n;
  return {
    baseFeePerGas: parseBigQuantity(baseFeePerGas),
    tipFloor,
    tip: suggested > tipFloor ? suggested : tipFloor,
  };
}

/** What has a transaction mined soon: the tip, and twice the base fee, which outlasts six full blocks that raise it by an eighth each. */
export function usualFees({ baseFeePerGas, tip }: FeeMarket): Fees {
  return { maxFeePerGas: 2n * baseFeePerGas + tip, maxPriorityFeePerGas: tip };
}

/**
 * The fees to offer for `gasLimit` units of gas; null when the caps do not allow what the chain takes now.
 * @param replaced the fees of an earlier transaction with the same nonce, which nodes let go of only for an eighth more
 */
export function feesWithin(market: FeeMarket, limits: FeeLimits, gasLimit: bigint, replaced?: Fees): Fees | null {
  const cap = least(limits.maxFeePerGas, limits.maxCost / gasLimit);
  const { baseFeePerGas, tipFloor } = market;
  let { maxFeePerGas, maxPriorityFeePerGas } = usualFees(market);
  if (replaced !== undefined) {
    maxFeePerGas = greatest(maxFeePerGas, eighthMore(replaced.maxFeePerGas));
    maxPriorityFeePerGas = greatest(maxPriorityFeePerGas, eighthMore(replaced.maxPriorityFeePerGas));
  }
  maxFeePerGas = least(maxFeePerGas, cap);
  maxPriorityFeePerGas = least(maxPriorityFeePerGas, maxFeePerGas);
  if (maxFeePerGas < baseFeePerGas + tipFloor || maxPriorityFeePerGas < tipFloor) return null;
  if (replaced !== undefined) {
    if (maxFeePerGas < eighthMore(replaced.maxFeePerGas)) return null;
    if (maxPriorityFeePerGas < eighthMore(replaced.maxPriorityFeePerGas)) return null;
  }
  return { maxFeePerGas, maxPriorityFeePerGas };
}

/** Whether the caps allow what was offered. */
export function isWithin({ maxFeePerGas }: Fees, gasLimit: bigint, limits: FeeLimits): boolean {
  return maxFeePerGas <= least(limits.maxFeePerGas, limits.maxCost / gasLimit);
}

/** 12.5 % more, rounded up, and more in any case. */
function eighthMore(value: bigint): bigint {
  return value + (value + 7n) / 8n + (value === 0n ? 1n : 0n);
}

function least(a: bigint | undefined, b: bigint): bigint {
  return a === undefined || b < a ? b : a;
}

function greatest(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** Zero when the node has no opinion: the floor then stands. */
async function suggestedTip(rpc: Rpc): Promise<bigint> {
  try {
    return parseBigQuantity(await rpc.request({ method: "eth_maxPriorityFeePerGas", params: [] }));
  } catch (error) {
    if (faultOf(error)?.fault !== "answer") throw error;
    return 0n;
  }
}
