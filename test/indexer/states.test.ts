import { join } from "node:path";

import type Database from "better-sqlite3";
import { expect } from "chai";

import { History } from "../../indexer/history.ts";
import { openIndex, type IndexDatabase } from "../../indexer/store/database.ts";
import { StateRows } from "../../indexer/store/state-rows.ts";
import { fromHex, toHex, utf8 } from "../../protocol/bytes.ts";
import { portable } from "../../protocol/crypto/portable.ts";
import type { Tip } from "../../protocol/manifest.ts";
import { State, type Delta } from "../../protocol/state.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, deltaOf, History as Story } from "../fixtures/history.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { cidsOf, manyRooms } from "../fixtures/state.ts";

describe("The states in an index", function () {
  this.timeout(60_000);
  const folder = useFolder();
  let index: IndexDatabase;
  let story: Story;

  beforeEach(() => {
    story = new Story();
    index = openIndex(join(folder(), "index"), story.deployment, () => undefined);
  });
  afterEach(() => index.close());

  function anchorOn(base: Tip | null, delta: Delta): Tip {
    const draft = story.draft(delta, base);
    const { index: at } = story.anchorText(draft.cid);
    const state = (base?.state ?? State.EMPTY).after(delta, at);
    return { index: at, cid: draft.cid, seq: draft.manifest.seq, state };
  }

  /** Takes the newest events with their blocks. @returns how many rows that wrote */
  function take(history: History, database: Database.Database, count: number): number {
    const events = story.events.slice(-count);
    const { blockNumber, blockHash } = events.at(-1)!;
    const changes = database.prepare("SELECT total_changes()").pluck();
    const before = changes.get() as number;
    history.extend({
      events,
      cursor: { number: blockNumber, hash: blockHash, timestamp: 1, isProved: true },
      finalized: -1,
      blocks: story.blocks,
    });
    return (changes.get() as number) - before;
  }

  it("cost an anchor the path of what it touches, though it leads to another line than the anchor before, of 5,000 rooms", () => {
    const history = new History(index.database, story.deployment);
    const rooms = manyRooms(5_000);
    let honest = anchorOn(null, new Map(rooms));
    take(history, index.database, 1);
    const one = story.room(ALICE, BOB);
    for (let i = 0; i < 10; i++) {
      anchorOn(null, deltaOf([one, cidsOf(`fork ${i}`, 1)]));
      expect(take(history, index.database, 1), "onto a line of its own").to.be.lessThan(45);
      expect(toHex(history.tip!.state.root)).to.not.equal(toHex(honest.state.root));
      honest = anchorOn(honest, deltaOf([rooms[i]![0], cidsOf(`honest ${i}`, 1)]));
      expect(take(history, index.database, 1), "back onto the line of all").to.be.lessThan(45);
      expect(toHex(history.tip!.state.root)).to.equal(toHex(honest.state.root));
    }
  });

  it("are there of every verified anchor, in whatever line, after it was opened again, too", () => {
    const tips: Tip[] = [];
    const rooms = manyRooms(30);
    for (let i = 0; i < 12; i++) {
      const base = tips[i % 3 === 2 ? i - 2 : i - 1] ?? null;
      tips.push(anchorOn(base, deltaOf([rooms[i]![0], cidsOf(`${i}`, 2)], [rooms[i + 1]![0], cidsOf(`${i} too`, 1)])));
    }
    take(new History(index.database, story.deployment), index.database, 12);
    index.close();
    index = openIndex(join(folder(), "index"), story.deployment, () => undefined);
    const states = new StateRows(index.database);
    for (const { index: at, state } of tips) {
      expect([...states.stateAt(at).rooms()]).to.deep.equal([...state.rooms()]);
    }
    expect(states.tip).to.equal(11);
    expect(() => states.stateAt(12)).to.throw(RangeError);
  });

  it("are the same rows when keeping one was cut short, and leave none when the anchor is taken back", () => {
    // Or every row is a transaction of its own.
    index.database.exec("BEGIN");
    const states = new StateRows(index.database);
    // Thousands of rows: what of them differs would be no help.
    const rows = (): string => {
      const texts = index.database.prepare("SELECT id || hex(node) FROM state_nodes ORDER BY id").pluck().all();
      return `${texts.length} rows, ${toHex(portable.sha256(utf8(texts.join())))}`;
    };
    const grown = (from: StateRows, anchorIndex: number) => from.stateAt(0).after(manyRooms(1_500), anchorIndex);
    states.keep(0, State.EMPTY.after(manyRooms(100), 0));
    const kept = rows();
    const steps = states.keepSteps(1, grown(states, 1));
    expect(steps.next().done).to.equal(false);
    expect(rows()).to.not.equal(kept);
    const again = new StateRows(index.database);
    again.keep(1, grown(again, 1));
    const whole = rows();
    again.truncate(1);
    expect(rows()).to.equal(kept);
    again.keep(1, grown(again, 1));
    expect(rows()).to.equal(whole);
    // What was taken back is not remembered: the same numbers are other nodes now.
    again.truncate(1);
    const other = grown(again, 2);
    again.keep(1, other);
    expect(toHex(again.stateAt(1).root)).to.equal(toHex(other.root));
    expect([...again.stateAt(1).rooms()].every(({ lastIndex }) => lastIndex === 2)).to.equal(true);
    index.database.exec("COMMIT");
  });

  it("that are not what was written end the step, and are no verdict on any anchor", () => {
    const rooms = manyRooms(30);
    const tip = anchorOn(null, new Map(rooms));
    take(new History(index.database, story.deployment), index.database, 1);
    const [room] = rooms[7]!;
    anchorOn(tip, deltaOf([room, cidsOf("more", 1)]));
    const select = index.database.prepare("SELECT node FROM state_nodes WHERE instr(node, ?) > 0").pluck();
    const change = index.database.prepare("UPDATE state_nodes SET node = ? WHERE instr(node, ?) > 0");
    const good = select.get(fromHex(room)) as Buffer;
    // The last byte of how many messages the room has, and of its last anchor, which no hash covers.
    for (const at of [40, 48]) {
      const wrong = Buffer.from(good);
      wrong[at] = (wrong[at] ?? 0) ^ 2;
      expect(change.run(wrong, fromHex(room)).changes).to.equal(1);
      const history = new History(index.database, story.deployment);
      expect(codeOf(() => take(history, index.database, 1))).to.equal("DATABASE_DAMAGED");
      expect(history.counts.anchors).to.equal(1);
    }
    change.run(good, fromHex(room));
    const history = new History(index.database, story.deployment);
    take(history, index.database, 1);
    expect(history.tip?.index).to.equal(1);
  });
});
