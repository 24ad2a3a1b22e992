import { expect } from "chai";

import { decodeCheckedNode, decodeNode, encodeCheckedNode, encodeNode } from "../../io/state-codec.ts";
import { append, EMPTY_RANGE } from "../../protocol/merkle.ts";
import { utf8 } from "../../protocol/bytes.ts";
import { ALICE, BOB, History } from "../fixtures/history.ts";

const ROOM = {
  id: new History().room(ALICE, BOB),
  range: append(EMPTY_RANGE, ["one", "two", "three"].map(utf8)),
  lastIndex: 7,
};
const BRANCH = { bit: 3, left: { ref: 1, hash: "l".repeat(32) }, right: { ref: 2, hash: "r".repeat(32) } };

describe("A node of the state as a row", () => {
  it("is read as it was written", () => {
    for (const node of [ROOM, BRANCH]) {
      expect(decodeNode(encodeNode(node))).to.deep.equal(node);
      expect(decodeCheckedNode(encodeCheckedNode(node))).to.deep.equal(node);
    }
  });

  it("is none with any bit flipped, where a room has a check: its last anchor is under no hash", () => {
    const row = encodeCheckedNode(ROOM);
    for (let bit = 0; bit < 8 * row.length; bit++) {
      const wrong = row.slice();
      wrong[bit >> 3] = (wrong[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(decodeCheckedNode(wrong), `bit ${bit}`).to.equal(undefined);
    }
    for (let length = 0; length < row.length; length++)
      expect(decodeCheckedNode(row.slice(0, length))).to.equal(undefined);
  });
});
