import { expect } from "chai";
import fc from "fast-check";

import { concat, toHex, utf8 } from "../../protocol/bytes.ts";
import { portable } from "../../protocol/crypto/portable.ts";
import { append, EMPTY_RANGE, rootOf } from "../../protocol/merkle.ts";

/** MTH as RFC 9162, 2.1.1 defines it. */
function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves;
  if (first === undefined) return portable.sha256(new Uint8Array(0));
  if (leaves.length === 1) return portable.sha256(concat(Uint8Array.of(0), first));
  let k = 1;
  while (2 * k < leaves.length) k *= 2;
  return portable.sha256(concat(Uint8Array.of(1), naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k))));
}

function leavesOf(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => utf8(`leaf ${i}`));
}

describe("A room's Merkle tree", () => {
  it("has the root of RFC 9162 for 0 to 70 leaves, at once and leaf by leaf", () => {
    let grown = EMPTY_RANGE;
    for (let n = 0; n <= 70; n++) {
      const leaves = leavesOf(n);
      const expected = toHex(naiveRoot(leaves));
      expect(toHex(rootOf(append(EMPTY_RANGE, leaves))), `${n} leaves`).to.equal(expected);
      expect(toHex(rootOf(grown)), `${n} leaves`).to.equal(expected);
      expect(grown.size).to.equal(n);
      grown = append(grown, [utf8(`leaf ${n}`)]);
    }
  });

  it("has the same root however its growth is cut", () => {
    fc.assert(
      fc.property(fc.nat(200), fc.nat(200), (a, b) => {
        const leaves = leavesOf(a + b);
        const grown = append(append(EMPTY_RANGE, leaves.slice(0, a)), leaves.slice(a));
        expect(grown).to.deep.equal(append(EMPTY_RANGE, leaves));
      }),
    );
  });

  it("is never changed in place", () => {
    const before = append(EMPTY_RANGE, leavesOf(5));
    const root = toHex(rootOf(before));
    append(before, leavesOf(9));
    expect(toHex(rootOf(before))).to.equal(root);
    expect(EMPTY_RANGE.hashes).to.have.length(0);
  });

  it("keeps one hash for each bit that is set in its size", () => {
    for (let n = 0; n <= 70; n++) {
      const bits = n.toString(2).replaceAll("0", "").length;
      expect(append(EMPTY_RANGE, leavesOf(n)).hashes).to.have.length(bits);
    }
  });
});
