/** An entry of CIDStore as `cids` gives it back. */
import { keccak256 } from "ethers/crypto";

import { fromHex, type Hex } from "../../../protocol/bytes.ts";
import { digestOfCid, isCid, type Cid } from "../../../protocol/cid.ts";

export interface StoredEntry {
  /** With U+FFFD for what is not UTF-8. */
  readonly text: string;
  /** Null for a verbatim entry. */
  readonly cid: Cid | null;
  /** CIDStore's head while this is its last entry, 32 bytes. */
  readonly head: Uint8Array;
}

/** The contract allows any bytes in a verbatim entry. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** @param bytes what was stored */
export function entryOf(bytes: Hex): StoredEntry {
  const text = utf8.decode(fromHex(bytes));
  // A canonical CID whose digest is zero is kept verbatim: zero is the head of an empty log.
  const cid = isCid(text) && digestOfCid(text).some((byte) => byte !== 0) ? text : null;
  return { text, cid, head: cid === null ? fromHex(keccak256(bytes)) : digestOfCid(cid) };
}
