import { expect } from "chai";
import fc from "fast-check";

import { toHex } from "../../protocol/bytes.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { NodeLink, NodeRow } from "../../protocol/state-nodes.ts";
import type { RoomState } from "../../protocol/state-tree.ts";
import { sortByKeySteps, State } from "../../protocol/state.ts";
import { finish } from "../../protocol/steps.ts";
import { SavedNodes, unlessRefused } from "../fixtures/saved-nodes.ts";
import { anyDelta, manyRooms, naiveNodes, naiveRoot, sum, type RoomCids } from "../fixtures/state.ts";

describe("A saved state", () => {
  it("is the same state, whenever it is saved and opened again between deltas", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyDelta, fc.boolean()), { minLength: 1, maxLength: 8 }), (steps) => {
        const store = new SavedNodes();
        let saved = State.EMPTY;
        let whole = State.EMPTY;
        steps.forEach(([delta, isReopened], i) => {
          saved = saved.after(delta, i);
          whole = whole.after(delta, i);
          expect(toHex(saved.root)).to.equal(toHex(naiveRoot(sum(steps.slice(0, i + 1).map(([each]) => each)))));
          if (isReopened) saved = store.save(saved);
        });
        expect([...saved.rooms()]).to.deep.equal([...whole.rooms()]);
      }),
    );
  });

  it("stays what it was after others grew from it, and all of them are there at once", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyDelta, fc.nat()), { minLength: 1, maxLength: 8 }), (steps) => {
        const store = new SavedNodes();
        const versions: { readonly saved: State; readonly rooms: RoomCids }[] = [
          { saved: State.EMPTY, rooms: new Map() },
        ];
        steps.forEach(([delta, base], i) => {
          const { saved, rooms } = versions[base % versions.length]!;
          versions.push({ saved: store.save(saved.after(delta, i)), rooms: sum([rooms, delta]) });
        });
        for (const { saved, rooms } of versions) {
          const opened = store.reopen(saved);
          expect(toHex(State.of(opened.rooms()).root)).to.equal(toHex(naiveRoot(rooms)));
        }
      }),
    );
  });

  it("reads and writes nothing but the paths that a delta touches", () => {
    fc.assert(
      fc.property(anyDelta, anyDelta, (first, second) => {
        const store = new SavedNodes();
        const known = sum([first, new Map(manyRooms(24))]);
        const opened = store.save(State.EMPTY.after(known, 0));
        const after = opened.after(second, 1);
        expect(store.asked).to.have.lengthOf(new Set(store.asked).size);
        const isTouched = ({ rooms }: { readonly rooms: readonly RoomId[] }) => rooms.some((id) => second.has(id));
        const written = naiveNodes(sum([known, second])).filter(isTouched);
        // A room that comes in beside another has that one read to see where they part.
        expect(store.asked.length).to.be.at.most(written.length + second.size);
        const saved = after.save(after.nodes!);
        expect(store.written).to.equal(written.length);
        expect([...store.reopen(saved).rooms()]).to.deep.equal([...after.rooms()]);
      }),
    );
  });

  it("finds many rooms at once by reading each node once, and those that it has not in none", () => {
    const store = new SavedNodes();
    const rooms = manyRooms(400);
    const ids = rooms.map(([id]) => id);
    const opened = store.save(State.EMPTY.after(rooms.slice(0, 300), 4));
    const found = finish(opened.findSteps(ids, finish(sortByKeySteps(ids))));
    expect(found.map((leaf) => leaf?.id ?? null)).to.deep.equal(rooms.map(([id], at) => (at < 300 ? id : null)));
    for (const leaf of found.slice(0, 300)) expect(leaf?.room).to.deep.equal(opened.room(leaf!.id));
    expect(store.asked).to.have.lengthOf(2 * 300 - 1);
  });

  it("is written anew in another place, whole, and stays where it was", () => {
    const [here, there] = [new SavedNodes(), new SavedNodes()];
    const state = here.save(State.EMPTY.after(manyRooms(20), 0)).after(manyRooms(25).slice(15), 1);
    const copy = state.save(there.nodes);
    expect(there.written).to.equal(2 * 25 - 1);
    expect([...there.reopen(copy).rooms()]).to.deep.equal([...state.rooms()]);
    expect(() => state.link).to.throw(RangeError);
  });

  it("never gives a root from a node that is not the one that was saved", () => {
    fc.assert(
      fc.property(anyDelta, anyDelta, fc.nat(), fc.nat(), (first, second, at, change) => {
        const store = new SavedNodes();
        const before = State.EMPTY.after(sum([first, new Map(manyRooms(12))]), 0);
        const opened = store.save(before);
        const [ref, row] = [...store.rows][at % store.rows.size]!;
        const changes = "bit" in row ? BRANCH_CHANGES : ROOM_CHANGES;
        const changed = changes[change % changes.length]!(row as never);
        if (changed === undefined) store.rows.delete(ref);
        else store.rows.set(ref, changed);
        const root = unlessRefused(() => toHex(opened.after(second, 1).root));
        if (root !== null) expect(root).to.equal(toHex(before.after(second, 1).root));
        if (store.asked.includes(ref)) expect(root).to.equal(null);
        expect(() => [...store.reopen(opened).rooms()]).to.throw(RangeError, `refused at ${ref}`);
      }),
    );
  });
});

describe("A state that takes the place of another", () => {
  it("leaves nothing but itself when what is not in it any more is deleted, whether it grew from the other or not", () => {
    const anyLine = fc.array(anyDelta, { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(anyLine, anyLine, fc.boolean(), (line, next, isGrown) => {
        const store = new SavedNodes();
        const follow = (state: State, deltas: readonly RoomCids[], firstIndex = 0) =>
          deltas.reduce((before, delta, i) => before.after(delta, firstIndex + i), state);
        const stored = store.save(follow(State.EMPTY, line));
        const state = isGrown ? follow(stored, next, line.length) : follow(State.EMPTY, next).sharing(stored);
        const superseded = stored.superseded(state);
        const saved = state.save(stored.nodes!);
        for (const ref of superseded) expect(store.rows.delete(ref)).to.equal(true);
        const expected = follow(State.EMPTY, isGrown ? [...line, ...next] : next);
        const rooms = [...expected.rooms()];
        expect([...store.reopen(saved).rooms()]).to.deep.equal(rooms);
        expect(store.rows.size).to.equal(Math.max(0, 2 * rooms.length - 1));
      }),
    );
  });

  it("keeps every node that the other has, but those of rooms that another anchor touched last", () => {
    const store = new SavedNodes();
    const rooms = manyRooms(200);
    const stored = store.save(State.EMPTY.after(rooms, 0));
    const state = State.EMPTY.after(rooms.slice(0, 199), 0).after(rooms.slice(199), 1);
    expect(toHex(state.root)).to.equal(toHex(stored.root));
    const shared = state.sharing(stored);
    expect(shared.room(rooms[199]![0])?.lastIndex).to.equal(1);
    const path = naiveNodes(new Map(rooms)).filter((node) => node.rooms.includes(rooms[199]![0]));
    expect(stored.superseded(shared)).to.have.lengthOf(path.length);
    store.written = 0;
    shared.save(stored.nodes!);
    expect(store.written).to.equal(path.length);
    expect(State.of(stored.rooms()).sharing(stored).link).to.deep.equal(stored.link);
  });
});

type BranchRow = Extract<NodeRow, { readonly bit: number }>;

const otherHash = ({ ref, hash }: NodeLink): NodeLink => ({
  ref,
  hash: hash.slice(0, 31) + (hash.endsWith("x") ? "y" : "x"),
});

/** Each changes what the row hashes to, or what it leads to. */
const BRANCH_CHANGES: readonly ((row: BranchRow) => NodeRow | undefined)[] = [
  () => undefined,
  (row) => ({ ...row, bit: row.bit ^ 1 }),
  (row) => ({ ...row, left: otherHash(row.left) }),
  (row) => ({ ...row, right: otherHash(row.right) }),
  (row) => ({ ...row, left: row.right, right: row.left }),
  (row) => ({ id: `0x${"00".repeat(32)}` as RoomId, range: { size: row.bit, hashes: [] }, lastIndex: 0 }),
];

const ROOM_CHANGES: readonly ((row: RoomState) => NodeRow | undefined)[] = [
  () => undefined,
  (row) => ({ ...row, id: `${row.id.slice(0, -1)}${row.id.endsWith("0") ? "1" : "0"}` as RoomId }),
  (row) => ({ ...row, range: { ...row.range, size: row.range.size + 1 } }),
  ({ range, ...row }) => ({
    ...row,
    range: { ...range, hashes: range.hashes.map((hash) => hash.with(0, (hash[0] ?? 0) ^ 1)) },
  }),
  ({ range, ...row }) => ({ ...row, range: { ...range, hashes: [...range.hashes, new Uint8Array(32)] } }),
  ({ range, ...row }) => ({ ...row, range: { ...range, hashes: range.hashes.slice(1) } }),
];
