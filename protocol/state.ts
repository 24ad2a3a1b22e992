/** The state of all rooms after an anchor, and its root: a compact sparse Merkle tree over room ids (SPEC 7.4). */
import { bytesOfCid, type Cid } from "./cid.ts";
import { append, EMPTY_RANGE } from "./merkle.ts";
import type { RoomId } from "./room.ts";
import {
  hashOf,
  insert,
  leafAt,
  leafOf,
  nodeOf,
  remove,
  savedTree,
  unsavedNodes,
  type NodeSource,
  type RootedRoom,
  type RoomState,
  type SavedNode,
  type Tree,
} from "./state-tree.ts";

/** New messages of a room, in order; never none. */
export type RoomMessages = readonly [room: RoomId, cids: readonly Cid[]];

/** What an anchor adds: the new messages of each touched room. */
export type Delta = ReadonlyMap<RoomId, readonly Cid[]>;

/** Never changed in place: a later state shares all that it did not touch with the one before. */
export class State {
  static readonly EMPTY = new State(null, null);
  /** Where nodes of it are still to be read from; null when all of it is in memory. */
  readonly source: NodeSource | null;
  private readonly tree: Tree;

  private constructor(tree: Tree, source: NodeSource | null) {
    this.tree = tree;
    this.source = source;
  }

  /** The state with these rooms, as {@link rooms} gave them. */
  static of(rooms: Iterable<RoomState>): State {
    return State.EMPTY.with(rooms);
  }

  /** The saved state with this root. Of it, only what is asked for is read, and then every method may throw the source's refusal. */
  static open(root: Uint8Array, source: NodeSource): State {
    return new State(savedTree(source, root), source);
  }

  /** The state root, 32 bytes. */
  get root(): Uint8Array {
    return hashOf(this.tree);
  }

  room(id: RoomId): RootedRoom | undefined {
    const leaf = leafAt(this.tree, id);
    return leaf?.room.id === id ? leaf.room : undefined;
  }

  /** All rooms, by ascending id. */
  *rooms(): Generator<RootedRoom> {
    const stack: Tree[] = [this.tree];
    for (let tree = stack.pop(); tree !== undefined; tree = stack.pop()) {
      const node = nodeOf(tree);
      if (node === null) continue;
      if ("room" in node) yield node.room;
      else stack.push(node.right, node.left);
    }
  }

  /** The nodes that its source does not have: all that was touched since it was opened, every node where there is no source. */
  unsaved(): Generator<SavedNode> {
    return unsavedNodes(this.tree);
  }

  /** The state after the anchor with this index added `delta`, each room once; O(touched rooms · log rooms). */
  after(delta: Iterable<RoomMessages>, anchorIndex: number): State {
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

  /** The state with these rooms put in or replaced, and without those others. */
  changed(rooms: Iterable<RoomState>, removed: Iterable<RoomId>): State {
    return new State(remove(this.tree, Array.from(removed).sort(), 0), this.source).with(rooms);
  }

  private with(rooms: Iterable<RoomState>): State {
    const leaves = Array.from(rooms, leafOf).sort(byId);
    return new State(insert(this.tree, leaves, 0), this.source);
  }
}

function byId(a: { readonly room: RoomState }, b: { readonly room: RoomState }): number {
  return a.room.id < b.room.id ? -1 : 1;
}
