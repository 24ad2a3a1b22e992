/** Who signs for a wallet, who may write to CIDStore, and what they have to pay with. */
import type { Signer } from "ethers";

import { parseAddress, ZERO_ADDRESS, type Address } from "../../../protocol/address.ts";
import type { Wallet } from "../../../protocol/binding.ts";
import type { Hex } from "../../../protocol/bytes.ts";
import { cidStoreInterface } from "../contracts.ts";
import type { ChainClient } from "../client.ts";

/** Who may write to CIDStore, with what to pay, and what was written last. */
export interface ChainStatus {
  readonly owner: Address;
  /** Whom the owner has offered CIDStore to, if that account has not accepted yet. */
  readonly pendingOwner: Address | null;
  readonly anchorer: Address;
  readonly ownerBalance: bigint;
  readonly anchorerBalance: bigint;
  /** Entries in CIDStore. */
  readonly anchors: number;
  /** CIDStore's head: 32 bytes, zero when it is empty. */
  readonly head: Hex;
  /** `timestamp` in Unix seconds. */
  readonly lastAnchor: {
    readonly index: number;
    readonly text: string;
    readonly blockNumber: number;
    readonly transactionHash: Hex;
    readonly timestamp: number;
  } | null;
}

/** The wallet of an ethers signer, as protocol/ signs with it. */
export async function walletOf(signer: Signer): Promise<Wallet> {
  return {
    address: parseAddress(await signer.getAddress()),
    signTypedData: ({ domain, types, message }) => signer.signTypedData(domain, types, message),
  };
}

/** @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
export async function readStatus(reader: ChainClient): Promise<ChainStatus> {
  const { block } = await reader.head();
  const store = reader.deployment.cidStore;
  const names = ["owner", "pendingOwner", "anchorer", "count", "head"];
  const [ownerText, pendingText, anchorerText, count, head] = await reader.views(
    names.map((name) => ({ to: store, contract: cidStoreInterface, name })),
    block.number,
  );
  const owner = parseAddress(ownerText);
  const pending = parseAddress(pendingText);
  const pendingOwner = pending === ZERO_ADDRESS || pending === owner ? null : pending;
  const anchorer = parseAddress(anchorerText);
  const [ownerBalance = 0n, anchorerBalance = 0n] = await reader.balances([owner, anchorer], block.number);
  const anchors = Number(count);
  const last = anchors === 0 ? null : await reader.findEntry(anchors - 1, block.number);
  const lastBlock = last === null ? null : await reader.block(last.blockNumber);
  const lastAnchor =
    last === null || lastBlock === null
      ? null
      : {
          index: last.index,
          text: last.text,
          blockNumber: last.blockNumber,
          transactionHash: last.transactionHash,
          timestamp: lastBlock.timestamp,
        };
  return {
    owner,
    pendingOwner,
    anchorer,
    ownerBalance,
    anchorerBalance,
    anchors,
    head: String(head) as Hex,
    lastAnchor,
  };
}
