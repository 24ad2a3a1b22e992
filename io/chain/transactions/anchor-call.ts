/** The call that anchors a digest, what its refusal means, and what its receipt proves. */
import { parseAddress, type Address } from "../../../protocol/address.ts";
import { toHex, type Hex } from "../../../protocol/bytes.ts";
import type { Cid } from "../../../protocol/cid.ts";
import type { Deployment } from "../../../protocol/room.ts";
import { cidStoreInterface } from "../contracts.ts";
import { decodeLog } from "../events/event-decoder.ts";
import type { ChainClient } from "../client.ts";
import type { MinedTransaction } from "./receipt.ts";
import { faultOf } from "../rpc/rpc-fault.ts";
import type { ContractCall } from "./contract-call.ts";
import { transactionError } from "./transaction-error.ts";

/**
 * Appends a digest to CIDStore if its head is still `prev`.
 * @param prev 32 bytes, zero for an empty log
 * @param digest 32 bytes
 */
export function anchorCall({ chainId, cidStore }: Deployment, prev: Uint8Array, digest: Uint8Array): ContractCall {
  return {
    chainId,
    to: cidStore,
    data: cidStoreInterface.encodeFunctionData("anchor", [toHex(prev), toHex(digest)]) as Hex,
    judge: (error) => {
      const refused = transactionError(cidStoreInterface, faultOf(error) ?? error);
      return refused.code === "HEAD_MOVED" ? "overtaken" : refused;
    },
  };
}

/** Under which index a transaction anchored this CID; null when it did not. @throws CHAIN_DISAGREES */
export function anchoredIndex(deployment: Deployment, { logs }: MinedTransaction, cid: Cid): number | null {
  for (const log of logs) {
    if (log.address !== deployment.cidStore) continue;
    const event = decodeLog(deployment, log);
    if (event.kind === "anchor" && event.cid === cid) return event.index;
  }
  return null;
}

/** The account that may anchor. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
export function readAnchorer(reader: ChainClient, blockNumber: number): Promise<Address> {
  return readAddress(reader, "anchorer", blockNumber);
}

/** Who owns CIDStore. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
export function readOwner(reader: ChainClient, blockNumber: number): Promise<Address> {
  return readAddress(reader, "owner", blockNumber);
}

async function readAddress(reader: ChainClient, name: "anchorer" | "owner", blockNumber: number): Promise<Address> {
  const view = { to: reader.deployment.cidStore, contract: cidStoreInterface, name };
  const [address] = await reader.views([view], blockNumber);
  return parseAddress(address);
}
