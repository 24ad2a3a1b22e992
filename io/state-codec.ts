/** The nodes of a state tree (SPEC 7.4) as columns of a database: the mailbox keeps one, and the index. */
import { concat } from "../protocol/bytes.ts";
import type { SavedBranch, SavedWay } from "../protocol/state-tree.ts";

const HASH_BYTES = 32;
const WAY_BYTES = 1 + HASH_BYTES;
const IS_ROOM = 16;

/** The 32-byte hashes that lie one after the other. */
export function splitHashes(hashes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < hashes.length; at += HASH_BYTES)
    parts.push(new Uint8Array(hashes.subarray(at, at + HASH_BYTES)));
  return parts;
}

/** Each way that leads somewhere: its digit, plus 16 when one room is there, and its hash. */
export function encodeBranch(branch: SavedBranch): Uint8Array {
  return concat(
    ...branch.flatMap((way, digit) =>
      way === null ? [] : [Uint8Array.of(digit | (way.isRoom ? IS_ROOM : 0)), way.hash],
    ),
  );
}

/** Undefined for what is none by its length. */
export function decodeBranch(ways: Uint8Array): SavedBranch | undefined {
  if (ways.length % WAY_BYTES !== 0) return undefined;
  const branch: (SavedWay | null)[] = Array.from({ length: IS_ROOM }, () => null);
  // One plain copy of the Buffer, and views of it.
  const bytes = new Uint8Array(ways);
  for (let at = 0; at < bytes.length; at += WAY_BYTES) {
    const head = bytes[at] ?? 0;
    const hash = bytes.subarray(at + 1, at + WAY_BYTES);
    branch[head % IS_ROOM] = { hash, isRoom: head >= IS_ROOM };
  }
  return branch;
}
