/** The nodes of the state tree (SPEC 7.4): in memory, or saved somewhere and read when a path leads there. */
import { equal, fromHex, hexDigit, uint64 } from "./bytes.ts";
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

/** As it is in the tree: with the RFC 9162 root over its messages, 32 bytes. */
export interface RootedRoom extends RoomState {
  readonly root: Uint8Array;
}

/** Four levels of branches as they are saved: where each of the 16 hexadecimal digits leads, null for nowhere. */
export type SavedBranch = readonly (SavedWay | null)[];

export interface SavedWay {
  readonly hash: Uint8Array;
  /** One room is there and no branch: the hash is that room's leaf's. */
  readonly isRoom: boolean;
}

/** A branch, by the hexadecimal digits that the ids of its rooms begin with; or a room. */
export type SavedNode = { readonly prefix: string; readonly branch: SavedBranch } | { readonly room: RootedRoom };

/** Where the nodes of a state were saved. It needs no trust: a node is believed when it hashes to what its parent says. */
export interface NodeSource {
  /** Undefined where there is none. */
  branch(prefix: string): SavedBranch | undefined;
  /** The only room whose id begins with these digits. */
  room(prefix: string): RoomState | undefined;
  /** What to throw when the node there is not the one that was saved. */
  refusal(prefix: string): Error;
}

export type Tree = Node | Saved | null;
export type Node = Leaf | Branch;

interface Leaf {
  readonly room: RootedRoom;
  readonly hash: Uint8Array;
}

interface Branch {
  readonly left: Tree;
  readonly right: Tree;
  readonly hash: Uint8Array;
}

const EMPTY_HASH = new Uint8Array(32);
const DIGITS = 16;
/** `0 ‖ room id ‖ uint64 size ‖ room root`: one for all leaves, as a new one each time would be memory of its own. */
const leafInput = new Uint8Array(1 + 32 + 8 + 32);

/** A node that is in its source, and in memory only once it was needed. */
export class Saved {
  readonly hash: Uint8Array;
  readonly prefix: string;
  /** Of the root it is not known. */
  readonly isRoom: boolean;
  private readonly source: NodeSource;
  private found: Node | undefined;

  constructor(source: NodeSource, prefix: string, { hash, isRoom }: SavedWay) {
    this.source = source;
    this.prefix = prefix;
    this.hash = hash;
    this.isRoom = isRoom;
  }

  /** @throws the source's refusal */
  get node(): Node {
    return (this.found ??= this.read());
  }

  private read(): Node {
    const { source, prefix, hash } = this;
    const branch = this.isRoom ? undefined : source.branch(prefix);
    const room = branch === undefined ? source.room(prefix) : undefined;
    const node = branch === undefined ? room && leafOf(room) : this.joined(branch, 0, DIGITS);
    if (node === undefined || node === null || node instanceof Saved || !equal(node.hash, hash)) {
      throw source.refusal(prefix);
    }
    return node;
  }

  /** The tree over some of the branch's ways. */
  private joined(branch: SavedBranch, start: number, end: number): Tree {
    if (end - start === 1) {
      const way = branch[start] ?? null;
      return way && new Saved(this.source, this.prefix + start.toString(16), way);
    }
    const middle = (start + end) / 2;
    const left = this.joined(branch, start, middle);
    const right = this.joined(branch, middle, end);
    const only = left === null ? right : right === null ? left : null;
    // A subtree with one room is its leaf, and one without rooms is none.
    if ((left === null && right === null) || (only instanceof Saved && only.isRoom)) return only;
    return { left, right, hash: hashNode(hashOf(left), hashOf(right)) };
  }
}

/** The saved tree with this root. */
export function savedTree(source: NodeSource, hash: Uint8Array): Tree {
  return equal(hash, EMPTY_HASH) ? null : new Saved(source, "", { hash, isRoom: false });
}

/** The nodes that no source has; those of a source are never under them, for they come in wholes of four levels. */
export function* unsavedNodes(root: Tree): Generator<SavedNode> {
  const stack: { readonly prefix: string; readonly tree: Tree }[] = [{ prefix: "", tree: root }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { prefix, tree } = next;
    if (tree === null || tree instanceof Saved) continue;
    if ("room" in tree) {
      yield { room: tree.room };
      continue;
    }
    const ways = waysOf(tree, prefix.length);
    yield {
      prefix,
      branch: ways.map((way) => way && { hash: way.hash, isRoom: way instanceof Saved ? way.isRoom : "room" in way }),
    };
    ways.forEach((way, digit) => stack.push({ prefix: prefix + digit.toString(16), tree: way }));
  }
}

/** Where each digit leads, four levels below a branch. */
function waysOf(branch: Branch, digitAt: number): Tree[] {
  const ways: Tree[] = Array.from({ length: DIGITS }, () => null);
  const descend = (tree: Tree, start: number, end: number): void => {
    if (tree === null) return;
    if (end - start === 1) ways[start] = tree;
    else if (tree instanceof Saved) ways[Number.parseInt(tree.prefix.slice(-1), 16)] = tree;
    else if ("room" in tree) ways[Number.parseInt(tree.room.id.charAt(2 + digitAt), 16)] = tree;
    else {
      descend(tree.left, start, (start + end) / 2);
      descend(tree.right, (start + end) / 2, end);
    }
  };
  descend(branch, 0, DIGITS);
  return ways;
}

/** The node, read if it has to be. */
export function nodeOf(tree: Tree): Node | null {
  return tree instanceof Saved ? tree.node : tree;
}

export function hashOf(tree: Tree): Uint8Array {
  return tree === null ? EMPTY_HASH : tree.hash;
}

export function leafOf(room: RoomState): Leaf {
  const { id, range, lastIndex } = room;
  const root = rootOf(range);
  leafInput.set(fromHex(id, 32), 1);
  leafInput.set(uint64(range.size), 33);
  leafInput.set(root, 41);
  return { room: { id, range, lastIndex, root }, hash: primitives.sha256(leafInput) };
}

/** The leaf that the path to this room leads to, whichever room's it is. */
export function leafAt(root: Tree, id: RoomId): Leaf | null {
  let node = nodeOf(root);
  for (let depth = 0; node !== null && !("room" in node); depth++)
    node = nodeOf(bit(id, depth) === 0 ? node.left : node.right);
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
  const split = leaves.findIndex(({ room }) => bit(room.id, depth) === 1);
  const middle = split === -1 ? leaves.length : split;
  const left = insert(node?.left ?? null, leaves.slice(0, middle), depth + 1);
  const right = insert(node?.right ?? null, leaves.slice(middle), depth + 1);
  // A leaf that changed in nothing that is hashed keeps its hash, and so do the branches above it.
  const isSame = node !== null && hashOf(left) === hashOf(node.left) && hashOf(right) === hashOf(node.right);
  return { left, right, hash: isSame ? node.hash : hashNode(hashOf(left), hashOf(right)) };
}

/** The tree without these rooms (ascending); all of them belong below `depth`. */
export function remove(tree: Tree, ids: readonly RoomId[], depth: number): Tree {
  const node = ids.length === 0 ? null : nodeOf(tree);
  if (node === null) return tree;
  if ("room" in node) return ids.includes(node.room.id) ? null : tree;
  const split = ids.findIndex((id) => bit(id, depth) === 1);
  const middle = split === -1 ? ids.length : split;
  const left = remove(node.left, ids.slice(0, middle), depth + 1);
  const right = remove(node.right, ids.slice(middle), depth + 1);
  if (left === node.left && right === node.right) return tree;
  const only = left === null ? right : right === null ? left : null;
  const last = nodeOf(only);
  // A subtree with one room is its leaf, and one without rooms is none.
  if (left === null && right === null) return null;
  if (last !== null && "room" in last) return last;
  return { left, right, hash: hashNode(hashOf(left), hashOf(right)) };
}

/** Whether the way to a room goes left (0) or right (1) at a depth: the bits of its id, most significant first. */
function bit(id: RoomId, depth: number): number {
  return (hexDigit(id, 2 + (depth >> 2)) >> (3 - (depth & 3))) & 1;
}
