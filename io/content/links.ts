/** What a block links to, found quickly where there is nothing. */
import { Link, type CborValue } from "../../protocol/cbor.ts";
import { decode } from "../../protocol/cbor-decoder.ts";
import { cidOfBytes, type Cid } from "../../protocol/cid.ts";

/** How every link to a DMTP block begins: tag 42, 37 bytes, the identity prefix, CIDv1, dag-cbor, SHA-256 of 32 bytes (SPEC 2). */
export const LINK_HEAD = Buffer.from("d82a58250001711220", "hex");
const DIGEST_BYTES = 32;
/** From a manifest to its shards and heads, from a shard to its messages: those link to nothing (SPEC 7). */
export const MAX_LINK_DEPTH = 2;

/** The digests behind whatever looks like a link, in a text or in bytes too: all of a block's links, if not only these. */
export function* linkedDigests(block: Uint8Array): Generator<Uint8Array> {
  const bytes = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
  for (let at = bytes.indexOf(LINK_HEAD); at !== -1; at = bytes.indexOf(LINK_HEAD, at + 1)) {
    const start = at + LINK_HEAD.length;
    if (start + DIGEST_BYTES <= block.length) yield block.subarray(start, start + DIGEST_BYTES);
  }
}

/** The DMTP blocks that a block links to, in their order; none for bytes that are no block. */
export function linksOf(block: Uint8Array): Cid[] {
  const cids: Cid[] = [];
  // Most blocks are messages: to look for the bytes takes a hundredth of decoding them.
  if (!Buffer.from(block.buffer, block.byteOffset, block.byteLength).includes(LINK_HEAD)) return cids;
  let stack: CborValue[];
  try {
    stack = [decode(block)];
  } catch {
    return cids;
  }
  for (let value = stack.pop(); value !== undefined; value = stack.pop()) {
    if (value instanceof Link) {
      const cid = cidOfBytes(value.bytes);
      if (cid !== null) cids.push(cid);
    } else if (Array.isArray(value)) {
      for (const item of (value as readonly CborValue[]).toReversed()) stack.push(item);
    } else if (value instanceof Map) {
      for (const item of [...(value as ReadonlyMap<string, CborValue>).values()].toReversed()) stack.push(item);
    }
  }
  return cids;
}
