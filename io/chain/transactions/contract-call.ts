/** One call of a contract, and what it may use. */
import type { Address } from "../../../protocol/address.ts";
import type { Hex } from "../../../protocol/bytes.ts";
import { type DmtpError } from "../../../protocol/error.ts";
import { malformed, parseBigQuantity } from "../rpc/parsed-answer.ts";
import { refusalOf } from "./broadcast.ts";
import type { Rpc } from "../rpc/rpc.ts";

export interface ContractCall {
  readonly chainId: number;
  readonly to: Address;
  readonly data: Hex;
  /** What a refused estimate means: `overtaken` ends the submission, an error is thrown. */
  readonly judge: (error: unknown) => "overtaken" | DmtpError;
}

/**
 * What the call may use: a tenth more than the estimate, which is never paid, only allowed, for the head may move other storage.
 * @throws what the call's judge says of a refusal; CHAIN_UNREACHABLE
 */
export async function estimateGas(
  rpc: Rpc,
  from: Address,
  { to, data, judge }: ContractCall,
): Promise<bigint | "overtaken"> {
  try {
    const gas = parseBigQuantity(await rpc.request({ method: "eth_estimateGas", params: [{ from, to, data }] }));
    if (gas === 0n) throw malformed("an amount of gas");
    return gas + gas / 10n;
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === null || refusal === "unsure") throw error;
    const judged = judge(error);
    if (judged === "overtaken") return judged;
    throw judged;
  }
}
