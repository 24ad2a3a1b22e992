/** Inclusion proofs in the Merkle tree of RFC 9162 (2.1.3): that one leaf is among those under a root. */
import { equal } from "./bytes.ts";
import { hashLeaf, hashNode } from "./merkle.ts";

export interface ProvenLeaves {
  /** 32 bytes */
  readonly root: Uint8Array;
  /** For each leaf, the hashes beside its way up, from the bottom. */
  readonly paths: readonly (readonly Uint8Array[])[];
}

/** The root over these leaves (data, not yet hashed), and the path of each. At least one leaf. */
export function proveLeaves(leaves: readonly Uint8Array[]): ProvenLeaves {
  if (leaves.length === 0) throw new RangeError("nothing to prove");
  const hashes = leaves.map(hashLeaf);
  const paths: Uint8Array[][] = hashes.map(() => []);
  const join = (from: number, to: number): Uint8Array => {
    const [only] = hashes.slice(from, to);
    if (to - from === 1 && only !== undefined) return only;
    const middle = from + splitBelow(to - from);
    const [left, right] = [join(from, middle), join(middle, to)];
    for (let i = from; i < to; i++) paths[i]?.push(i < middle ? right : left);
    return hashNode(left, right);
  };
  return { root: join(0, hashes.length), paths };
}

/**
 * The root of a tree that has this leaf (data) at this place, by its path; null when a tree of this size has no such path
 * (RFC 9162, 2.1.3.2).
 */
export function rootOfPath(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Uint8Array | null {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return null;
  let hash = hashLeaf(leaf);
  let [place, last] = [index, size - 1];
  for (const sibling of path) {
    if (last === 0 || sibling.length !== 32) return null;
    if (place % 2 === 1 || place === last) {
      hash = hashNode(sibling, hash);
      // The last leaf of a level without a neighbour is passed up as it is.
      while (place % 2 === 0 && place !== 0) [place, last] = [place / 2, Math.floor(last / 2)];
    } else {
      hash = hashNode(hash, sibling);
    }
    [place, last] = [Math.floor(place / 2), Math.floor(last / 2)];
  }
  return last === 0 ? hash : null;
}

/** Whether the leaf (data) is at this place under the root. */
export function isIncluded(
  root: Uint8Array,
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): boolean {
  const computed = rootOfPath(leaf, index, size, path);
  return computed !== null && equal(computed, root);
}

/** The largest power of two below a size of at least two. */
function splitBelow(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}
