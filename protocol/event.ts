/** What the two contracts logged, as every reader of a chain hands it to the replay (SPEC 8). */
import type { Address } from "./address.ts";
import type { Hex } from "./bytes.ts";
import type { Cid } from "./cid.ts";
import type { PublicKeys } from "./identity.ts";

/** Where a log stands on the chain. Events are ordered by block, then by log. */
export interface Position {
  readonly blockNumber: number;
  readonly logIndex: number;
}

/** For people and proofs; no verdict depends on it. */
export interface Provenance {
  readonly blockHash: Hex;
  readonly transactionHash: Hex;
}

/** CIDStore: an entry. `cid` is null for one that was stored verbatim, whatever its text (SPEC 8.1). */
export interface AnchorEvent extends Position, Provenance {
  readonly kind: "anchor";
  readonly index: number;
  readonly cid: Cid | null;
  /** The text as `cids(index)` gives it back. */
  readonly text: string;
}

/** KeyRegistry: a key version. */
export interface KeyEvent extends Position, Provenance, PublicKeys {
  readonly kind: "key";
  readonly index: number;
  readonly wallet: Address;
  readonly version: number;
  /** SHA-256 digest of the key document, 32 bytes. */
  readonly document: Uint8Array;
  /** Unix seconds, up to 2^256 − 1; what is not a safe integer can't have been signed by DMTP software. */
  readonly deadline: bigint;
  /** The wallet's EIP-712 signature over the binding; empty only for a wallet with code. */
  readonly signature: Uint8Array;
  /** Whether the wallet was a contract (or carried EIP-7702 code) when it registered. */
  readonly hasCode: boolean;
}

/** KeyRegistry: a tombstone. Every earlier version of the wallet is revoked from here on. */
export interface RevocationEvent extends Position, Provenance {
  readonly kind: "revocation";
  readonly index: number;
  readonly wallet: Address;
  readonly version: number;
}

export type RegistryEvent = KeyEvent | RevocationEvent;
export type ChainEvent = AnchorEvent | RegistryEvent;

/** Negative when `a` stands before `b` on the chain. */
export function comparePositions(a: Position, b: Position): number {
  return a.blockNumber - b.blockNumber || a.logIndex - b.logIndex;
}
