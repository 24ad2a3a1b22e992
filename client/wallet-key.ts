/** A wallet's key or tombstone as the indexer tells it, as an event of the registry: what a replay takes. */
import type { Address } from "../protocol/address.ts";
import { fromHex } from "../protocol/bytes.ts";
import { digestOfCid } from "../protocol/cid.ts";
import type { KeyEvent, RevocationEvent } from "../protocol/event.ts";
import type { Binding } from "../protocol/keys.ts";
import type { KeyAnswer } from "./api/chain.ts";
import type { VerdictAnswer } from "./api/values.ts";

export interface WalletKey {
  readonly event: KeyEvent | RevocationEvent;
  /** Null for a tombstone, as is the verdict. */
  readonly binding: Binding | null;
  readonly verdict: VerdictAnswer | null;
  readonly final: boolean;
}

/** @param wallet whose key it is */
export function toWalletKey(key: KeyAnswer, wallet: Address): WalletKey {
  const { index, version, blockNumber, blockHash, transactionHash, logIndex, final } = key;
  const event = { index, wallet, version, blockNumber, blockHash, transactionHash, logIndex };
  if (key.kind === "revocation") return { event: { kind: key.kind, ...event }, binding: null, verdict: null, final };
  return {
    event: {
      kind: key.kind,
      ...event,
      encryptionKey: fromHex(key.encryptionKey),
      signingKey: fromHex(key.signingKey),
      document: digestOfCid(key.document),
      deadline: BigInt(key.deadline),
      signature: fromHex(key.signature),
      hasCode: key.hasCode,
    },
    binding: key.binding,
    verdict: key.verdict,
    final,
  };
}
