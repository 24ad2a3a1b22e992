import { join } from "node:path";

import type Database from "better-sqlite3";
import { expect } from "chai";
import fc from "fast-check";

import { History } from "../../indexer/history.ts";
import { MessageReader } from "../../indexer/message-reader.ts";
import { SignatureThreads } from "../../indexer/signature-threads.ts";
import { openIndex, type IndexDatabase } from "../../indexer/store/database.ts";
import type { Cid } from "../../protocol/cid.ts";
import { replay } from "../../protocol/replay/replay.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, History as Story } from "../fixtures/history.ts";
import { namedRows } from "../fixtures/named-rows.ts";
import { saidByReplay, saidByRows } from "../fixtures/replayed-rows.ts";

describe("the history in an index", function () {
  this.timeout(60_000);
  const folder = useFolder();
  const open = new Set<IndexDatabase>();
  let files = 0;

  afterEach(() => {
    for (const index of open) index.close();
    open.clear();
  });

  function openHistory(
    name = `index ${files++}`,
    reader = new MessageReader(),
  ): {
    history: History;
    database: Database.Database;
    readonly close: () => void;
  } {
    const index = openIndex(join(folder(), name), story.deployment, () => undefined);
    open.add(index);
    const close = (): void => {
      open.delete(index);
      index.close();
    };
    return { history: new History(index.database, story.deployment, reader), database: index.database, close };
  }

  function extend(history: History, events = story.events): void {
    const { blockNumber, blockHash } = events.at(-1)!;
    const cursor = { number: blockNumber, hash: blockHash, timestamp: 1, isProved: true };
    history.extend({ events, cursor, finalized: -1 });
  }

  function dump(database: Database.Database): unknown {
    return { ...namedRows(database), meta: database.prepare("SELECT * FROM meta ORDER BY name").all() };
  }

  function receiveMissing(history: History): void {
    while (history.missing.size > 0)
      history.receive(new Map([...history.missing].map((cid) => [cid, story.blocks.get(cid)!])));
  }

  /** Two lines of manifests, repeated and forged messages, a revocation, and a room that only the abandoned line has. */
  const story = new Story();
  for (const person of [ALICE, BOB, CAROL]) story.register(person);
  const room = story.room(ALICE, BOB);
  const [one, two, three] = [1, 2, 3].map((seq) => story.message(ALICE, BOB, { seq })) as [Cid, Cid, Cid];
  story.anchor(deltaOf([room, [one]]));
  const { tip } = story.replay();
  story.anchor(deltaOf([room, [two]], [story.room(ALICE, CAROL), [story.message(CAROL, ALICE)]]));
  const forged = story.message(BOB, ALICE, { signer: CAROL.identity() });
  story.anchor(deltaOf([room, [three, forged, one]]), tip);
  story.revoke(BOB);
  story.anchor(deltaOf([room, [story.message(BOB, ALICE)]]));

  it("is the same whatever the order in which content arrives, and after it was opened again", () => {
    const whole = openHistory();
    extend(whole.history);
    whole.history.receive(story.blocks);
    const expected = dump(whole.database);
    expect(whole.history.missing.size).to.equal(0);
    expect(saidByRows(whole.database)).to.deep.equal(saidByReplay(story.replay()));

    fc.assert(
      fc.property(
        fc.shuffledSubarray([...story.blocks.keys()], { minLength: story.blocks.size }),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 }),
        fc.integer({ min: 1, max: story.events.length - 1 }),
        (cids, sizes, split) => {
          const name = `index ${files++}`;
          const { history, database, close } = openHistory(name);
          extend(history, story.events.slice(0, split));
          let isExtended = false;
          for (let start = 0, i = 0; start < cids.length; i++) {
            const part = cids.slice(start, (start += sizes[i % sizes.length]!));
            history.receive(new Map(part.map((cid) => [cid, story.blocks.get(cid)!])));
            if (i === 2) {
              extend(history, story.events.slice(split));
              isExtended = true;
            }
          }
          if (!isExtended) extend(history, story.events.slice(split));
          // What came before anything waited for it was not kept.
          receiveMissing(history);
          expect(dump(database)).to.deep.equal(expected);
          close();
          const again = openHistory(name);
          expect(dump(again.database)).to.deep.equal(expected);
          again.close();
        },
      ),
      { numRuns: 30 },
    );
  });

  it("is the same when the work is divided into turns of one step, and says after each that more may be missing", () => {
    const whole = openHistory();
    extend(whole.history);
    receiveMissing(whole.history);
    const index = openIndex(join(folder(), `index ${files++}`), story.deployment, () => undefined);
    open.add(index);
    const deferred: (() => void)[] = [];
    let told = 0;
    const history = new History(index.database, story.deployment, new MessageReader(), {
      maxMs: 0,
      now: () => 0,
      defer: (next) => deferred.push(next),
      onTurn: () => (told += 1),
      onFailure: (error) => expect.fail(String(error)),
    });
    let turns = 0;
    const work = (): void => {
      for (let next = deferred.shift(); next !== undefined; next = deferred.shift()) {
        next();
        turns += 1;
      }
      expect(history.isBusy).to.equal(false);
    };
    extend(history);
    work();
    while (history.missing.size > 0) {
      history.receive(new Map([...history.missing].map((cid) => [cid, story.blocks.get(cid)!])));
      work();
    }
    expect(turns).to.be.greaterThan(5);
    expect(told).to.equal(turns);
    expect(dump(index.database)).to.deep.equal(dump(whole.database));
  });

  it("is the same when a block comes with all that it leads to, and that is then decided at once", () => {
    const [oneByOne, atOnce] = [openHistory(), openHistory()];
    for (const { history } of [oneByOne, atOnce]) extend(history);
    receiveMissing(oneByOne.history);
    let transactions = 0;
    atOnce.history.onCommit = () => (transactions += 1);
    atOnce.history.receive(story.blocks);
    expect(transactions).to.equal(1);
    expect(atOnce.history.missing.size).to.equal(0);
    expect(dump(atOnce.database)).to.deep.equal(dump(oneByOne.database));
    const changes = atOnce.history.changes.read(0, 1_000);
    expect(changes.filter((change) => change.kind === "message" && change.status === "missing")).to.deep.equal([]);
  });

  it("keeps the shards and heads that come with a manifest before its base does", () => {
    const { history } = openHistory();
    extend(history, story.events.slice(0, 5));
    const [first, second] = story.replay().anchors;
    const { rooms, heads } = second!.manifest!;
    history.receive(new Map([second!.event.cid!, ...rooms, ...heads].map((cid) => [cid, story.blocks.get(cid)!])));
    expect([...history.missing])
      .to.include(first!.event.cid!)
      .and.not.to.include.members([...rooms, ...heads]);
    for (const cid of [...rooms, ...heads]) expect(history.block(cid)).to.deep.equal(story.blocks.get(cid));
  });

  it("keeps no block that nothing waits for, and takes it when it comes again", () => {
    const { history, database } = openHistory();
    history.receive(story.blocks);
    expect(database.prepare("SELECT count(*) FROM content").pluck().get()).to.equal(0);
    expect([...story.blocks.keys()].filter((cid) => history.block(cid) !== undefined)).to.deep.equal([]);
    extend(history);
    history.receive(story.blocks);
    expect(saidByRows(database)).to.deep.equal(saidByReplay(story.replay()));
  });

  it("is the same when messages were read ahead, by keys that were known and by keys that were not", async () => {
    const threads = new SignatureThreads({ count: 1, startAfter: 1 });
    const [expected, ahead] = [openHistory(), openHistory(undefined, new MessageReader(threads))];
    for (const { history } of [expected, ahead]) extend(history, story.events.slice(0, 2));
    await ahead.history.readAhead(story.blocks.values());
    threads.close();
    for (const { history } of [expected, ahead]) {
      extend(history, story.events.slice(2));
      history.receive(story.blocks);
      receiveMissing(history);
    }
    expect(dump(ahead.database)).to.deep.equal(dump(expected.database));
    expect(saidByRows(ahead.database)).to.deep.equal(saidByReplay(story.replay()));
  });

  it("reads ahead on a disk that can't be read, and says nothing", async () => {
    const broken = (): never => {
      throw new Error("the disk failed");
    };
    await new MessageReader().readAhead(story.blocks.values(), broken);
  });

  it("finds that a CID was anchored before, whatever is there of the first, and only then", () => {
    const twice = new Story();
    for (const person of [ALICE, BOB]) twice.register(person);
    const first = twice.anchor(deltaOf([twice.room(ALICE, BOB), [twice.message(ALICE, BOB)]]));
    const { rooms, heads } = twice.replay().anchors[0]!.manifest!;
    // A shard is no manifest, and was not anchored before as one.
    const shard = twice.anchorText(rooms[0]!);
    const [second, third] = [twice.anchorText(first.text), twice.anchorText(first.text)];
    const order = [first.cid!, ...rooms, ...heads, ...twice.blocks.keys()];
    const said = (have: ReadonlySet<Cid>): unknown =>
      saidByReplay(twice.replay((cid) => (have.has(cid) ? twice.get(cid) : undefined)));
    for (let count = 0; count <= order.length; count++) {
      const name = `index ${files++}`;
      const have = new Set(order.slice(0, count));
      const before = openHistory(name);
      extend(before.history, twice.events.slice(0, -3));
      for (const cid of have) before.history.receive(new Map([[cid, twice.blocks.get(cid)!]]));
      before.close();
      const { history, database } = openHistory(name);
      extend(history, [shard, second]);
      extend(history, [third]);
      expect(saidByRows(database), `${count} blocks`).to.deep.equal(said(have));
      const codes = database.prepare("SELECT code FROM anchors ORDER BY anchor_index DESC LIMIT 2").pluck().all();
      expect(codes).to.deep.equal(["ANCHOR_REPEATED", "ANCHOR_REPEATED"]);
      for (const cid of order) history.receive(new Map([[cid, twice.blocks.get(cid)!]]));
      expect(saidByRows(database)).to.deep.equal(saidByReplay(twice.replay()));
    }
  });

  it("says of an anchor what it lacks, block by block", () => {
    const { history, database } = openHistory();
    extend(history, story.events.slice(0, 4));
    const lacks = (): unknown[] =>
      database.prepare("SELECT cid FROM parts WHERE status = 'missing' ORDER BY part").pluck().all();
    const { manifest, event } = story.replay().anchors[0]!;
    const parts = [...manifest!.rooms, ...manifest!.heads];
    // Heads are needed once all that the shards list is known.
    for (const [cid, left] of [
      [event.cid!, manifest!.rooms],
      [manifest!.rooms[0]!, manifest!.heads],
      [manifest!.heads[0]!, []],
    ] as const) {
      expect(history.missing.has(cid)).to.equal(true);
      history.receive(new Map([[cid, story.blocks.get(cid)!]]));
      expect(lacks()).to.deep.equal(left);
    }
    expect([...history.missing].filter((cid) => parts.includes(cid))).to.deep.equal([]);
  });

  it("takes back any number of blocks, and comes to the same again", () => {
    const { history, database } = openHistory();
    extend(history);
    history.receive(story.blocks);
    const expected = dump(database);
    for (let keep = story.events.length - 1; keep >= 0; keep--) {
      const ancestor = story.events[keep - 1];
      // Nothing is final here, so there is no alarm.
      history.reorganize(ancestor === undefined ? null : { number: ancestor.blockNumber, hash: ancestor.blockHash });
      const shorter = replay(story.deployment, story.events.slice(0, keep), story.get);
      expect(saidByRows(database), `the first ${keep}`).to.deep.equal(saidByReplay(shorter));
      expect(history.counts.anchors + history.counts.keys).to.equal(keep);
      extend(history, story.events.slice(keep));
      expect(dump(database), `from ${keep}`).to.deep.equal(expected);
    }
  });

  it("is what it was after a write that failed, and takes it the next time", () => {
    const { history, database } = openHistory();
    extend(history, story.events.slice(0, 4));
    const before = dump(database);
    const { counts } = history;
    const missing = [...history.missing];
    const large = new Map(story.blocks).set(one, new Uint8Array(1_000_000));
    const pages = String(database.pragma("max_page_count", { simple: true }));
    database.pragma(`max_page_count = ${String(database.pragma("page_count", { simple: true }))}`);
    expect(() => history.receive(large)).to.throw(/full/);
    database.pragma(`max_page_count = ${pages}`);
    expect(dump(database)).to.deep.equal(before);
    expect(history.counts).to.deep.equal(counts);
    expect([...history.missing]).to.have.members(missing);

    // Here the projection has taken the events by the time that the write fails.
    database.exec("CREATE TRIGGER fails BEFORE INSERT ON anchors BEGIN SELECT RAISE(ABORT, 'the disk failed'); END");
    expect(() => extend(history, story.events.slice(4))).to.throw(/the disk failed/);
    database.exec("DROP TRIGGER fails");
    expect(history.counts).to.deep.equal(counts);
    expect(dump(database)).to.deep.equal(before);
    extend(history, story.events.slice(4));
    history.receive(story.blocks);
    expect(history.missing.size).to.equal(0);
    expect(saidByRows(database)).to.deep.equal(saidByReplay(story.replay()));
  });

  it("goes on from its rows after it was opened again, and looks at no block for that", () => {
    const { history, database, close } = openHistory("goes on");
    extend(history, story.events.slice(0, 6));
    history.receive(story.blocks);
    const lacking = story.message(ALICE, BOB, { seq: 9 });
    story.anchor(deltaOf([room, [lacking]]));
    database.exec("DELETE FROM content");
    const before = dump(database);
    close();
    const again = openHistory("goes on");
    expect(dump(again.database)).to.deep.equal(before);
    expect(again.history.missing.size).to.equal(0);
    // What comes now is judged by what the rows say: keys, the tip, and its state.
    extend(again.history, story.events.slice(6));
    while (again.history.missing.size > 0) {
      again.history.receive(new Map([...again.history.missing].map((cid) => [cid, story.blocks.get(cid)!])));
    }
    expect(saidByRows(again.database)).to.deep.equal(saidByReplay(story.replay()));
  });

  it("asks for a long line of anchors in a few rounds, not in as many as there are anchors", () => {
    const long = new Story();
    long.register(ALICE);
    long.register(BOB);
    for (let seq = 1; seq <= 60; seq++) long.anchor(deltaOf([room, [long.message(ALICE, BOB, { seq })]]));
    const { history } = openHistory();
    extend(history, long.events);
    let rounds = 0;
    for (; history.missing.size > 0; rounds++) {
      history.receive(new Map([...history.missing].map((cid) => [cid, long.blocks.get(cid)!])));
    }
    expect(rounds).to.be.at.most(4);
    const found = history.tip?.state.room(room);
    expect(found?.range.size).to.equal(60);
    expect(found).to.deep.equal(long.replay().roomState(room));
  });
});
