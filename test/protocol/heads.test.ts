import { expect } from "chai";

import { fromHex } from "../../protocol/bytes.ts";
import { Float, type CborValue } from "../../protocol/cbor.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOfDigest } from "../../protocol/cid.ts";
import { decodeHeads, encodeHeads, headsOf, MAX_HEADS_ROWS, type Head } from "../../protocol/heads.ts";
import { append, EMPTY_RANGE, rootOf } from "../../protocol/merkle.ts";
import type { RoomId } from "../../protocol/room.ts";
import { State } from "../../protocol/state.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const ROOMS = Array.from({ length: 30 }, (_, i) => `0x${(i + 1).toString(16).padStart(64, "0")}` as RoomId);
const HEADS: readonly Head[] = ROOMS.map((room, i) => ({
  room,
  n: i + 1,
  lastIndex: i % 3 === 0 ? null : i,
  roomRoot: fixedBytes(room),
}));

describe("Heads", () => {
  it("come back as they were, over as many blocks as their size asks for", () => {
    expect(encodeHeads(HEADS)).to.have.length(1);
    for (const maxBytes of [92, 200, 500, 100_000]) {
      const blocks = encodeHeads(HEADS, maxBytes);
      for (const block of blocks) expect(block.length).to.be.at.most(maxBytes);
      expect(blocks.flatMap(decodeHeads)).to.deep.equal(HEADS);
    }
  });

  it("have 8,192 rows a block at most", () => {
    const heads = Array.from({ length: MAX_HEADS_ROWS + 1 }, (_, i): Head => {
      const room = `0x${i.toString(16).padStart(64, "0")}` as RoomId;
      return { room, n: Number.MAX_SAFE_INTEGER, lastIndex: Number.MAX_SAFE_INTEGER, roomRoot: fixedBytes("root") };
    });
    const rows = heads.map(({ room, n, lastIndex, roomRoot }) => [fromHex(room), n, lastIndex, roomRoot]);
    expect(encodeHeads(heads).map((block) => decodeHeads(block).length)).to.deep.equal([8_192, 1]);
    expect(decodeHeads(encode(rows.slice(1)))).to.have.length(8_192);
    expect(codeOf(() => decodeHeads(encode(rows)))).to.equal("HEADS_MALFORMED");
  });

  it("say of each touched room how many messages it has, who touched it before, and its root", () => {
    const [a, b] = ROOMS as [RoomId, RoomId];
    const cids = [1, 2, 3].map((byte) => cidOfDigest(new Uint8Array(32).fill(byte)));
    const first = State.EMPTY.after(new Map([[a, cids.slice(0, 2)]]), 4);
    const delta = new Map([
      [b, cids.slice(0, 1)],
      [a, cids.slice(2)],
    ]);
    const heads = headsOf(delta, first, first.after(delta, 9));
    expect(heads.map(({ room, n, lastIndex }) => ({ room, n, lastIndex }))).to.deep.equal([
      { room: a, n: 3, lastIndex: 4 },
      { room: b, n: 1, lastIndex: null },
    ]);
    const prefix = fromHex("0x01711220");
    const binary = [1, 2, 3].map((byte) => Uint8Array.of(...prefix, ...new Uint8Array(32).fill(byte)));
    expect(heads[0]!.roomRoot).to.deep.equal(rootOf(append(EMPTY_RANGE, binary)));
  });

  it("are refused when they are anything but rows of four, ascending by room", () => {
    const room = fixedBytes("room");
    const root = fixedBytes("root");
    const refused: CborValue[] = [
      null,
      new Map(),
      [],
      [[]],
      [[room, 1, null]],
      [[room, 1, null, root, 1]],
      [room],
      [["x", 1, null, root]],
      [[room.subarray(1), 1, null, root]],
      [[room, -1, null, root]],
      [[room, null, null, root]],
      [[room, new Float(1), null, root]],
      [[room, 2n ** 53n, null, root]],
      [[room, 1, -1, root]],
      [[room, 1, "x", root]],
      [[room, 1, 2n ** 53n, root]],
      [[room, 1, null, root.subarray(1)]],
      [[room, 1, null, null]],
      [
        [room, 1, null, root],
        [room, 1, null, root],
      ],
      [
        [new Uint8Array(32).fill(2), 1, null, root],
        [new Uint8Array(32).fill(1), 1, null, root],
      ],
    ];
    for (const value of refused) expect(codeOf(() => decodeHeads(encode(value)))).to.equal("HEADS_MALFORMED");
  });
});
