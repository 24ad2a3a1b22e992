/** What the two contracts logged, as every reader of a chain hands it to the replay (SPEC 8). */
import type { Address } from "./address.ts";
import { equal, utf8, type Hex } from "./bytes.ts";
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
  /** The text as `cids(index)` gives it back, with U+FFFD for what is not UTF-8. */
  readonly text: string;
  /** What was stored, where it is not UTF-8, so that `text` is not all of it. */
  readonly bytes?: Uint8Array;
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

/** How many events of each contract there are; also the index that its next one has. */
export interface EventCounts {
  readonly anchors: number;
  readonly keys: number;
}

export type Contract = keyof EventCounts;

/** Whose event it is: of CIDStore, or of KeyRegistry. */
export function contractOf(event: Pick<ChainEvent, "kind">): Contract {
  return event.kind === "anchor" ? "anchors" : "keys";
}

const utf8Decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** What a verbatim entry of CIDStore says: the contract takes any bytes. */
export function decodeEntryText(bytes: Uint8Array): Pick<AnchorEvent, "text" | "bytes"> {
  const text = utf8Decoder.decode(bytes);
  return equal(utf8(text), bytes) ? { text } : { text, bytes: bytes.slice() };
}

/** The bytes that {@link decodeEntryText} was given. */
export function encodeEntryText({ text, bytes }: Pick<AnchorEvent, "text" | "bytes">): Uint8Array {
  return bytes ?? utf8(text);
}

/** Negative when `a` stands before `b` on the chain. */
export function comparePositions(a: Position, b: Position): number {
  return a.blockNumber - b.blockNumber || a.logIndex - b.logIndex;
}
