/** What two state trees have in common: a store that keeps one version writes only what is new in the next, and deletes what is not in it. */
import { Branch, KEY_BITS, Leaf, readBit, resolve, Saved, type Node, type Tree } from "./state-tree.ts";

/**
 * The tree `fresh`, with the nodes of `known` wherever it has the same. A hash says nothing of the anchors that touched the rooms last,
 * so every room is compared.
 */
export function share(known: Tree, fresh: Tree): Tree {
  return known === null || fresh === null ? fresh : shareNodes(known, fresh);
}

/** The references of saved nodes that are in `before` and not in `after`, which grew from it or shares its nodes. */
export function listSuperseded(before: Tree, after: Tree): number[] {
  const reader = before instanceof Saved ? before.reader : null;
  const kept = new Set<number>();
  const grown = after === null ? [] : [after];
  for (let next = grown.pop(); next !== undefined; next = grown.pop()) {
    if (next instanceof Saved && next.reader === reader) kept.add(next.ref);
    else if (next instanceof Branch) grown.push(next.left, next.right);
  }
  const superseded: number[] = [];
  const left = before === null ? [] : [before];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (next instanceof Saved) {
      if (kept.has(next.ref)) continue;
      superseded.push(next.ref);
    }
    const node = resolve(next);
    if (node instanceof Branch) left.push(node.left, node.right);
  }
  return superseded;
}

function shareNodes(known: Node | Saved, fresh: Node | Saved): Node | Saved {
  const [a, b] = [resolve(known), resolve(fresh)];
  const [aBit, bBit] = [branchingBit(a), branchingBit(b)];
  if (a instanceof Branch && aBit < bBit) {
    return shareNodes(readBit(findKey(b), aBit) === 0 ? a.left : a.right, fresh);
  }
  if (b instanceof Leaf) {
    return a instanceof Leaf && a.hash === b.hash && a.lastIndex === b.lastIndex ? known : fresh;
  }
  if (a instanceof Branch && aBit === bBit) {
    const [left, right] = [shareNodes(a.left, b.left), shareNodes(a.right, b.right)];
    return left === a.left && right === a.right ? known : b.over(left, right);
  }
  return readBit(findKey(a), bBit) === 0
    ? b.over(shareNodes(known, b.left), b.right)
    : b.over(b.left, shareNodes(known, b.right));
}

function branchingBit(node: Node): number {
  return node instanceof Branch ? node.bit : KEY_BITS;
}

/** That of any room below. */
function findKey(node: Node): string {
  let found = node;
  while (found instanceof Branch) found = resolve(found.left);
  return found.key;
}
