import { expect } from "chai";
import fc from "fast-check";

import { concat, fromHex, toHex, uint64 } from "../../protocol/bytes.ts";
import { bytesOfCid, type Cid } from "../../protocol/cid.ts";
import { portable } from "../../protocol/crypto/portable.ts";
import { append, EMPTY_RANGE, rootOf } from "../../protocol/merkle.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { NodeSource, StateNode } from "../../protocol/state-tree.ts";
import { State } from "../../protocol/state.ts";
import { anyDelta, anyId, bitsOf, cidsOf, naiveRoot, sum } from "../fixtures/state.ts";

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
      fc.property(fc.array(anyDelta, { minLength: 1, maxLength: 4 }), anyId, (deltas, id) => {
        const state = deltas.reduce((before, delta, i) => before.after(delta, i * 10), State.EMPTY);
        const all = sum(deltas);
        for (const [touched, cids] of all) {
          const room = state.room(touched);
          expect(room?.range.size).to.equal(cids.length);
          expect(room?.lastIndex).to.equal(deltas.findLastIndex((delta) => delta.has(touched)) * 10);
        }
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

/** Nodes in a map, as a database would keep them; it notes what it is asked for. */
class SavedNodes implements NodeSource {
  readonly nodes = new Map<string, StateNode>();
  asked: string[] = [];

  node(prefix: string): StateNode | undefined {
    this.asked.push(prefix);
    return this.nodes.get(prefix);
  }

  refusal(prefix: string): Error {
    return new RangeError(`refused at "${prefix}"`);
  }

  /** @returns the prefixes that were written */
  save(state: State): string[] {
    const written = [...state.unsaved()];
    for (const { prefix, node } of written) this.nodes.set(prefix, node);
    this.asked = [];
    return written.map(({ prefix }) => prefix);
  }
}

describe("A saved state", () => {
  it("is the same state, whenever it is saved and opened again between deltas", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyDelta, fc.boolean()), { minLength: 1, maxLength: 8 }), (steps) => {
        const source = new SavedNodes();
        let saved = State.EMPTY;
        let whole = State.EMPTY;
        steps.forEach(([delta, isReopened], i) => {
          saved = saved.after(delta, i);
          whole = whole.after(delta, i);
          expect(toHex(saved.root)).to.equal(toHex(naiveRoot(sum(steps.slice(0, i + 1).map(([each]) => each)))));
          if (!isReopened) return;
          source.save(saved);
          saved = State.open(saved.root, source);
        });
        expect([...saved.rooms()]).to.deep.equal([...whole.rooms()]);
      }),
    );
  });

  it("reads and writes nothing but the paths that a delta touches", () => {
    fc.assert(
      fc.property(anyDelta, anyDelta, (first, second) => {
        const source = new SavedNodes();
        const before = State.EMPTY.after(sum([first, new Map(manyRooms(200))]), 0);
        source.save(before);
        const after = State.open(before.root, source).after(second, 1);
        const paths = [...second.keys()].map(bitsOf);
        const isTouched = (prefix: string) => paths.some((path) => path.startsWith(prefix));
        expect(source.asked.filter((prefix) => !isTouched(prefix))).to.deep.equal([]);
        expect(source.asked).to.deep.equal([...new Set(source.asked)]);
        const written = source.save(after);
        // A room that was alone moves down when another comes beside it, and is written where it is then.
        const moved = written.filter((prefix) => !isTouched(prefix));
        for (const prefix of moved) {
          const node = source.nodes.get(prefix);
          expect(node).to.have.property("room");
          expect(isTouched(prefix.slice(0, -1))).to.equal(true);
        }
        expect([...State.open(after.root, source).rooms()]).to.deep.equal([...after.rooms()]);
      }),
    );
  });

  it("never gives a root from a node that is not the one that was saved", () => {
    const anyChange = fc.constantFrom("missing", "left", "right", "other room", "size", "hash", "another kind");
    fc.assert(
      fc.property(anyDelta, anyDelta, anyChange, fc.nat(), (first, second, change, at) => {
        const source = new SavedNodes();
        const before = State.EMPTY.after(sum([first, new Map(manyRooms(8))]), 0);
        source.save(before);
        const [prefix, node] = [...source.nodes][at % source.nodes.size]!;
        const changed = changedNode(node, change);
        if (changed === undefined) source.nodes.delete(prefix);
        else source.nodes.set(prefix, changed);
        const isNeeded = [...second.keys()].some((id) => bitsOf(id).startsWith(prefix));
        const act = () => toHex(State.open(before.root, source).after(second, 1).root);
        if (isNeeded && changed !== node) expect(act).to.throw(RangeError, `refused at "${prefix}"`);
        else expect(act()).to.equal(toHex(before.after(second, 1).root));
        if (changed !== node) expect(() => [...State.open(before.root, source).rooms()]).to.throw(RangeError);
      }),
    );
  });
});

function manyRooms(count: number): [RoomId, Cid[]][] {
  return Array.from({ length: count }, (_, i) => {
    const id = toHex(portable.sha256(Uint8Array.of(i))) as RoomId;
    return [id, cidsOf(id, 1)];
  });
}

/** Undefined for none; the node itself where the change does not apply to it. */
function changedNode(node: StateNode, change: string): StateNode | undefined {
  if (change === "missing") return undefined;
  if (change === "another kind")
    return "room" in node ? { left: new Uint8Array(32), right: new Uint8Array(32) } : undefined;
  if (!("room" in node)) {
    if (change !== "left" && change !== "right") return node;
    return { ...node, [change]: node[change].with(31, (node[change][31] ?? 0) ^ 1) };
  }
  const { id, range } = node.room;
  const [first = new Uint8Array(32), ...rest] = range.hashes;
  if (change === "other room")
    return { room: { ...node.room, id: `${id.slice(0, -1)}${id.endsWith("0") ? "1" : "0"}` as RoomId } };
  if (change === "size") return { room: { ...node.room, range: { ...range, size: range.size + 1 } } };
  if (change === "hash")
    return { room: { ...node.room, range: { ...range, hashes: [first.with(0, (first[0] ?? 0) ^ 1), ...rest] } } };
  return node;
}
