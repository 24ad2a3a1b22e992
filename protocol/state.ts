/** The state of all rooms after an anchor, and its root: a compact sparse Merkle tree over room ids (SPEC 7.4). */
import { concat, fromHex, uint64 } from "./bytes.ts";
import { bytesOfCid, type Cid } from "./cid.ts";
import { primitives } from "./crypto/provider.ts";
import { append, EMPTY_RANGE, hashNode, rootOf, type CompactRange } from "./merkle.ts";
import type { RoomId } from "./room.ts";

export interface RoomState {
  readonly id: RoomId;
  /** The room's messages so far, as a compact range over their binary CIDs. */
  readonly range: CompactRange;
  /** The anchor that touched the room last. */
  readonly lastIndex: number;
}

/** What an anchor adds: the new messages of each touched room, in order; no room is empty. */
export type Delta = ReadonlyMap<RoomId, readonly Cid[]>;

type Tree = Leaf | Branch | null;
interface Leaf {
  readonly room: RoomState;
  readonly path: Uint8Array;
  readonly hash: Uint8Array;
}
interface Branch {
  readonly left: Tree;
  readonly right: Tree;
  readonly hash: Uint8Array;
}

const EMPTY_HASH = new Uint8Array(32);
const LEAF = Uint8Array.of(0);

/** Never changed in place: a later state shares all that it did not touch with the one before. */
export class State {
  static readonly EMPTY = new State(null);
  private readonly tree: Tree;

  private constructor(tree: Tree) {
    this.tree = tree;
  }

  /** The state with these rooms, as {@link rooms} gave them. */
  static of(rooms: Iterable<RoomState>): State {
    return State.EMPTY.with(rooms);
  }

  /** The state root, 32 bytes. */
  get root(): Uint8Array {
    return hashOf(this.tree);
  }

  room(id: RoomId): RoomState | undefined {
    const path = fromHex(id, 32);
    let tree = this.tree;
    for (let depth = 0; tree !== null && !("room" in tree); depth++)
      tree = bit(path, depth) === 0 ? tree.left : tree.right;
    return tree?.room.id === id ? tree.room : undefined;
  }

  /** All rooms, by ascending id. */
  *rooms(): Generator<RoomState> {
    const stack: Tree[] = [this.tree];
    for (let tree = stack.pop(); tree !== undefined; tree = stack.pop()) {
      if (tree === null) continue;
      if ("room" in tree) yield tree.room;
      else stack.push(tree.right, tree.left);
    }
  }

  /** The state after the anchor with this index added `delta`; O(touched rooms · log rooms). */
  after(delta: Delta, anchorIndex: number): State {
    const touched: RoomState[] = [];
    for (const [id, cids] of delta) {
      touched.push({
        id,
        range: append(this.room(id)?.range ?? EMPTY_RANGE, cids.map(bytesOfCid)),
        lastIndex: anchorIndex,
      });
    }
    return this.with(touched);
  }

  private with(rooms: Iterable<RoomState>): State {
    const leaves = Array.from(rooms, leafOf).sort((a, b) => (a.room.id < b.room.id ? -1 : 1));
    return new State(insert(this.tree, leaves, 0));
  }
}

function leafOf(room: RoomState): Leaf {
  const path = fromHex(room.id, 32);
  const hash = primitives.sha256(concat(LEAF, path, uint64(room.range.size), rootOf(room.range)));
  return { room, path, hash };
}

/** The tree with `leaves` (ascending) put in or replaced; all of them belong below `depth`. */
function insert(tree: Tree, leaves: readonly Leaf[], depth: number): Tree {
  const [first] = leaves;
  if (first === undefined) return tree;
  if (tree !== null && "room" in tree) {
    const { id } = tree.room;
    if (leaves.some(({ room }) => room.id === id)) return insert(null, leaves, depth);
    const at = leaves.findIndex(({ room }) => room.id > id);
    const position = at === -1 ? leaves.length : at;
    return insert(null, [...leaves.slice(0, position), tree, ...leaves.slice(position)], depth);
  }
  if (tree === null && leaves.length === 1) return first;
  const split = leaves.findIndex(({ path }) => bit(path, depth) === 1);
  const middle = split === -1 ? leaves.length : split;
  const left = insert(tree?.left ?? null, leaves.slice(0, middle), depth + 1);
  const right = insert(tree?.right ?? null, leaves.slice(middle), depth + 1);
  return { left, right, hash: hashNode(hashOf(left), hashOf(right)) };
}

function hashOf(tree: Tree): Uint8Array {
  return tree === null ? EMPTY_HASH : tree.hash;
}

/** Most significant bit first. */
function bit(path: Uint8Array, depth: number): number {
  return ((path[depth >> 3] ?? 0) >> (7 - (depth & 7))) & 1;
}
