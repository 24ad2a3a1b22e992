/**
 * What a relay promises of the messages that it takes (SPEC 14): each is listed by a verified anchor in a block up to some number. One
 * signature covers a batch of messages, and each receipt has its path in the batch.
 */
import type { Address } from "./address.ts";
import { recoverSigner } from "./binding.ts";
import { toHex } from "./bytes.ts";
import { digestOfCid, type Cid } from "./cid.ts";
import type { TypedData } from "./eip712.ts";
import { DmtpError } from "./error.ts";
import { proveLeaves, rootOfPath } from "./inclusion.ts";
import type { Deployment } from "./room.ts";

/** What a relay signs: EIP-712, in the domain of its CIDStore. */
export interface AnchorPromise {
  /** The RFC 9162 root over the digests of the batch's CIDs, 32 bytes. */
  readonly batch: Uint8Array;
  /** How many messages the batch has. */
  readonly size: number;
  /** The newest block that the relay knew. */
  readonly fromBlock: number;
  /** Each message of the batch is listed by a verified anchor in a block up to this one. */
  readonly byBlock: number;
}

/** The promise, for one message. */
export interface Receipt {
  readonly cid: Cid;
  /** The message's place in the batch. */
  readonly index: number;
  readonly size: number;
  /** RFC 9162, 2.1.3: 32 bytes each, from the bottom. */
  readonly path: readonly Uint8Array[];
  readonly fromBlock: number;
  readonly byBlock: number;
  /** By the relay's key, over the {@link AnchorPromise}: 65 bytes. */
  readonly signature: Uint8Array;
}

/** Which key signs for a relay, and for promises of which blocks: said by the owner or the anchorer of CIDStore. */
export interface RelayKey {
  readonly signer: Address;
  /** The first and the last `fromBlock` of the promises that it may sign. */
  readonly fromBlock: number;
  readonly toBlock: number;
}

/**
 * `kept`: an anchor lists the message in time. `open`: there is time left. `void`: none did, and an entry of it would be rejected for its
 * keys, one of which was revoked, or taken back by a reorg. `broken`: none did, for no such reason.
 */
export type PromiseState = "open" | "kept" | "void" | "broken";

export function promiseRequest(deployment: Deployment, promise: AnchorPromise): TypedData {
  return makeRequest(deployment, "AnchorPromise", [
    ["bytes32", "batch", toHex(promise.batch)],
    ["uint256", "size", promise.size],
    ["uint256", "fromBlock", promise.fromBlock],
    ["uint256", "byBlock", promise.byBlock],
  ]);
}

export function relayKeyRequest(deployment: Deployment, { signer, fromBlock, toBlock }: RelayKey): TypedData {
  return makeRequest(deployment, "RelayKey", [
    ["address", "signer", signer],
    ["uint256", "fromBlock", fromBlock],
    ["uint256", "toBlock", toBlock],
  ]);
}

/**
 * The receipts of a batch, by one signature.
 * @param sign gives 65 bytes: the relay's signature over the promise
 */
export function makeReceipts(
  cids: readonly Cid[],
  { fromBlock, byBlock }: Pick<AnchorPromise, "fromBlock" | "byBlock">,
  sign: (promise: AnchorPromise) => Uint8Array,
): Receipt[] {
  const { root, paths } = proveLeaves(cids.map(digestOfCid));
  const size = cids.length;
  const signature = sign({ batch: root, size, fromBlock, byBlock });
  return cids.map((cid, index) => ({ cid, index, size, path: paths[index] ?? [], fromBlock, byBlock, signature }));
}

/**
 * Checks that a receipt is the promise of a relay's key for this message.
 * @throws RECEIPT_INVALID
 */
export function checkReceipt(deployment: Deployment, cid: Cid, receipt: Receipt, key: RelayKey): void {
  const { index, size, path, fromBlock, byBlock, signature } = receipt;
  const refuse = (what: string): never => {
    throw new DmtpError("RECEIPT_INVALID", `the relay's receipt ${what}`);
  };
  if (receipt.cid !== cid) refuse("is for another message");
  if (byBlock <= fromBlock) refuse("promises nothing");
  if (fromBlock < key.fromBlock || fromBlock > key.toBlock) refuse("is of a time for which its key may not sign");
  const batch = rootOfPath(digestOfCid(cid), index, size, path);
  if (batch === null) return refuse("has a path that no batch of its size has");
  if (recoverSigner(promiseRequest(deployment, { batch, size, fromBlock, byBlock }), signature) !== key.signer) {
    refuse("is not signed by the relay's key");
  }
}

/** Whether this account has said that the key may sign for the relay. */
export function isKeyAuthorized(
  deployment: Deployment,
  key: RelayKey,
  signature: Uint8Array,
  authority: Address,
): boolean {
  return recoverSigner(relayKeyRequest(deployment, key), signature) === authority;
}

/**
 * What has become of a promise.
 * @param listedAt the block of the first verified anchor that lists the message; null when there is none up to `upTo`
 * @param upTo the highest block of which all anchors and their shards are known; final, before a relay is accused
 * @param areKeysGood whether an entry of the message in block `byBlock` would not be rejected for its keys (SPEC 8.4)
 */
export function judgePromise(
  { byBlock }: Pick<Receipt, "byBlock">,
  listedAt: number | null,
  upTo: number,
  areKeysGood: boolean,
): PromiseState {
  if (listedAt !== null && listedAt <= byBlock) return "kept";
  if (upTo < byBlock) return "open";
  return areKeysGood ? "broken" : "void";
}

function makeRequest(
  { chainId, cidStore }: Deployment,
  type: string,
  members: readonly (readonly [type: string, name: string, value: string | number])[],
): TypedData {
  return {
    domain: { name: "DMTP Relay", version: "1", chainId, verifyingContract: cidStore },
    types: { [type]: members.map(([memberType, name]) => ({ name, type: memberType })) },
    message: Object.fromEntries(members.map(([, name, value]) => [name, value])),
  };
}
