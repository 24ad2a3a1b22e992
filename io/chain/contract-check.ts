/** Whether the two addresses hold the two contracts: told by code, and by answers that no other contract gives. */
import { parseAddress, type Address } from "../../protocol/address.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Deployment } from "../../protocol/room.ts";
import { parseCount, parseData, parseQuantity } from "./answer.ts";
import { cidStoreInterface, keyRegistryInterface } from "./contracts.ts";
import { faultOf } from "./rpc-fault.ts";
import type { Rpc, RpcCall } from "./rpc.ts";

export interface Contracts {
  readonly cidStore: Address;
  readonly keyRegistry: Address;
}

/** @throws CHAIN_UNREACHABLE, CHAIN_ID_WRONG */
export async function readChainId(rpc: Rpc, expected?: number): Promise<number> {
  const chainId = parseQuantity(await rpc.request({ method: "eth_chainId", params: [] }));
  if (expected !== undefined && chainId !== expected) {
    throw new DmtpError("CHAIN_ID_WRONG", `${rpc.name} serves chain ${chainId}, expected was ${expected}`);
  }
  return chainId;
}

/**
 * The first block that can hold an event of either contract.
 * @throws CHAIN_UNREACHABLE, CONTRACT_MISSING, CONTRACT_WRONG
 */
export async function checkContracts(rpc: Rpc, { chainId, cidStore, keyRegistry }: Deployment): Promise<number> {
  const codes = await rpc.batch(
    [cidStore, keyRegistry].map((address) => ({ method: "eth_getCode", params: [address, "latest"] })),
  );
  for (const [name, address, code] of [
    ["CIDStore", cidStore, codes[0]],
    ["KeyRegistry", keyRegistry, codes[1]],
  ] as const) {
    if (parseData(code) === "0x")
      throw new DmtpError("CONTRACT_MISSING", `there is no ${name} at ${address} on chain ${chainId}`);
  }
  const blocks = [
    await probe(rpc, "CIDStore", cidStore, ["count", "head", "anchorer", "deployedAtBlock"]),
    await probe(rpc, "KeyRegistry", keyRegistry, ["count", "eip712Domain", "deployedAtBlock"], (domain) => {
      const [, name, , id, contract] = domain as unknown[];
      return name === "DMTP KeyRegistry" && id === BigInt(chainId) && parseAddress(contract) === keyRegistry;
    }),
  ];
  return Math.min(...blocks);
}

/** Calls functions without arguments; the last one is deployedAtBlock, and `isRight` judges the second's answer. */
async function probe(
  rpc: Rpc,
  name: "CIDStore" | "KeyRegistry",
  address: Address,
  functions: readonly string[],
  isRight: (answer: unknown) => boolean = () => true,
): Promise<number> {
  const contract = name === "CIDStore" ? cidStoreInterface : keyRegistryInterface;
  const calls = functions.map((call): RpcCall => {
    return { method: "eth_call", params: [{ to: address, data: contract.encodeFunctionData(call) }, "latest"] };
  });
  try {
    const results = (await rpc.batch(calls)).map((result, i): unknown =>
      contract.decodeFunctionResult(functions[i] ?? "", parseData(result)).toArray(),
    );
    const blocks = results.at(-1) as unknown[];
    if (isRight(results[1])) return parseCount(blocks[0]);
  } catch (cause) {
    // The node was there a moment ago and gave the code: an error that it answers with now is a revert.
    const fault = faultOf(cause);
    if (fault !== null && !(fault.fault === "answer" && /revert|opcode|invalid|selector/i.test(fault.message)))
      throw cause;
  }
  throw new DmtpError("CONTRACT_WRONG", `the contract at ${address} is not DMTP's ${name}`);
}
