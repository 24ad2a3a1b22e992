/** The state of all rooms after an anchor, and its root (SPEC 7.4). */
import { fromBinaryString } from "./bytes.ts";
import { bytesOfCid, type Cid } from "./cid.ts";
import { appendSteps, EMPTY_RANGE } from "./merkle.ts";
import type { RoomId } from "./room.ts";
import { listSuperseded, share } from "./state-difference.ts";
import type { NodeLink, StateNodes } from "./state-nodes.ts";
import {
  Branch,
  deriveKey,
  findLeaf,
  insert,
  Leaf,
  resolve,
  Saved,
  type RootedRoom,
  type RoomState,
  type Tree,
} from "./state-tree.ts";
import { finish, sortSteps } from "./steps.ts";

/** New messages of a room, in order; never none. */
export type RoomMessages = readonly [room: RoomId, cids: readonly Cid[]];

/** What an anchor adds: the new messages of each touched room. */
export type Delta = ReadonlyMap<RoomId, readonly Cid[]>;

const EMPTY_ROOT = new Uint8Array(32);
/** Rooms that one step puts into the tree; each may cost as many rows as the tree has levels. */
export const STEP_ROOMS = 128;
/** Messages that one step hashes. */
const STEP_MESSAGES = 1_024;

/**
 * Never changed in place: a later state shares all that it did not touch with the one before. Of a saved state, only what is asked for is
 * read, and then every method may throw the refusal of its rows.
 */
export class State {
  static readonly EMPTY = new State(null, null);
  /** Where nodes of it are read from; null when all of it is in memory. */
  readonly nodes: StateNodes | null;
  private readonly tree: Tree;

  private constructor(tree: Tree, nodes: StateNodes | null) {
    this.tree = tree;
    this.nodes = nodes;
  }

  /** The state with these rooms. */
  static of(rooms: Iterable<RoomState>): State {
    return State.EMPTY.withLeaves(Array.from(rooms, (room) => new Leaf(room)).sort((a, b) => (a.key < b.key ? -1 : 1)));
  }

  /** A saved state, by the link of its root; null is that of no rooms. */
  static open(link: NodeLink | null, nodes: StateNodes): State {
    return new State(link && nodes.link(link), nodes);
  }

  /** The state root, 32 bytes. */
  get root(): Uint8Array {
    return this.tree === null ? EMPTY_ROOT : fromBinaryString(this.tree.hash);
  }

  /** Where its root is saved; null for no rooms. */
  get link(): NodeLink | null {
    if (this.tree === null) return null;
    if (!(this.tree instanceof Saved)) throw new RangeError("a state that was not saved has no link");
    return { ref: this.tree.ref, hash: this.tree.hash };
  }

  room(id: RoomId): RootedRoom | undefined {
    const leaf = findLeaf(this.tree, deriveKey(id));
    return leaf?.id === id ? leaf.room : undefined;
  }

  /** All rooms, by ascending key. */
  *rooms(): Generator<RootedRoom> {
    const todo = this.tree === null ? [] : [this.tree];
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      const node = resolve(next);
      if (node instanceof Branch) todo.push(node.right, node.left);
      else yield node.room;
    }
  }

  /** The state after the anchor with this index added `delta`, each room once; O(touched rooms · log rooms). */
  after(delta: Iterable<RoomMessages>, anchorIndex: number): State {
    return finish(this.afterSteps(delta, anchorIndex));
  }

  *afterSteps(delta: Iterable<RoomMessages>, anchorIndex: number): Generator<undefined, State> {
    const rooms = [...delta];
    const { order, keys } = yield* sortByKeySteps(rooms.map(([id]) => id));
    let { tree } = this;
    let leaves: Leaf[] = [];
    const progress = { hashed: 0 };
    for (const at of order) {
      const [room, key] = [rooms[at], keys[at]];
      if (room === undefined || key === undefined) continue;
      const [id, cids] = room;
      const known = findLeaf(this.tree, key);
      const before = known?.id === id ? known.room.range : EMPTY_RANGE;
      const range = yield* appendSteps(before, cids.map(bytesOfCid), progress);
      leaves.push(new Leaf({ id, range, lastIndex: anchorIndex }, key));
      if (leaves.length < STEP_ROOMS) continue;
      tree = insert(tree, leaves);
      leaves = [];
      yield;
    }
    return new State(insert(tree, leaves), this.nodes);
  }

  /** The state with these rooms (by ascending key, each once) put in or replaced. Each may cost as many rows as the tree has levels. */
  withLeaves(leaves: readonly Leaf[]): State {
    return new State(insert(this.tree, leaves), this.nodes);
  }

  /** What there is of each of these rooms, in their order. Many cost less than one by one: no node is read twice. */
  *findSteps(ids: readonly RoomId[], { order, keys }: KeyOrder): Generator<undefined, readonly (Leaf | null)[]> {
    const found: (Leaf | null)[] = ids.map(() => null);
    let looked = 0;
    for (const at of this.tree === null ? [] : order) {
      const leaf = findLeaf(this.tree, keys[at] ?? "");
      if (leaf !== null && leaf.id === ids[at]) found[at] = leaf;
      looked += 1;
      if (looked % STEP_ROOMS === 0) yield;
    }
    return found;
  }

  /** The same state, all of it saved in `nodes`: what is there already stays, and the rest is written. */
  *saveSteps(nodes: StateNodes): Generator<undefined, State> {
    return new State(yield* nodes.saveSteps(this.tree), nodes);
  }

  save(nodes: StateNodes): State {
    return finish(this.saveSteps(nodes));
  }

  /** The same state, with the nodes of a saved one wherever it has the same rooms. */
  sharing(saved: State): State {
    return new State(share(saved.tree, this.tree), saved.nodes);
  }

  /** The references of nodes that this saved state has, and `next` has not: a state that grew from it, or shares its nodes. */
  superseded(next: State): number[] {
    return listSuperseded(this.tree, next.tree);
  }
}

/**
 * Rooms in the order of the tree, so that what a step reads and makes is near together, and none but the highest nodes are another
 * step's. They are named by their places in a list: two arrays take a quarter of what as many objects would.
 */
export interface KeyOrder {
  /** Places, by ascending key. */
  readonly order: readonly number[];
  /** The key of the room at each place. */
  readonly keys: readonly string[];
}

export function* sortByKeySteps(ids: readonly RoomId[]): Generator<undefined, KeyOrder> {
  const keys: string[] = [];
  for (const id of ids) {
    keys.push(deriveKey(id));
    if (keys.length % STEP_MESSAGES === 0) yield;
  }
  const order = yield* sortSteps([...keys.keys()], (a, b) => ((keys[a] ?? "") < (keys[b] ?? "") ? -1 : 1));
  return { order, keys };
}
