/** Whether the two addresses hold the two contracts: told by code, and by answers that no other contract gives. */
import type { Interface } from "ethers/abi";

import { parseAddress, type Address } from "../../../protocol/address.ts";
import type { Hex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { Deployment } from "../../../protocol/room.ts";
import { parseCount, parseData, parseQuantity } from "../rpc/parsed-answer.ts";
import { cidStoreInterface, keyRegistryInterface } from "../contracts.ts";
import { faultOf } from "../rpc/rpc-fault.ts";
import { resultOf, type RpcAnswer, type RpcCall } from "../rpc/rpc.ts";

export interface Contracts {
  readonly cidStore: Address;
  readonly keyRegistry: Address;
}

export const CHAIN_ID: RpcCall = { method: "eth_chainId", params: [] };

/** @throws CHAIN_ID_WRONG */
export function requireChainId(name: string, answer: unknown, expected?: number): number {
  const chainId = parseQuantity(answer);
  if (expected !== undefined && chainId !== expected) {
    throw new DmtpError("CHAIN_ID_WRONG", `${name} serves chain ${chainId}, expected was ${expected}`);
  }
  return chainId;
}

const NAMES = ["CIDStore", "KeyRegistry"] as const;
/** Functions without arguments; the last one is deployedAtBlock. */
const FUNCTIONS = {
  CIDStore: ["count", "head", "anchorer", "deployedAtBlock"],
  KeyRegistry: ["count", "eip712Domain", "deployedAtBlock"],
} as const;

/** The calls that {@link judgeContracts} takes the answers of. */
export function contractCalls(contracts: Contracts): RpcCall[] {
  return NAMES.flatMap((name): RpcCall[] => {
    const to = addressOf(contracts, name);
    const calls = FUNCTIONS[name].map((call) => interfaceOf(name).encodeFunctionData(call));
    return [
      { method: "eth_getCode", params: [to, "latest"] },
      ...calls.map((data) => ({ method: "eth_call", params: [{ to, data }, "latest"] })),
    ];
  });
}

/**
 * The first block that can hold an event of either contract, and both contracts' code.
 * @throws CHAIN_UNREACHABLE, CONTRACT_MISSING, CONTRACT_WRONG
 */
export function judgeContracts(
  deployment: Deployment,
  answers: readonly RpcAnswer[],
): { readonly startBlock: number; readonly codes: readonly Hex[] } {
  const { chainId } = deployment;
  const codes: Hex[] = [];
  const probes: (() => number)[] = [];
  let at = 0;
  for (const name of NAMES) {
    const address = addressOf(deployment, name);
    const code = parseData(resultOf(answers[at]));
    if (code === "0x") throw new DmtpError("CONTRACT_MISSING", `there is no ${name} at ${address} on chain ${chainId}`);
    codes.push(code);
    const own = answers.slice(at + 1, at + 1 + FUNCTIONS[name].length);
    probes.push(() => probe(deployment, name, own));
    at += 1 + own.length;
  }
  return { startBlock: Math.min(...probes.map((judge) => judge())), codes };
}

function probe(deployment: Deployment, name: (typeof NAMES)[number], answers: readonly RpcAnswer[]): number {
  const { chainId, keyRegistry } = deployment;
  try {
    const results = answers.map((answer, i): unknown => {
      const data = parseData(resultOf(answer));
      return interfaceOf(name)
        .decodeFunctionResult(FUNCTIONS[name][i] ?? "", data)
        .toArray();
    });
    const blocks = results.at(-1) as unknown[];
    if (name === "CIDStore") return parseCount(blocks[0]);
    const [, domain, , id, contract] = results[1] as unknown[];
    if (domain === "DMTP KeyRegistry" && id === BigInt(chainId) && parseAddress(contract) === keyRegistry)
      return parseCount(blocks[0]);
  } catch (cause) {
    // The node gave the code in the same breath: an error that it answers with is a revert.
    const fault = faultOf(cause);
    if (fault !== null && !(fault.fault === "answer" && /revert|opcode|invalid|selector/i.test(fault.message)))
      throw cause;
  }
  throw new DmtpError("CONTRACT_WRONG", `the contract at ${addressOf(deployment, name)} is not DMTP's ${name}`);
}

function addressOf({ cidStore, keyRegistry }: Contracts, name: (typeof NAMES)[number]): Address {
  return name === "CIDStore" ? cidStore : keyRegistry;
}

function interfaceOf(name: (typeof NAMES)[number]): Interface {
  return name === "CIDStore" ? cidStoreInterface : keyRegistryInterface;
}
