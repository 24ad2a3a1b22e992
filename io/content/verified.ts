import { verifyBlock, type Cid } from "../../protocol/cid.ts";

/** Bytes that are not what was asked for, or too many, are as good as none, whatever the store: they would be asked for for ever. */
export function verified(cid: Cid, bytes: Uint8Array | null): Uint8Array | null {
  try {
    return bytes === null ? null : verifyBlock(cid, bytes);
  } catch {
    return null;
  }
}
