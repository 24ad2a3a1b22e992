/** Nodes of state trees that were saved as rows somewhere, each with a number of its own. */
import { isWhole } from "./merkle.ts";
import { Branch, Leaf, resolve, Saved, type Node, type NodeReader, type RoomState, type Tree } from "./state-tree.ts";

/** Where a saved node is, and its hash: a binary string of 32 characters. */
export interface NodeLink {
  readonly ref: number;
  readonly hash: string;
}

/** A node as a row has it: a branch or a room. */
export type NodeRow = { readonly bit: number; readonly left: NodeLink; readonly right: NodeLink } | RoomState;

/** The rows. A node's hash proves all of it but a room's last anchor, which no hash covers: a store whose rows can be damaged keeps a checksum. */
export interface NodeRows {
  /** Undefined where there is none, or nothing that could be one. */
  read(ref: number): NodeRow | undefined;
  /** @returns its reference, which was no other node's before */
  write(row: NodeRow): number;
  /** What to throw when the node there is not the one that was saved. */
  refusal(ref: number): Error;
}

/** Nodes that are remembered once they were read or written, about 300 bytes each; at most twice as many. */
const REMEMBERED = 16_384;
/** Rows of one step. */
const STEP = 512;

/** Reads and writes rows, and remembers the nodes that were in use last. Made anew whenever a reference may name another node. */
export class StateNodes implements NodeReader {
  private readonly rows: NodeRows;
  private recent = new Map<number, Node>();
  private older = new Map<number, Node>();

  constructor(rows: NodeRows) {
    this.rows = rows;
  }

  link({ ref, hash }: NodeLink): Saved {
    return new Saved(this, ref, hash);
  }

  /** @throws the rows' refusal */
  read({ ref, hash }: Saved): Node {
    let node = this.recent.get(ref);
    if (node === undefined) {
      node = this.older.get(ref) ?? this.decode(ref);
      if (node !== undefined) this.remember(ref, node);
    }
    if (node?.hash !== hash) throw this.rows.refusal(ref);
    return node;
  }

  /**
   * Saves the nodes of a tree that are not saved here yet, children first. What comes of it is the same tree, all of it saved; the one
   * that was given stays as it is.
   */
  *saveSteps(tree: Tree): Generator<undefined, Saved | null> {
    if (tree === null) return null;
    const todo: { readonly node: Node | Saved; readonly areChildrenSaved: boolean }[] = [];
    const saved: Saved[] = [];
    let written = 0;
    todo.push({ node: tree, areChildrenSaved: false });
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      if (next.node instanceof Saved && next.node.reader === this) {
        saved.push(next.node);
        continue;
      }
      const node = resolve(next.node);
      if (node instanceof Branch && !next.areChildrenSaved) {
        todo.push({ node, areChildrenSaved: true });
        todo.push({ node: node.right, areChildrenSaved: false }, { node: node.left, areChildrenSaved: false });
        continue;
      }
      if (node instanceof Leaf) {
        saved.push(this.write(node, node.room));
      } else {
        const [left, right] = saved.splice(-2);
        if (left === undefined || right === undefined) throw new RangeError("a branch before its children");
        saved.push(this.write(node.over(left, right), { bit: node.bit, left, right }));
      }
      written += 1;
      if (written % STEP === 0) yield;
    }
    return saved[0] ?? null;
  }

  private write(node: Node, row: NodeRow): Saved {
    const ref = this.rows.write(row);
    this.remember(ref, node);
    return this.link({ ref, hash: node.hash });
  }

  private decode(ref: number): Node | undefined {
    const row = this.rows.read(ref);
    if (row === undefined) return undefined;
    if ("bit" in row) return Branch.join(row.bit, this.link(row.left), this.link(row.right));
    return isWhole(row.range) ? new Leaf(row) : undefined;
  }

  private remember(ref: number, node: Node): void {
    if (this.recent.size >= REMEMBERED) {
      this.older = this.recent;
      this.recent = new Map();
    }
    this.recent.set(ref, node);
  }
}
