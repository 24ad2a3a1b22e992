/** Reading calls to the two contracts: what is asked, and what the answer means. */
import type { Interface } from "ethers/abi";

import type { Address } from "../../../protocol/address.ts";
import type { Hex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { RpcCall } from "./rpc.ts";

/** A call of a view function. */
export interface View {
  readonly to: Address;
  readonly contract: Interface;
  readonly name: string;
  readonly args?: readonly unknown[];
}

/** What eth_getLogs is asked for, besides the range. */
export interface LogFilter {
  readonly address: Address | readonly Address[];
  readonly topics: readonly (readonly string[] | string | null)[];
}

/** The calls that {@link parseViews} takes the answers of. @param blockNumber whose state is asked for, which nodes must still have */
export function encodeViews(views: readonly View[], blockNumber: number): RpcCall[] {
  return views.map(({ to, contract, name, args = [] }) => {
    const data = contract.encodeFunctionData(name, args);
    return { method: "eth_call", params: [{ to, data }, quantityOf(blockNumber)] };
  });
}

/** The first value that each view returns. @param results what a node answered, in bytes @throws CHAIN_DISAGREES */
export function parseViews(views: readonly View[], results: readonly Hex[]): unknown[] {
  return views.map(({ contract, name }, i): unknown => {
    try {
      return contract.decodeFunctionResult(name, results[i] ?? "0x")[0];
    } catch (cause) {
      throw new DmtpError("CHAIN_DISAGREES", `the answer of ${name} does not decode`, { cause });
    }
  });
}

/** Both ends are inclusive. */
export function logsCall(filter: LogFilter, fromBlock: number, toBlock: number): RpcCall {
  return {
    method: "eth_getLogs",
    params: [{ ...filter, fromBlock: quantityOf(fromBlock), toBlock: quantityOf(toBlock) }],
  };
}

export function quantityOf(value: number): Hex {
  return `0x${value.toString(16)}`;
}

/** A number or an address as an indexed argument stands in a log. */
export function topicOfArgument(value: number | Address): Hex {
  const digits = typeof value === "number" ? value.toString(16) : value.slice(2);
  return `0x${digits.padStart(64, "0")}`;
}
