import { expect } from "chai";

import { FreshWants } from "../../indexer/fresh-wants.ts";
import { Sweep } from "../../indexer/sweep.ts";
import type { Want, WantCursor, WantKind, WantPage } from "../../indexer/want-list.ts";
import { WantQueue } from "../../indexer/want-queue.ts";
import { AskingWindows } from "../../io/asking-windows.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf } from "../../protocol/cid.ts";
import { MissingContent } from "../fixtures/missing-content.ts";
import { VirtualClock } from "../fixtures/virtual-clock.ts";

const REST_MS = 600_000;

function wants(name: string, count: number, anchorIndex: number): Want[] {
  return Array.from({ length: count }, (_, i) => ({ cid: cidOf(encode([name, i])), kind: "message", anchorIndex }));
}

describe("What is missing and not kept in memory", () => {
  let clock: VirtualClock;
  let sweep: Sweep;
  let asked: { readonly want: Want; readonly atMs: number }[];
  let kept: Set<string>;

  beforeEach(() => {
    clock = new VirtualClock();
    asked = [];
    kept = new Set();
    const onDue = (): void => {
      for (let want = take(); want !== undefined; want = take()) asked.push({ want, atMs: clock.now() });
    };
    const take = (): Want | undefined => sweep.take(({ cid }) => !kept.has(cid));
    sweep = new Sweep({ restMs: REST_MS, clock, onDue });
    const list = new MissingContent();
    list.add(
      wants("absent", 3_000, 1).map(({ cid }) => cid),
      "message",
      1,
    );
    sweep.reset(list);
    clock.after(0, onDue);
  });

  it("is asked for at a bounded pace, each block once, and after a rest again", () => {
    sweep.start();
    while (clock.next() && clock.now() <= 10_000);
    expect(asked.length).to.be.within(450, 502);
    while (asked.length < 3_000 && clock.next());
    expect(new Set(asked.map(({ want }) => want.cid)).size).to.equal(3_000);
    const endedAtMs = clock.now();
    while (asked.length < 3_001 && clock.next());
    expect(clock.now() - endedAtMs).to.be.within(REST_MS, REST_MS + 100);
  });

  it("is not asked for where everything is kept, and nothing is walked through any more", () => {
    expect(asked).to.deep.equal([]);
    kept = new Set(wants("absent", 3_000, 1).map(({ cid }) => cid));
    sweep.start();
    while (clock.next());
    expect(asked).to.deep.equal([]);
    expect(sweep.isOn).to.equal(false);
  });
});

describe("A survey of what is missing", () => {
  /** A thousand pages of one anchor, then one of another. */
  class LongList extends MissingContent {
    asked = 0;
    override page(kind: WantKind, after: WantCursor | null): WantPage {
      this.asked += 1;
      const [anchor, number] = after ?? [0, 0];
      if (kind !== "message") return { wants: [], next: null, nextAnchor: null };
      const isEnd = number === (anchor === 0 ? 999 : 0);
      const nextAnchor: WantCursor | null = anchor === 0 ? [1, 0] : null;
      const next: WantCursor | null = isEnd ? nextAnchor : [anchor, number + 1];
      return { wants: wants(`page ${anchor}.${number}`, 8, anchor), next, nextAnchor };
    }
  }

  it("reads a page of an anchor of which nothing is there, however much it lists, and all others", () => {
    const clock = new VirtualClock();
    const list = new LongList();
    const asked: Want[] = [];
    const onDue = (): void => {
      for (let next = queue.next(); next !== null; next = queue.next()) {
        asked.push(next.want);
        queue.begin(next);
        queue.absentNow(queue.end(next), next.lane);
      }
    };
    const options = { limit: 16, firstRetryMs: 500, maxRetryMs: 60_000, random: () => 0, clock, onDue };
    const queue = new WantQueue(options);
    queue.reset(list);
    queue.surveyAgain();
    onDue();
    while (queue.hasFresh && clock.next());
    expect(list.asked).to.be.at.most(8);
    expect(asked.some(({ anchorIndex }) => anchorIndex === 1)).to.equal(true);
  });
});

describe("What was not asked for yet", () => {
  it("makes room for what is newer, and says so", () => {
    let overflows = 0;
    const windows = new AskingWindows(16);
    const fresh = new FreshWants({ windows, onDrop: () => expect.fail(), onOverflow: () => (overflows += 1) });
    const [old, newer] = [wants("old", 65_536, 1), wants("newer", 300, 2)];
    for (const want of old) fresh.add(want, "newest");
    expect([fresh.size, overflows]).to.deep.equal([65_536, 0]);
    for (const want of newer) fresh.add(want, "newest");
    expect([fresh.size, overflows]).to.deep.equal([300, 1]);
    expect(fresh.take()).to.deep.equal(newer.at(-1));
  });
});
