/** The nodes of the state tree (SPEC 7.4): in memory, or saved somewhere and read when a path leads there. */
import { concat, equal, fromHex, uint64 } from "./bytes.ts";
import { primitives } from "./crypto/provider.ts";
import { hashNode, rootOf, type CompactRange } from "./merkle.ts";
import type { RoomId } from "./room.ts";

export interface RoomState {
  readonly id: RoomId;
  /** The room's messages so far, as a compact range over their binary CIDs. */
  readonly range: CompactRange;
  /** The anchor that touched the room last. */
  readonly lastIndex: number;
}

/** A node as it is saved: of several rooms, the hashes of both halves (32 zero bytes for an empty one); or its only room. */
export type StateNode = { readonly left: Uint8Array; readonly right: Uint8Array } | { readonly room: RoomState };

/** Where the nodes of a state were saved. It needs no trust: a node is believed when it hashes to what its parent says. */
export interface NodeSource {
  /** The node of all rooms whose ids begin with these bits, a text of `0` and `1`; undefined if nothing is there. */
  node(prefix: string): StateNode | undefined;
  /** What to throw when the node there is not the one that was saved. */
  refusal(prefix: string): Error;
}

export type Tree = Node | Saved | null;
export type Node = Leaf | Branch;

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

/** A node that is in its source, and in memory only once it was needed. */
export class Saved {
  readonly hash: Uint8Array;
  private readonly source: NodeSource;
  private readonly prefix: string;
  private found: Node | undefined;

  constructor(source: NodeSource, prefix: string, hash: Uint8Array) {
    this.source = source;
    this.prefix = prefix;
    this.hash = hash;
  }

  /** @throws the source's refusal */
  get node(): Node {
    return (this.found ??= this.read());
  }

  private read(): Node {
    const { source, prefix } = this;
    const saved = source.node(prefix);
    if (saved === undefined) throw source.refusal(prefix);
    const node = "room" in saved ? leafOf(saved.room) : this.branchOf(saved);
    if (!equal(node.hash, this.hash)) throw source.refusal(prefix);
    return node;
  }

  private branchOf({ left, right }: { readonly left: Uint8Array; readonly right: Uint8Array }): Branch {
    return {
      left: savedTree(this.source, `${this.prefix}0`, left),
      right: savedTree(this.source, `${this.prefix}1`, right),
      hash: hashNode(left, right),
    };
  }
}

/** The saved tree with this hash. */
export function savedTree(source: NodeSource, prefix: string, hash: Uint8Array): Tree {
  return equal(hash, EMPTY_HASH) ? null : new Saved(source, prefix, hash);
}

/** The node, read if it has to be. */
export function nodeOf(tree: Tree): Node | null {
  return tree instanceof Saved ? tree.node : tree;
}

export function hashOf(tree: Tree): Uint8Array {
  return tree === null ? EMPTY_HASH : tree.hash;
}

export function leafOf(room: RoomState): Leaf {
  const path = fromHex(room.id, 32);
  const hash = primitives.sha256(concat(LEAF, path, uint64(room.range.size), rootOf(room.range)));
  return { room, path, hash };
}

/** The leaf that this path leads to, whichever room's it is. */
export function leafAt(root: Tree, path: Uint8Array): Leaf | null {
  let node = nodeOf(root);
  for (let depth = 0; node !== null && !("room" in node); depth++)
    node = nodeOf(bit(path, depth) === 0 ? node.left : node.right);
  return node;
}

/** The tree with `leaves` (ascending) put in or replaced; all of them belong below `depth`. */
export function insert(tree: Tree, leaves: readonly Leaf[], depth: number): Tree {
  const [first] = leaves;
  if (first === undefined) return tree;
  const node = nodeOf(tree);
  if (node !== null && "room" in node) {
    const { id } = node.room;
    if (leaves.some(({ room }) => room.id === id)) return insert(null, leaves, depth);
    const at = leaves.findIndex(({ room }) => room.id > id);
    const position = at === -1 ? leaves.length : at;
    return insert(null, [...leaves.slice(0, position), node, ...leaves.slice(position)], depth);
  }
  if (node === null && leaves.length === 1) return first;
  const split = leaves.findIndex(({ path }) => bit(path, depth) === 1);
  const middle = split === -1 ? leaves.length : split;
  const left = insert(node?.left ?? null, leaves.slice(0, middle), depth + 1);
  const right = insert(node?.right ?? null, leaves.slice(middle), depth + 1);
  return { left, right, hash: hashNode(hashOf(left), hashOf(right)) };
}

/** Most significant bit first. */
function bit(path: Uint8Array, depth: number): number {
  return ((path[depth >> 3] ?? 0) >> (7 - (depth & 7))) & 1;
}
