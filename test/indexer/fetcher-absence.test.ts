import { expect } from "chai";

import { Fetcher } from "../../indexer/fetcher.ts";
import type { WantKind } from "../../indexer/want-list.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import { MissingContent } from "../fixtures/missing-content.ts";
import { VirtualClock } from "../fixtures/virtual-clock.ts";

/** As long as a gateway searches for what nobody has. */
const SEARCH_MS = 30_000;
const FOUND_MS = 50;

function absentCids(name: string, count: number): Cid[] {
  return Array.from({ length: count }, (_, i) => cidOf(encode([name, i])));
}

/** A fetcher, and a source that gives blocks soon and searches long for what it does not have. */
class World {
  readonly clock = new VirtualClock();
  readonly missing = new MissingContent();
  readonly blocks = new Map<Cid, Uint8Array>();
  /** When each block was asked for. */
  readonly asked: { readonly cid: Cid; readonly atMs: number }[] = [];
  readonly deliveredAtMs = new Map<Cid, number>();
  readonly logs: string[] = [];
  /** Blocks that were not found, and of those, how many were being searched for again at most. */
  private readonly notFound = new Set<Cid>();
  private searchedAgain = 0;
  mostSearchedAgain = 0;
  failDelivery = false;
  readonly fetcher: Fetcher;

  constructor(searchMs = SEARCH_MS) {
    const { clock } = this;
    const get = async (cid: Cid): Promise<Uint8Array | null> => {
      this.asked.push({ cid, atMs: clock.now() });
      const bytes = this.blocks.get(cid) ?? null;
      const isAgain = this.notFound.has(cid);
      if (isAgain) this.mostSearchedAgain = Math.max(this.mostSearchedAgain, ++this.searchedAgain);
      await clock.pause(bytes === null ? searchMs : FOUND_MS);
      if (isAgain) this.searchedAgain -= 1;
      if (bytes === null) this.notFound.add(cid);
      return bytes;
    };
    const nothing = () => Promise.resolve();
    const none = () => Promise.resolve([]);
    this.fetcher = new Fetcher({
      content: {
        name: "a slow source",
        get,
        put: nothing,
        pin: nothing,
        missing: none,
        isPinned: none,
        close: nothing,
      },
      missing: () => this.missing,
      log: (line) => this.logs.push(line),
      clock,
      random: () => 0.5,
      deliver: (blocks) => {
        if (this.failDelivery) throw new Error("no room on the disk");
        for (const cid of blocks.keys()) {
          this.deliveredAtMs.set(cid, clock.now());
          this.missing.arrive(cid);
        }
      },
    });
  }

  want(cids: Iterable<Cid>, kind: WantKind, anchorIndex: number | null): void {
    this.missing.add(cids, kind, anchorIndex);
    this.fetcher.want("newest");
  }

  /** Blocks that the source has. */
  make(name: string, count: number): Cid[] {
    return Array.from({ length: count }, (_, i) => {
      const bytes = encode([name, i]);
      this.blocks.set(cidOf(bytes), bytes);
      return cidOf(bytes);
    });
  }

  async runUntil(ms: number): Promise<void> {
    const marker = { isReached: false };
    this.clock.after(ms - this.clock.now(), () => (marker.isReached = true));
    while (!marker.isReached) {
      await new Promise(setImmediate);
      this.clock.next();
    }
    await new Promise(setImmediate);
  }

  /** How long it takes until new messages of an anchor are all delivered. */
  async serve(name: string, anchorIndex: number, count = 300): Promise<number> {
    const cids = this.make(name, count);
    const startedAtMs = this.clock.now();
    this.want(cids, "message", anchorIndex);
    await this.runUntil(startedAtMs + 20_000);
    return Math.max(...cids.map((cid) => this.deliveredAtMs.get(cid) ?? Infinity)) - startedAtMs;
  }
}

describe("The fetcher, at a source that searches for 30 s", () => {
  let undisturbedMs: number;
  let world: World;

  before(async () => {
    const alone = new World();
    undisturbedMs = await alone.serve("alone", 1);
    alone.fetcher.stop();
    expect(undisturbedMs).to.be.within(900, 1_300);
  });
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.fetcher.stop());

  it("serves new messages in the time without them beside 200 strangers' keys with digests of nothing", async () => {
    const documents = absentCids("a stranger's key document", 200);
    world.want(documents, "document", null);
    await world.runUntil(10_000);
    expect(await world.serve("first", 1)).to.be.at.most(1.2 * undisturbedMs);
    // Nobody waits for them: who asks is told that the index is complete.
    expect(world.fetcher.isSettled).to.equal(true);
    // And when each of them was asked for, again and again.
    await world.runUntil(8 * 3_600_000);
    expect(new Set(world.asked.map(({ cid }) => cid)).size).to.equal(500);
    expect(await world.serve("second", 2)).to.be.at.most(1.2 * undisturbedMs);
  }).timeout(20_000);

  it("serves new messages in the time without them beside 32 messages and 200 key documents that nobody has", async () => {
    world.want(absentCids("an absent message", 32), "message", 0);
    world.want(absentCids("a stranger's key document", 200), "document", null);
    // While all of them are searched for the first time, and at any time after.
    const times = [await world.serve("at once", 1)];
    for (const atMs of [60_000, 600_000, 3_600_000]) {
      await world.runUntil(atMs);
      times.push(await world.serve(`after ${atMs} ms`, 2 + times.length));
    }
    for (const tookMs of times) expect(tookMs).to.be.at.most(1.2 * undisturbedMs);
  }).timeout(20_000);

  it("asks for a document that nobody has after a minute, and then with hours in between", async () => {
    const [document] = absentCids("a document", 1);
    world.want([document!], "document", null);
    await world.runUntil(24 * 3_600_000);
    const waits = world.asked.slice(1).map(({ atMs }, i) => atMs - world.asked[i]!.atMs - SEARCH_MS);
    expect(waits.slice(0, 4)).to.deep.equal([60_000, 3_600_000, 7_200_000, 14_400_000]);
  });

  it("asks for a document like any other block once an anchor names it", async () => {
    const [document] = absentCids("a document", 1);
    world.want([document!], "document", null);
    await world.runUntil(40_000);
    world.blocks.set(document!, encode(["a document", 0]));
    world.want([document!], "message", 1);
    await world.runUntil(41_000);
    expect([...world.deliveredAtMs.keys()]).to.deep.equal([document]);
  });

  it("gives what was not found two of sixteen requests", async () => {
    for (let anchor = 0; anchor < 200; anchor++) world.want(absentCids(`anchor ${anchor}`, 1), "anchor", anchor);
    await world.runUntil(600_000);
    expect(world.fetcher.countAbsent(world.missing.size)).to.equal(200);
    expect(await world.serve("new", 1_000)).to.be.at.most(1.2 * undisturbedMs);
    await world.runUntil(1_800_000);
    expect(world.mostSearchedAgain).to.equal(2);
  });

  it("hardly asks for an anchor's 20,000 digests of nothing, and asks for all once the first is found", async () => {
    const nothing = absentCids("nothing", 20_000);
    world.want(nothing, "message", 1);
    await world.runUntil(1_000);
    expect(world.asked.length).to.equal(4);
    await world.runUntil(120_000);
    expect(world.fetcher.isSettled).to.equal(true);
    expect(world.asked.length).to.be.lessThan(30);
    expect(await world.serve("new", 2)).to.be.at.most(1.2 * undisturbedMs);
    expect(world.make("nothing", 20_000)).to.deep.equal(nothing);
    const before = world.clock.now();
    await world.runUntil(before + 100_000);
    expect(nothing.filter((cid) => !world.deliveredAtMs.has(cid))).to.deep.equal([]);
  }).timeout(60_000);

  it("asks for a message like any other once an anchor names it that is not doubtful, whoever named it before", async () => {
    const [asked, unasked] = absentCids("listed before it was stored", 2) as [Cid, Cid];
    // What is listed first is asked for first: the rest waits, as that of a doubtful anchor.
    world.want([asked, ...absentCids("nothing", 2_000), unasked], "message", 1);
    await world.runUntil(3_600_000);
    expect(world.asked.map(({ cid }) => cid))
      .to.include(asked)
      .and.not.to.include(unasked);
    world.make("listed before it was stored", 2);
    world.want([asked, unasked], "message", 2);
    await world.runUntil(3_601_000);
    expect(world.deliveredAtMs.has(asked)).to.equal(true);
    expect(world.deliveredAtMs.has(unasked)).to.equal(true);
    // An anchor of which little is there gains nothing by naming the same once more.
    const before = world.asked.length;
    world.want(absentCids("nothing", 2_000), "message", 3);
    await world.runUntil(3_602_000);
    expect(world.asked.length - before).to.be.at.most(6);
  }).timeout(20_000);
});

describe("The fetcher, at a source that knows at once what it does not have", () => {
  it("serves a block that is a second late within a second, beside a thousand that nobody has", async () => {
    const world = new World(1);
    for (let anchor = 0; anchor < 1_000; anchor++) world.want(absentCids(`anchor ${anchor}`, 1), "anchor", anchor);
    await world.runUntil(600_000);
    const late = absentCids("late", 1);
    world.want(late, "message", 1_000);
    await world.runUntil(601_000);
    world.make("late", 1);
    await world.runUntil(602_000);
    expect([...world.deliveredAtMs.keys()]).to.deep.equal(late);
    world.fetcher.stop();
  });

  it("fetches all of more than it keeps in memory, past an anchor's digests of nothing", async () => {
    const world = new World(1);
    world.missing.add(absentCids("nothing", 70_000), "message", 0);
    const cids = world.make("block", 70_000);
    for (let anchor = 1; anchor <= 7; anchor++)
      world.missing.add(cids.slice(10_000 * (anchor - 1), 10_000 * anchor), "message", anchor);
    world.fetcher.want("history");
    await world.runUntil(400_000);
    expect(world.deliveredAtMs.size).to.equal(70_000);
    expect(world.fetcher.isSettled).to.equal(true);
    expect(world.fetcher.countAbsent(world.missing.size)).to.be.within(1, 70_000);
    // What was not kept has its turn all the same.
    world.make("nothing", 70_000);
    await world.runUntil(1_500_000);
    expect(world.missing.size).to.equal(0);
    world.fetcher.stop();
  }).timeout(120_000);

  it("keeps what the disk does not take, asks for no more than that, and delivers it when there is room", async () => {
    const world = new World();
    world.failDelivery = true;
    const cids = world.make("block", 20);
    world.want(cids, "message", 1);
    await world.runUntil(3_000);
    expect(world.asked.length).to.equal(20);
    expect(world.logs[0]).to.match(/could not be stored/);
    world.failDelivery = false;
    await world.runUntil(5_000);
    expect([...world.deliveredAtMs.keys()]).to.have.members(cids);
    expect(world.asked.length).to.equal(20);
    world.fetcher.stop();
  });
});
