/** The nodes of a state tree (SPEC 7.4) as values of a database: the mailbox keeps them, and the index. */
import { crc32 } from "node:zlib";

import { concat, equal, fromHex, toBinaryString, toHex, uint64, writeBinaryString } from "../protocol/bytes.ts";
import { splitHashes } from "../protocol/merkle.ts";
import type { RoomId } from "../protocol/room.ts";
import type { NodeLink, NodeRow } from "../protocol/state-nodes.ts";

const HASH_BYTES = 32;
const LINK_BYTES = 8 + HASH_BYTES;
const ROOM = 0;
const BRANCH = 1;
const BRANCH_BYTES = 2 + 2 * LINK_BYTES;
/** Without the hashes of its range. */
const CHECK_BYTES = 4;
const ROOM_BYTES = 1 + HASH_BYTES + 8 + 8;

/** `1 ‖ uint8 bit ‖ link left ‖ link right`, each link `uint64 ref ‖ hash`; or `0 ‖ room id ‖ uint64 size ‖ uint64 last index ‖ hashes`. */
export function encodeNode(row: NodeRow): Uint8Array {
  if ("bit" in row) {
    const bytes = new Uint8Array(BRANCH_BYTES);
    bytes[0] = BRANCH;
    bytes[1] = row.bit;
    writeLink(row.left, bytes, 2);
    writeLink(row.right, bytes, 2 + LINK_BYTES);
    return bytes;
  }
  const { id, range, lastIndex } = row;
  const bytes = new Uint8Array(ROOM_BYTES + HASH_BYTES * range.hashes.length);
  bytes[0] = ROOM;
  bytes.set(fromHex(id, HASH_BYTES), 1);
  bytes.set(uint64(range.size), 1 + HASH_BYTES);
  bytes.set(uint64(lastIndex), 1 + HASH_BYTES + 8);
  range.hashes.forEach((hash, i) => {
    bytes.set(hash, ROOM_BYTES + i * HASH_BYTES);
  });
  return bytes;
}

/** Undefined for what no node is written as. */
export function decodeNode(bytes: Uint8Array): NodeRow | undefined {
  const [kind, bit] = bytes;
  if (kind === BRANCH && bit !== undefined && bytes.length === BRANCH_BYTES) {
    const [left, right] = [readLink(bytes, 2), readLink(bytes, 2 + LINK_BYTES)];
    return left && right && { bit, left, right };
  }
  if (kind !== ROOM || bytes.length < ROOM_BYTES || (bytes.length - ROOM_BYTES) % HASH_BYTES !== 0) return undefined;
  const size = readUint64(bytes, 1 + HASH_BYTES);
  const lastIndex = readUint64(bytes, 1 + HASH_BYTES + 8);
  if (size === undefined || lastIndex === undefined) return undefined;
  return {
    id: toHex(bytes.subarray(1, 1 + HASH_BYTES)) as RoomId,
    // Plain arrays: the database gives a Buffer.
    range: { size, hashes: splitHashes(new Uint8Array(bytes.subarray(ROOM_BYTES))) },
    lastIndex,
  };
}

/**
 * As {@link encodeNode}; behind a room, four bytes of CRC-32 over it. A node's hash proves all of it but a room's last anchor, of which
 * the heads of the next anchor are made: a store without a checksum of its own would have that anchor rejected for a wrong bit.
 */
export function encodeCheckedNode(row: NodeRow): Uint8Array {
  const bytes = encodeNode(row);
  return "bit" in row ? bytes : concat(bytes, checkOf(bytes));
}

/** Undefined for what {@link encodeCheckedNode} has not written. */
export function decodeCheckedNode(bytes: Uint8Array): NodeRow | undefined {
  if (bytes[0] !== ROOM) return decodeNode(bytes);
  if (bytes.length < CHECK_BYTES) return undefined;
  const node = bytes.subarray(0, -CHECK_BYTES);
  const check = bytes.subarray(-CHECK_BYTES);
  return equal(check, checkOf(node)) ? decodeNode(node) : undefined;
}

function checkOf(node: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(CHECK_BYTES);
  new DataView(bytes.buffer).setUint32(0, crc32(node));
  return bytes;
}

function writeLink({ ref, hash }: NodeLink, target: Uint8Array, offset: number): void {
  target.set(uint64(ref), offset);
  writeBinaryString(hash, target, offset + 8);
}

function readLink(bytes: Uint8Array, offset: number): NodeLink | undefined {
  const ref = readUint64(bytes, offset);
  return ref === undefined ? undefined : { ref, hash: toBinaryString(bytes.subarray(offset + 8, offset + LINK_BYTES)) };
}

/** Undefined above what is a safe integer. */
function readUint64(bytes: Uint8Array, offset: number): number | undefined {
  let value = 0;
  for (let i = 0; i < 8; i++) value = value * 256 + (bytes[offset + i] ?? 0);
  return Number.isSafeInteger(value) ? value : undefined;
}
