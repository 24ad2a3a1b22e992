/**
 * The state tree (SPEC 7.4): a binary tree over the keys of rooms, without nodes that have one side only. So a room costs one leaf and
 * one branch, whatever its id is. Nodes are never changed: versions of the tree share all that they have in common. A node is in memory,
 * or was saved and is read when a path leads to it (state-nodes.ts).
 *
 * Hashes and keys are binary strings of 32 characters, since a state holds very many of them (bytes.ts).
 */
import { concat, fromBinaryString, fromHex, toBinaryString, uint64, writeBinaryString } from "./bytes.ts";
import { primitives } from "./crypto/provider.ts";
import { label } from "./label.ts";
import { rootOf, splitHashes, type CompactRange } from "./merkle.ts";
import type { RoomId } from "./room.ts";

export interface RoomState {
  readonly id: RoomId;
  /** The room's messages so far, as a compact range over their binary CIDs. */
  readonly range: CompactRange;
  /** The anchor that touched the room last. */
  readonly lastIndex: number;
}

/** As it is in the tree: with the RFC 9162 root over its messages, 32 bytes. */
export interface RootedRoom extends RoomState {
  readonly root: Uint8Array;
}

export type Node = Leaf | Branch;
/** Null for no rooms. */
export type Tree = Node | Saved | null;

/** A room. */
export class Leaf {
  readonly id: RoomId;
  readonly key: string;
  readonly hash: string;
  readonly lastIndex: number;
  /** Messages. */
  readonly size: number;
  /** The hashes of the room's compact range, one after the other. */
  private readonly peaks: string;
  /** RFC 9162 root over the room's messages, as a binary string. */
  readonly root: string;

  constructor({ id, range, lastIndex }: RoomState, key = deriveKey(id)) {
    this.id = id;
    this.key = key;
    this.lastIndex = lastIndex;
    this.size = range.size;
    this.peaks = toBinaryString(concat(...range.hashes));
    this.root = range.hashes.length === 1 ? this.peaks : toBinaryString(rootOf(range));
    leafInput.set(fromHex(id, HASH_BYTES), 1);
    leafInput.set(uint64(range.size), 1 + HASH_BYTES);
    writeBinaryString(this.root, leafInput, 1 + HASH_BYTES + 8);
    this.hash = hash(leafInput);
  }

  get room(): RootedRoom {
    const { id, size, peaks, lastIndex, root } = this;
    return {
      id,
      range: { size, hashes: splitHashes(fromBinaryString(peaks)) },
      lastIndex,
      root: fromBinaryString(root),
    };
  }
}

/** The rooms whose keys have the same bits before `bit`, and differ in it: 0 is to the left, 1 to the right. */
export class Branch {
  readonly bit: number;
  readonly left: Node | Saved;
  readonly right: Node | Saved;
  readonly hash: string;

  private constructor(bit: number, left: Node | Saved, right: Node | Saved, hash: string) {
    this.bit = bit;
    this.left = left;
    this.right = right;
    this.hash = hash;
  }

  static join(bit: number, left: Node | Saved, right: Node | Saved): Branch {
    branchInput[1] = bit;
    writeBinaryString(left.hash, branchInput, 2);
    writeBinaryString(right.hash, branchInput, 2 + HASH_BYTES);
    return new Branch(bit, left, right, hash(branchInput));
  }

  /** The same branch over nodes with the same hashes, saved ones for instance. */
  over(left: Node | Saved, right: Node | Saved): Branch {
    return new Branch(this.bit, left, right, this.hash);
  }
}

/** Reads saved nodes. A node that it returns has the hash that was asked for. */
export interface NodeReader {
  read(saved: Saved): Node;
}

/** A node that was saved, by its reference. */
export class Saved {
  readonly reader: NodeReader;
  readonly ref: number;
  readonly hash: string;

  constructor(reader: NodeReader, ref: number, hash: string) {
    this.reader = reader;
    this.ref = ref;
    this.hash = hash;
  }
}

const HASH_BYTES = 32;
/** One more than the last bit of a key: where a leaf would branch. */
export const KEY_BITS = 256;
const KEY_LABEL = label("state key");
/** One of each for all hashes, as a new one each time would be memory of its own. */
const keyInput = new Uint8Array(KEY_LABEL.length + HASH_BYTES);
keyInput.set(KEY_LABEL);
/** `0 ‖ room id ‖ uint64 size ‖ room root` */
const leafInput = new Uint8Array(1 + HASH_BYTES + 8 + HASH_BYTES);
/** `1 ‖ uint8 bit ‖ left ‖ right` */
const branchInput = new Uint8Array(2 + 2 * HASH_BYTES);
branchInput[0] = 1;
/** Rooms whose keys are remembered: an anchor asks for that of each of its rooms several times, and the next one often has the same. */
const MAX_KEYS = 4_096;
const keys = new Map<RoomId, string>();

/** Where a room stands in the tree: SHA-256(label "state key" ‖ room id). */
export function deriveKey(id: RoomId): string {
  let key = keys.get(id);
  if (key === undefined) {
    keyInput.set(fromHex(id, HASH_BYTES), KEY_LABEL.length);
    key = hash(keyInput);
    if (keys.size >= MAX_KEYS) keys.clear();
    keys.set(id, key);
  }
  return key;
}

/** The node, read if it has to be. */
export function resolve(tree: Node | Saved): Node {
  return tree instanceof Saved ? tree.reader.read(tree) : tree;
}

/** The leaf that the bits of a key lead to, whichever room's it is; null when there are no rooms. */
export function findLeaf(tree: Tree, key: string): Leaf | null {
  if (tree === null) return null;
  let node = resolve(tree);
  while (node instanceof Branch) node = resolve(readBit(key, node.bit) === 0 ? node.left : node.right);
  return node;
}

/** A leaf that comes into a tree. */
interface Arrival {
  readonly leaf: Leaf;
  /** The first bit in which its key differs from all that are there; {@link KEY_BITS} when it takes a leaf's place. */
  readonly divergesAt: number;
}

/** The tree with these leaves (by ascending key, each room once) put in or replaced: M of them into N make O(M log N) hashes. */
export function insert(tree: Tree, leaves: readonly Leaf[]): Tree {
  if (leaves.length === 0) return tree;
  const arrivals = leaves.map((leaf): Arrival => {
    const met = findLeaf(tree, leaf.key);
    return { leaf, divergesAt: met === null ? 0 : findDifference(met.key, leaf.key) };
  });
  return tree === null ? build(arrivals) : put(tree, arrivals);
}

/** @param arrivals all of which agree with what is below `tree` up to where they diverge */
function put(tree: Node | Saved, arrivals: readonly Arrival[]): Node | Saved {
  const [first] = arrivals;
  if (first === undefined) return tree;
  const node = resolve(tree);
  const bit = node instanceof Branch ? node.bit : KEY_BITS;
  const earliest = arrivals.reduce((least, arrival) => (arrival.divergesAt < least.divergesAt ? arrival : least));
  if (earliest.divergesAt < bit) {
    const [left, right] = split(arrivals, earliest.divergesAt);
    // The earliest to diverge is on the other side than all that was there.
    return readBit(earliest.leaf.key, earliest.divergesAt) === 0
      ? Branch.join(earliest.divergesAt, build(left), put(tree, right))
      : Branch.join(earliest.divergesAt, put(tree, left), build(right));
  }
  if (node instanceof Leaf) return first.leaf;
  const [left, right] = split(arrivals, bit);
  return Branch.join(bit, put(node.left, left), put(node.right, right));
}

/** @param arrivals at least one */
function build(arrivals: readonly Arrival[]): Node {
  const [first, last] = [arrivals[0], arrivals.at(-1)];
  if (first === undefined || last === undefined) throw new RangeError("a tree of no leaves");
  if (first === last) return first.leaf;
  const bit = findDifference(first.leaf.key, last.leaf.key);
  const [left, right] = split(arrivals, bit);
  return Branch.join(bit, build(left), build(right));
}

/** @param arrivals by ascending key, with the same bits before this one */
function split(arrivals: readonly Arrival[], bit: number): [left: readonly Arrival[], right: readonly Arrival[]] {
  let [low, high] = [0, arrivals.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (readBit(arrivals[middle]?.leaf.key ?? "", bit) === 0) low = middle + 1;
    else high = middle;
  }
  return [arrivals.slice(0, low), arrivals.slice(low)];
}

/** A bit of a key, the most significant of the first byte first. */
export function readBit(key: string, bit: number): number {
  return (key.charCodeAt(bit >> 3) >> (7 - (bit & 7))) & 1;
}

/** The first bit in which two keys differ; {@link KEY_BITS} for none. */
function findDifference(a: string, b: string): number {
  for (let at = 0; at < HASH_BYTES; at++) {
    const difference = a.charCodeAt(at) ^ b.charCodeAt(at);
    if (difference !== 0) return 8 * at + Math.clz32(difference) - 24;
  }
  return KEY_BITS;
}

function hash(input: Uint8Array): string {
  return toBinaryString(primitives.sha256(input));
}
