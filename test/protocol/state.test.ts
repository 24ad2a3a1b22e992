import { expect } from "chai";
import fc from "fast-check";

import { concat, fromHex, toHex, uint64, utf8 } from "../../protocol/bytes.ts";
import { bytesOfCid, cidOfDigest, type Cid } from "../../protocol/cid.ts";
import { portable } from "../../protocol/crypto/portable.ts";
import { append, EMPTY_RANGE, rootOf } from "../../protocol/merkle.ts";
import type { RoomId } from "../../protocol/room.ts";
import { State } from "../../protocol/state.ts";

type Rooms = ReadonlyMap<RoomId, readonly Cid[]>;

/** SPEC 7.4 as it is written: recursive, on bit strings, from all rooms at once. */
function naiveRoot(rooms: Rooms): Uint8Array {
  const leaves = [...rooms].map(([id, cids]) => {
    const roomRoot = rootOf(append(EMPTY_RANGE, cids.map(bytesOfCid)));
    const bits = [...fromHex(id)].map((byte) => byte.toString(2).padStart(8, "0")).join("");
    const hash = portable.sha256(concat(Uint8Array.of(0), fromHex(id), uint64(cids.length), roomRoot));
    return { bits, hash };
  });
  const subtree = (prefix: string): Uint8Array => {
    const below = leaves.filter(({ bits }) => bits.startsWith(prefix));
    if (below.length === 0) return new Uint8Array(32);
    if (below.length === 1) return below[0]!.hash;
    return portable.sha256(concat(Uint8Array.of(1), subtree(`${prefix}0`), subtree(`${prefix}1`)));
  };
  return subtree("");
}

function cidsOf(name: string, count: number): Cid[] {
  return Array.from({ length: count }, (_, i) => cidOfDigest(portable.sha256(utf8(`${name} ${i}`))));
}

const anyId = fc.oneof(
  fc.uint8Array({ minLength: 32, maxLength: 32 }),
  // Adversarial: ids that differ in one late bit, or in the first.
  fc.tuple(fc.constantFrom(0, 0xff), fc.nat(255)).map(([fill, bit]) => {
    const id = new Uint8Array(32).fill(fill);
    id[bit >> 3]! ^= 0x80 >> (bit & 7);
    return id;
  }),
);
const anyDelta: fc.Arbitrary<Rooms> = fc
  .uniqueArray(
    fc.tuple(
      anyId.map((id) => toHex(id) as RoomId),
      fc.integer({ min: 1, max: 5 }),
    ),
    { maxLength: 12, selector: ([id]) => id },
  )
  .map((rooms) => new Map(rooms.map(([id, count]) => [id, cidsOf(id, count)])));

function sum(deltas: readonly Rooms[]): Rooms {
  const rooms = new Map<RoomId, Cid[]>();
  for (const delta of deltas) for (const [id, cids] of delta) rooms.set(id, [...(rooms.get(id) ?? []), ...cids]);
  return rooms;
}

describe("The state", () => {
  it("has the root of the definition after any sequence of deltas, and is the same as from all at once", () => {
    fc.assert(
      fc.property(fc.array(anyDelta, { maxLength: 6 }), (deltas) => {
        let state = State.EMPTY;
        deltas.forEach((delta, i) => {
          state = state.after(delta, i);
          expect(toHex(state.root)).to.equal(toHex(naiveRoot(sum(deltas.slice(0, i + 1)))));
        });
        expect(toHex(State.EMPTY.after(sum(deltas), 0).root)).to.equal(toHex(state.root));
        expect(toHex(State.of(state.rooms()).root)).to.equal(toHex(state.root));
      }),
    );
  });

  it("has 32 zero bytes for a root without rooms, and the leaf of its only room", () => {
    expect(toHex(State.EMPTY.root)).to.equal(`0x${"00".repeat(32)}`);
    const id = `0x${"ab".repeat(32)}` as RoomId;
    const cids = cidsOf("only", 3);
    const roomRoot = rootOf(append(EMPTY_RANGE, cids.map(bytesOfCid)));
    const leaf = portable.sha256(concat(Uint8Array.of(0), fromHex(id), uint64(3), roomRoot));
    expect(toHex(State.EMPTY.after(new Map([[id, cids]]), 0).root)).to.equal(toHex(leaf));
  });

  it("takes two rooms that differ in the last bit only, and rooms beside them", () => {
    const ids = [
      `0x${"00".repeat(32)}`,
      `0x${"00".repeat(31)}01`,
      `0x${"00".repeat(31)}02`,
      `0x80${"00".repeat(31)}`,
    ] as RoomId[];
    let state = State.EMPTY;
    const rooms = new Map<RoomId, Cid[]>();
    for (const id of ids) {
      rooms.set(id, cidsOf(id, 2));
      state = state.after(new Map([[id, cidsOf(id, 2)]]), 0);
      expect(toHex(state.root)).to.equal(toHex(naiveRoot(rooms)));
    }
    expect([...state.rooms()].map(({ id }) => id)).to.deep.equal(ids);
  });

  it("finds every room with its size and the anchor that touched it last, and no other room", () => {
    fc.assert(
      fc.property(fc.array(anyDelta, { minLength: 1, maxLength: 4 }), anyId, (deltas, other) => {
        const state = deltas.reduce((before, delta, i) => before.after(delta, i * 10), State.EMPTY);
        const all = sum(deltas);
        for (const [id, cids] of all) {
          const room = state.room(id);
          expect(room?.range.size).to.equal(cids.length);
          expect(room?.lastIndex).to.equal(deltas.findLastIndex((delta) => delta.has(id)) * 10);
        }
        const id = toHex(other) as RoomId;
        if (!all.has(id)) expect(state.room(id)).to.equal(undefined);
        expect([...state.rooms()].map((room) => room.id)).to.deep.equal([...all.keys()].sort());
      }),
    );
  });

  it("is never changed in place", () => {
    fc.assert(
      fc.property(anyDelta, anyDelta, (first, second) => {
        const before = State.EMPTY.after(first, 0);
        const root = toHex(before.root);
        before.after(second, 1);
        expect(toHex(before.root)).to.equal(root);
      }),
    );
  });
});
