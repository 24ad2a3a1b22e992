/** An entry of CIDStore as `cids` gives it back. */
import { keccak256 } from "ethers/crypto";

import { fromHex, toHex, type Hex } from "../../../protocol/bytes.ts";
import { digestOfCid, isCid, type Cid } from "../../../protocol/cid.ts";
import type { AnchorEvent } from "../../../protocol/event.ts";

export interface StoredEntry {
  /** With U+FFFD for what is not UTF-8. */
  readonly text: string;
  /** Null for a verbatim entry. */
  readonly cid: Cid | null;
  /** CIDStore's head while this is its last entry, 32 bytes. */
  readonly head: Uint8Array;
}

/** CIDStore's head before its first entry. */
export const EMPTY_HEAD: Hex = `0x${"0".repeat(64)}`;

/**
 * CIDStore's head while this is its last entry; that before the first for null.
 * @returns null for a verbatim entry that is not UTF-8, whose bytes an event does not keep
 */
export function headAfter(anchor: Pick<AnchorEvent, "cid" | "text"> | null): Hex | null {
  if (anchor === null) return EMPTY_HEAD;
  if (anchor.cid !== null) return toHex(digestOfCid(anchor.cid));
  return anchor.text.includes("\ufffd") ? null : (keccak256(utf8Encoder.encode(anchor.text)) as Hex);
}

/** Whether CIDStore's head can be this while that is its last entry. */
export function isHeadAfter(anchor: Pick<AnchorEvent, "cid" | "text"> | null, head: Hex): boolean {
  return (headAfter(anchor) ?? head) === head;
}

/** The contract allows any bytes in a verbatim entry. */
const utf8Encoder = new TextEncoder();
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** @param bytes what was stored */
export function entryOf(bytes: Hex): StoredEntry {
  const text = utf8.decode(fromHex(bytes));
  // A canonical CID whose digest is zero is kept verbatim: zero is the head of an empty log.
  const cid = isCid(text) && digestOfCid(text).some((byte) => byte !== 0) ? text : null;
  return { text, cid, head: cid === null ? fromHex(keccak256(bytes)) : digestOfCid(cid) };
}
