import { expect } from "chai";
import fc from "fast-check";

import { concat, fromHex, toHex, uint64 } from "../../protocol/bytes.ts";
import { bytesOfCid, type Cid } from "../../protocol/cid.ts";
import { portable } from "../../protocol/crypto/portable.ts";
import { append, EMPTY_RANGE, rootOf } from "../../protocol/merkle.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { NodeSource, RoomState, SavedBranch } from "../../protocol/state-tree.ts";
import { State } from "../../protocol/state.ts";
import { anyDelta, anyId, cidsOf, naiveRoot, sum } from "../fixtures/state.ts";

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

  it("is without the rooms that are taken out what it would be had they never been", () => {
    fc.assert(
      fc.property(anyDelta, anyDelta, anyDelta, fc.array(anyId, { maxLength: 3 }), (kept, taken, put, others) => {
        const before = State.EMPTY.after(sum([kept, taken]), 0);
        const rooms = State.EMPTY.after(put, 1).rooms();
        const after = before.changed(rooms, [...taken.keys(), ...others]);
        const left = [...kept].filter(([id]) => !taken.has(id) && !others.includes(id) && !put.has(id));
        expect(toHex(after.root)).to.equal(toHex(naiveRoot(sum([new Map(left), put]))));
        expect([...after.rooms()].map(({ id }) => id)).to.deep.equal([...left.map(([id]) => id), ...put.keys()].sort());
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
  readonly branches = new Map<string, SavedBranch>();
  readonly roomStates = new Map<RoomId, RoomState>();
  asked: string[] = [];

  branch(prefix: string): SavedBranch | undefined {
    this.asked.push(prefix);
    return this.branches.get(prefix);
  }

  room(prefix: string): RoomState | undefined {
    return [...this.roomStates.values()].find(({ id }) => digitsOf(id).startsWith(prefix));
  }

  refusal(prefix: string): Error {
    return new RangeError(`refused at "${prefix}"`);
  }

  /** @returns what was written: the prefixes of branches, the whole ids of rooms */
  save(state: State): string[] {
    const written = [...state.unsaved()];
    for (const node of written) {
      if ("room" in node) this.roomStates.set(node.room.id, node.room);
      else this.branches.set(node.prefix, node.branch);
    }
    this.asked = [];
    return written.map((node) => ("room" in node ? digitsOf(node.room.id) : node.prefix));
  }
}

function digitsOf(id: RoomId): string {
  return id.slice(2);
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

  it("is the same state after rooms were taken out and it was saved over what was there", () => {
    fc.assert(
      fc.property(anyDelta, anyDelta, anyDelta, (kept, taken, put) => {
        const source = new SavedNodes();
        const before = State.EMPTY.after(sum([kept, taken]), 0);
        source.save(before);
        const after = State.open(before.root, source).changed(State.EMPTY.after(put, 1).rooms(), taken.keys());
        for (const id of taken.keys()) {
          source.roomStates.delete(id);
          for (let digits = 0; digits < 64; digits++) source.branches.delete(digitsOf(id).slice(0, digits));
        }
        source.save(after);
        expect([...State.open(after.root, source).rooms()]).to.deep.equal([...after.rooms()]);
        const left = [...kept].filter(([id]) => !taken.has(id) && !put.has(id));
        expect(toHex(after.root)).to.equal(toHex(naiveRoot(sum([new Map(left), put]))));
        // Nothing is left over: a state that was saved on its own has the same branches.
        const fresh = new SavedNodes();
        fresh.save(State.of(after.rooms()));
        expect([...source.branches.keys()].sort()).to.deep.equal([...fresh.branches.keys()].sort());
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
        const paths = [...second.keys()].map(digitsOf);
        const isTouched = (prefix: string) => paths.some((path) => path.startsWith(prefix));
        expect(source.asked.filter((prefix) => !isTouched(prefix))).to.deep.equal([]);
        expect(source.asked).to.deep.equal([...new Set(source.asked)]);
        const known = new Set([...source.roomStates.keys()].map(digitsOf));
        // A room that was alone where another came is written again; whichever it is, it was there before.
        for (const written of source.save(after)) if (!isTouched(written)) expect(known).to.include(written);
        expect([...State.open(after.root, source).rooms()]).to.deep.equal([...after.rooms()]);
      }),
    );
  });

  it("never gives a root from a branch that is not the one that was saved", () => {
    fc.assert(
      fc.property(anyDelta, anyDelta, fc.nat(), fc.nat(), fc.nat(5), (first, second, at, which, change) => {
        const source = new SavedNodes();
        const before = State.EMPTY.after(sum([first, new Map(manyRooms(40))]), 0);
        source.save(before);
        const [prefix, branch] = [...source.branches][at % source.branches.size]!;
        source.branches.set(prefix, changedBranch(branch, which, change));
        const act = () => toHex(State.open(before.root, source).after(second, 1).root);
        // Whether a lone room is marked as one is no part of a hash: the mark is either needed, and then its lack is found, or harmless.
        const root = codeOfRange(act);
        if (root !== null) expect(root).to.equal(toHex(before.after(second, 1).root));
        const isNeeded = [...second.keys()].some((id) => digitsOf(id).startsWith(prefix));
        if (isNeeded && change < 4) expect(root).to.equal(null);
        if (change < 4) expect(() => [...State.open(before.root, source).rooms()]).to.throw(RangeError);
      }),
    );
  });

  it("never gives a root from a room that is not the one that was saved", () => {
    const anyChange = fc.constantFrom("missing", "id", "size", "hash", "more", "less");
    fc.assert(
      fc.property(anyDelta, anyDelta, anyChange, fc.nat(), (first, second, change, at) => {
        const source = new SavedNodes();
        const before = State.EMPTY.after(sum([first, new Map(manyRooms(8))]), 0);
        source.save(before);
        const rooms = [...source.roomStates.values()];
        const room = rooms[at % rooms.length]!;
        source.roomStates.delete(room.id);
        const changed = changedRoom(room, change);
        if (changed !== undefined) source.roomStates.set(changed.id, changed);
        const root = codeOfRange(() => toHex(State.open(before.root, source).after(second, 1).root));
        if (root !== null) expect(root).to.equal(toHex(before.after(second, 1).root));
        if (second.has(room.id)) expect(root).to.equal(null);
        expect(() => [...State.open(before.root, source).rooms()]).to.throw(RangeError);
      }),
    );
  });
});

/** What it gives, or null when it is refused. */
function codeOfRange(act: () => string): string | null {
  try {
    return act();
  } catch (error) {
    if (error instanceof RangeError && error.message.startsWith("refused at")) return null;
    throw error;
  }
}

function manyRooms(count: number): [RoomId, Cid[]][] {
  return Array.from({ length: count }, (_, i) => {
    const id = toHex(portable.sha256(Uint8Array.of(i))) as RoomId;
    return [id, cidsOf(id, 1)];
  });
}

/** The first four changes change what it hashes to; a flag does so only where a room is alone. */
function changedBranch(branch: SavedBranch, which: number, change: number): SavedBranch {
  const taken = branch.flatMap((way, digit) => (way === null ? [] : [digit]));
  const digit = taken[which % taken.length]!;
  const way = branch[digit]!;
  switch (change) {
    case 0:
      return branch.with(digit, null);
    case 1:
      return branch.with(digit, { ...way, hash: way.hash.with(31, (way.hash[31] ?? 0) ^ 1) });
    case 2:
      return branch.map(() => null);
    case 3:
      return branch.with(digit, { ...way, hash: new Uint8Array(32).fill(which) });
    default:
      return branch.with(digit, { ...way, isRoom: !way.isRoom });
  }
}

/** Undefined for none. */
function changedRoom(room: RoomState, change: string): RoomState | undefined {
  const { id, range } = room;
  const [first = new Uint8Array(32), ...rest] = range.hashes;
  switch (change) {
    case "id":
      return { ...room, id: `${id.slice(0, -1)}${id.endsWith("0") ? "1" : "0"}` as RoomId };
    case "size":
      return { ...room, range: { ...range, size: range.size + 1 } };
    case "hash":
      return { ...room, range: { ...range, hashes: [first.with(0, (first[0] ?? 0) ^ 1), ...rest] } };
    case "more":
      return { ...room, range: { ...range, hashes: [...range.hashes, first] } };
    case "less":
      return { ...room, range: { ...range, hashes: rest } };
    default:
      return undefined;
  }
}
