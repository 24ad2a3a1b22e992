import { expect } from "chai";
import fc from "fast-check";

import { concat, fromHex, toHex, uint64 } from "../../protocol/bytes.ts";
import { bytesOfCid } from "../../protocol/cid.ts";
import { portable } from "../../protocol/crypto/portable.ts";
import { append, EMPTY_RANGE, rootOf } from "../../protocol/merkle.ts";
import type { RoomId } from "../../protocol/room.ts";
import { State } from "../../protocol/state.ts";
import { SavedNodes } from "../fixtures/saved-nodes.ts";
import { anyDelta, anyId, cidsOf, grindIds, keyBits, manyRooms, naiveRoot, sum } from "../fixtures/state.ts";

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

  it("finds every room with its size and the anchor that touched it last, and no other room", () => {
    fc.assert(
      fc.property(fc.array(anyDelta, { minLength: 1, maxLength: 4 }), anyId, (deltas, id) => {
        const state = deltas.reduce((before, delta, i) => before.after(delta, i * 10), State.EMPTY);
        const all = sum(deltas);
        for (const [touched, cids] of all) {
          const room = state.room(touched);
          expect(room?.range).to.deep.equal(append(EMPTY_RANGE, cids.map(bytesOfCid)));
          expect(room?.root).to.deep.equal(rootOf(room!.range));
          expect(room?.lastIndex).to.equal(deltas.findLastIndex((delta) => delta.has(touched)) * 10);
        }
        if (!all.has(id)) expect(state.room(id)).to.equal(undefined);
        const byKey = [...all.keys()].sort((a, b) => (keyBits(a) < keyBits(b) ? -1 : 1));
        expect([...state.rooms()].map((room) => room.id)).to.deep.equal(byKey);
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
        expect(toHex(State.of(before.rooms()).root)).to.equal(root);
      }),
    );
  });

  it("costs a leaf and a branch for each room, whatever bits the rooms' keys share", () => {
    const ground = grindIds(64, 8).map((id) => [id, cidsOf(id, 1)] as const);
    for (const rooms of [ground, manyRooms(64)]) {
      const saved = new SavedNodes();
      let state = State.EMPTY;
      for (const room of rooms) state = state.after([room], 0);
      state.save(saved.nodes);
      expect(saved.written).to.equal(2 * 64 - 1);
    }
  });

  it("takes thousands of rooms, and thousands of messages of one, in steps that are bounded", () => {
    const rooms = manyRooms(3_000);
    const [first] = rooms;
    const delta = new Map([...rooms, [first![0], cidsOf("long", 5_000)] as const]);
    const known = State.EMPTY.after(manyRooms(1_000), 0);
    const saved = new SavedNodes();
    let before = saved.save(known);
    for (const [nodes, state] of [
      [null, known],
      [saved, before],
    ] as const) {
      const steps = state.afterSteps(delta, 1);
      let next = steps.next();
      for (; next.done !== true; next = steps.next()) {
        // As many rows as 128 rooms have above them at most, of some 13 levels.
        if (nodes !== null) expect(nodes.asked.splice(0).length).to.be.lessThan(128 * 13);
      }
      before = next.value;
      expect(toHex(before.root)).to.equal(toHex(naiveRoot(sum([new Map(manyRooms(1_000)), delta]))));
    }
    const steps = before.saveSteps(before.nodes!);
    for (let next = steps.next(); next.done !== true; next = steps.next()) {
      expect(saved.written).to.be.within(1, 1_024);
      saved.written = 0;
    }
  });
});
