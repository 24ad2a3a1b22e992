import { expect } from "chai";

import { Fetcher } from "../../indexer/fetcher.ts";
import { cidOf, linkTo, type Cid } from "../../protocol/cid.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { DmtpError } from "../../protocol/error.ts";
import { MissingContent } from "../fixtures/missing-content.ts";
import { VirtualClock } from "../fixtures/virtual-clock.ts";

const BLOCKS = new Map([1, 2, 3].map((value) => encode([value])).map((bytes) => [cidOf(bytes), bytes]));
const [FIRST, SECOND] = [...BLOCKS.keys()] as [Cid, Cid];

describe("The fetcher", () => {
  let clock: VirtualClock;
  let missing: MissingContent;
  let asked: { readonly cid: Cid; readonly atMs: number }[];
  let delivered: Cid[];
  /** What was delivered together. */
  let batches: Cid[][];
  let answer: (cid: Cid) => Uint8Array | null;
  /** What comes to be missing when a block is there. */
  let linked: (cid: Cid) => readonly Cid[];

  beforeEach(() => {
    clock = new VirtualClock();
    missing = new MissingContent();
    asked = [];
    delivered = [];
    batches = [];
    linked = () => [];
  });

  function want(fetcher: Fetcher, cids: Iterable<Cid>): void {
    missing.add(cids);
    fetcher.want("newest");
  }

  function fetcherOf(random = () => 0.5, isLocal = false): Fetcher {
    const get = (cid: Cid): Promise<Uint8Array | null> => {
      asked.push({ cid, atMs: clock.now() });
      return Promise.resolve().then(() => answer(cid));
    };
    const getAll = async (cids: readonly Cid[]): Promise<ReadonlyMap<Cid, Uint8Array>> => {
      const found = await Promise.all(cids.map(async (cid) => [cid, await get(cid)] as const));
      return new Map(found.filter((pair): pair is [Cid, Uint8Array] => pair[1] !== null));
    };
    const content = {
      name: "scripted",
      get,
      ...(isLocal && { getAll }),
      put: () => Promise.resolve(),
      pin: () => Promise.resolve(),
      missing: () => Promise.resolve([]),
      isPinned: () => Promise.resolve([]),
      close: () => Promise.resolve(),
    };
    const fetcher = new Fetcher({
      content,
      missing: () => missing,
      log: () => undefined,
      clock,
      random,
      deliver: (blocks) => {
        batches.push([...blocks.keys()]);
        for (const cid of blocks.keys()) {
          delivered.push(cid);
          missing.arrive(cid);
          missing.add(linked(cid));
        }
        fetcher.want("newest");
      },
    });
    return fetcher;
  }

  async function runUntil(ms: number): Promise<void> {
    const marker = { isReached: false };
    clock.after(ms - clock.now(), () => (marker.isReached = true));
    while (!marker.isReached) {
      await new Promise(setImmediate);
      clock.next();
    }
    await new Promise(setImmediate);
  }

  it("fills in what appears after an hour, and asks ever more rarely until then", async () => {
    const fetcher = fetcherOf();
    answer = (cid) => (clock.now() < 3_600_000 ? null : BLOCKS.get(cid)!);
    want(fetcher, [FIRST]);
    await runUntil(3_600_000);
    expect(delivered).to.deep.equal([]);
    expect(fetcher.isSettled).to.equal(true);
    const waits = asked.slice(1).map(({ atMs }, i) => atMs - asked[i]!.atMs);
    expect(waits.slice(0, 9)).to.deep.equal([500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    await runUntil(3_700_000);
    expect(delivered).to.deep.equal([FIRST]);
    fetcher.stop();
  });

  it("spreads what went missing together", async () => {
    let turn = 0;
    const fetcher = fetcherOf(() => (turn++ % 2 === 0 ? 0 : 0.999));
    answer = () => null;
    want(fetcher, [FIRST, SECOND]);
    await runUntil(2_000);
    const second = [FIRST, SECOND].map((cid) => asked.filter((request) => request.cid === cid)[1]!.atMs);
    expect(Math.abs(second[0]! - second[1]!)).to.be.greaterThan(200);
    fetcher.stop();
  });

  it("delivers what a local store has with all that it leads to at once, and waits for nothing that is not there", async () => {
    const [known, unknown] = [encode(["known"]), encode(["unknown"])].map((bytes) => ({ cid: cidOf(bytes), bytes }));
    const root = encode([linkTo(known!.cid), linkTo(unknown!.cid)]);
    const has = new Map([known!.bytes, root].map((bytes) => [cidOf(bytes), bytes]));
    answer = (cid) => has.get(cid) ?? null;
    linked = (cid) =>
      cid === cidOf(root) ? [unknown!.cid, ...(batches[0]!.includes(known!.cid) ? [] : [known!.cid])] : [];
    for (const [isLocal, expected] of [
      [true, [[cidOf(root), known!.cid]]],
      [false, [[cidOf(root)], [known!.cid]]],
    ] as const) {
      batches = [];
      missing = new MissingContent();
      const fetcher = fetcherOf(undefined, isLocal);
      want(fetcher, [cidOf(root)]);
      await runUntil(clock.now() + 100);
      expect(batches).to.deep.equal(expected);
      expect(fetcher.isSettled).to.equal(true);
      fetcher.stop();
    }
  });

  it("takes other bytes than asked for as none, and asks again later, not at once", async () => {
    const fetcher = fetcherOf();
    answer = (cid) => (clock.now() < 5_000 ? BLOCKS.get(cid === FIRST ? SECOND : FIRST)! : BLOCKS.get(cid)!);
    want(fetcher, [FIRST]);
    await runUntil(4_000);
    expect(delivered).to.deep.equal([]);
    expect(asked.length).to.be.within(2, 4);
    await runUntil(10_000);
    expect(delivered).to.deep.equal([FIRST]);
    fetcher.stop();
  });

  it("asks for all that is due as soon as a store that was away is back", async () => {
    const fetcher = fetcherOf();
    answer = (cid) => {
      if (clock.now() < 100_000) throw new DmtpError("CONTENT_UNREACHABLE", "away");
      return BLOCKS.get(cid)!;
    };
    want(fetcher, BLOCKS.keys());
    await runUntil(99_000);
    expect(fetcher.isReachable).to.equal(false);
    await runUntil(200_000);
    expect(fetcher.isReachable).to.equal(true);
    expect(delivered.length).to.equal(3);
    fetcher.stop();
  });

  it("asks for what is new before what nobody has, and for that all the same", async () => {
    const fetcher = fetcherOf();
    const nobodys = Array.from({ length: 1_000 }, (_, i) => cidOf(encode(["nobody's", i])));
    answer = (cid) => BLOCKS.get(cid) ?? null;
    want(fetcher, nobodys);
    await runUntil(120_000);
    expect(fetcher.isSettled).to.equal(true);
    expect(fetcher.countAbsent(missing.size)).to.equal(1_000);
    // All of them are due again and again; in between comes something new.
    const before = asked.length;
    want(fetcher, [FIRST]);
    await runUntil(120_001);
    expect(delivered).to.deep.equal([FIRST]);
    expect(asked.slice(before).findIndex(({ cid }) => cid === FIRST)).to.be.lessThan(32);
    await runUntil(240_000);
    expect(new Set(asked.slice(before).map(({ cid }) => cid)).size).to.equal(1_001);
    fetcher.stop();
  });

  it("takes a shard's messages before the next shard", async () => {
    const fetcher = fetcherOf();
    const shards = Array.from({ length: 100 }, (_, i) => encode(["shard", i])).map(
      (bytes) => [cidOf(bytes), bytes] as const,
    );
    const all = new Map([...shards, ...BLOCKS]);
    answer = (cid) => all.get(cid)!;
    want(
      fetcher,
      shards.map(([cid]) => cid),
    );
    want(fetcher, BLOCKS.keys());
    await runUntil(1_000);
    const order = asked.map(({ cid }) => cid);
    expect(order.slice(0, 16)).to.deep.equal(shards.slice(0, 16).map(([cid]) => cid));
    expect(order.slice(16, 19)).to.deep.equal([...BLOCKS.keys()]);
    expect(delivered.length).to.equal(103);
    fetcher.stop();
  });

  describe("of a history of 2,000 anchors with 50 messages each", () => {
    const messages = new Map<Cid, readonly Cid[]>();
    const all = new Map<Cid, Uint8Array>();
    for (let anchor = 0; anchor < 2_000; anchor++) {
      const links = Array.from({ length: 50 }, (_, i) => encode(["message", anchor, i]));
      const manifest = encode(["manifest", anchor]);
      for (const bytes of [manifest, ...links]) all.set(cidOf(bytes), bytes);
      messages.set(cidOf(manifest), links.map(cidOf));
    }

    it("has only a part of it missing at any time", async () => {
      const fetcher = fetcherOf();
      let most = 0;
      linked = (cid) => messages.get(cid) ?? [];
      answer = (cid) => {
        let count = 0;
        for (const each of missing) if (!messages.has(each)) count += 1;
        most = Math.max(most, count);
        return all.get(cid) ?? null;
      };
      missing.add([...messages.keys()]);
      fetcher.want("history");
      await runUntil(10_000);
      expect(delivered.length).to.equal(all.size);
      expect(most).to.be.within(50, 10_000);
      fetcher.stop();
    });

    it("asks for the newest anchor before the rest of it", async () => {
      const fetcher = fetcherOf();
      linked = (cid) => messages.get(cid) ?? [];
      answer = (cid) => {
        if (asked.length >= 500 && !delivered.includes(FIRST) && !missing.has(FIRST)) want(fetcher, [FIRST]);
        return all.get(cid) ?? BLOCKS.get(cid) ?? null;
      };
      missing.add([...messages.keys()]);
      fetcher.want("history");
      await runUntil(10_000);
      expect(delivered.length).to.equal(all.size + 1);
      expect(asked.findIndex(({ cid }) => cid === FIRST)).to.be.within(500, 540);
      fetcher.stop();
    });
  });
});
