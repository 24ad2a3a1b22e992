/** The Merkle tree of RFC 9162 (2.1.1), kept as a compact range: a room's root grows by one leaf in O(log n). */
import { primitives } from "./crypto/provider.ts";

const HASH_BYTES = 32;
/** One for all nodes: above 64 bytes a new array each time is memory of its own, which lives until the next collection. */
const nodeInput = new Uint8Array(1 + 2 * HASH_BYTES);
nodeInput[0] = 1;

/** The roots of the perfect subtrees of a tree, largest first: one for each bit set in `size`. Never changed in place. */
export interface CompactRange {
  readonly size: number;
  readonly hashes: readonly Uint8Array[];
}

export const EMPTY_RANGE: CompactRange = { size: 0, hashes: [] };

/** The hashes that lie one after the other. */
export function splitHashes(hashes: Uint8Array): Uint8Array[] {
  return Array.from({ length: hashes.length / HASH_BYTES }, (_, i) =>
    hashes.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  );
}

/** Whether there are as many hashes as a tree of that size has perfect subtrees. */
export function isWhole({ size, hashes }: CompactRange): boolean {
  let subtrees = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) subtrees += rest % 2;
  return hashes.length === subtrees && hashes.every((hash) => hash.length === HASH_BYTES);
}

/** SHA-256(0x00 ‖ data) */
export function hashLeaf(data: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + data.length);
  input.set(data, 1);
  return primitives.sha256(input);
}

/** SHA-256(0x01 ‖ left ‖ right) */
export function hashNode(left: Uint8Array, right: Uint8Array): Uint8Array {
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + HASH_BYTES);
  return primitives.sha256(nodeInput);
}

/** The range with these leaves (data, not yet hashed) behind it. */
export function append(range: CompactRange, leaves: Iterable<Uint8Array>): CompactRange {
  let { size } = range;
  const hashes = [...range.hashes];
  for (const data of leaves) {
    let hash = hashLeaf(data);
    // A subtree is full as often as `size` has trailing ones, and joins its left neighbour of the same size.
    for (let rest = size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      const left = hashes.pop();
      if (left === undefined) throw new RangeError("a compact range with too few hashes for its size");
      hash = hashNode(left, hash);
    }
    hashes.push(hash);
    size += 1;
  }
  return { size, hashes };
}

/** Leaves of one step. */
const STEP_LEAVES = 1_024;

/**
 * As {@link append}, for many short lists of leaves and few long ones alike: yields after as many leaves as one step takes, counted over
 * all lists that share `progress`.
 */
export function* appendSteps(
  range: CompactRange,
  leaves: readonly Uint8Array[],
  progress: { hashed: number },
): Generator<undefined, CompactRange> {
  let appended = range;
  for (let start = 0; start < leaves.length; start += STEP_LEAVES) {
    const part = leaves.slice(start, start + STEP_LEAVES);
    appended = append(appended, part);
    progress.hashed += part.length;
    if (progress.hashed < STEP_LEAVES) continue;
    progress.hashed = 0;
    yield;
  }
  return appended;
}

/** MTH: the root, 32 bytes; SHA-256 of nothing for an empty tree. */
export function rootOf(range: CompactRange): Uint8Array {
  let root: Uint8Array | undefined;
  for (const hash of range.hashes.toReversed()) root = root === undefined ? hash : hashNode(hash, root);
  return root ?? primitives.sha256(new Uint8Array(0));
}
