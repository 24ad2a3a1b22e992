import { expect } from "chai";

import type { ChainFeed } from "../../io/chain/feed.ts";
import { countsAfter } from "../../io/chain/events/event-sequence.ts";
import type { Place } from "../../io/chain/agreement/node-view.ts";
import { gapOf } from "../../io/chain/events/missing-events.ts";
import type { Stretch } from "../../io/chain/events/block-range.ts";
import { toHex } from "../../protocol/bytes.ts";
import { cidOfDigest } from "../../protocol/cid.ts";
import type { ChainEvent } from "../../protocol/event.ts";
import type { FakeLog } from "../fixtures/fake-node.ts";
import { ALICE } from "../fixtures/history.ts";
import { Ledger, type Draft } from "../fixtures/ledger.ts";
import { LedgerNode, openFeed, type Fault } from "../fixtures/ledger-node.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const FAULTS: readonly Fault[] = [
  "refused",
  "timeout",
  "busy",
  "gateway",
  "html",
  "truncated",
  "wrong ids",
  "too large",
];

/** A chain of so many blocks, with an anchor in every third and a revocation in every fifth. */
function ledgerOf(blocks: number): Ledger {
  const ledger = new Ledger();
  while (ledger.head.number < blocks) {
    const { counts, number } = ledger.head;
    const drafts: Draft[] = [];
    if (number % 3 === 0) {
      const cid = cidOfDigest(fixedBytes(`anchor ${counts.anchors}`));
      drafts.push({ kind: "anchor", index: counts.anchors, cid, text: cid });
    }
    if (number % 5 === 0)
      drafts.push({ kind: "revocation", index: counts.keys, wallet: ALICE.address, version: counts.keys + 1 });
    ledger.mine(drafts);
  }
  return ledger;
}

async function drain(feed: ChainFeed, head: Stretch["last"]): Promise<void> {
  let blocks = 0;
  for await (const { last } of feed.stretches(null, head)) blocks = last.number;
  if (blocks !== head.number) throw new Error("the stretches end too early");
}

async function readAll(feed: ChainFeed, place: Place | null = null): Promise<Stretch[]> {
  const stretches: Stretch[] = [];
  const { block } = await feed.look(place);
  for await (const stretch of feed.stretches(place, block)) stretches.push(stretch);
  return stretches;
}

async function eventsOf(feed: ChainFeed): Promise<ChainEvent[]> {
  return (await readAll(feed)).flatMap(({ events }) => events);
}

async function failureOf(act: () => Promise<unknown>): Promise<unknown> {
  try {
    await act();
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

describe("The chain feed", function () {
  this.timeout(30_000);
  const ledger = ledgerOf(400);
  const all = ledger.eventsUpTo(ledger.head.hash);
  let node: LedgerNode;
  beforeEach(() => {
    node = new LedgerNode(ledger);
  });

  it("gives the same for ranges of 1, 10 and 2,000 blocks, 1, 4 and 16 at a time, in any order of answers", async () => {
    for (const maxRangeBlocks of [1, 10, 2_000]) {
      for (const concurrency of [1, 4, 16]) {
        let turn = 0;
        // The later a request came, the sooner it is answered.
        node.delay = async () => {
          for (let i = 20 - (turn++ % 20); i > 0; i--) await new Promise(setImmediate);
        };
        expect(await eventsOf(await openFeed([node], { maxRangeBlocks, concurrency }))).to.deep.equal(all);
      }
    }
  });

  it("proves that as many events were read up to a head as the contracts count there, and says of which there are more", async () => {
    const node = new LedgerNode(ledgerOf(40));
    const feed = await openFeed([node]);
    const { block } = await feed.look(null);
    const place = { number: block.number, hash: block.hash, counts: node.ledger.head.counts };
    await feed.prove(place);
    for (const contract of ["anchors", "keys"] as const) {
      const of = (more: number): Promise<unknown> =>
        failureOf(() =>
          feed.prove({ ...place, counts: { ...place.counts, [contract]: place.counts[contract] + more } }),
        );
      expect(gapOf(await of(-1))).to.deep.equal({ contract, isBefore: true, upTo: block.number });
      // Nothing was left out where less is counted than was read.
      const disagreement = await of(1);
      expect(disagreement).to.include({ code: "CHAIN_DISAGREES" });
      expect(gapOf(disagreement)).to.equal(null);
    }
    // Nor when the head is replaced before any one call of it.
    for (let moment = 1; moment <= 5; moment++) {
      const changing = new LedgerNode(ledgerOf(40));
      changing.maxBatch = 1;
      const changingFeed = await openFeed([changing]);
      await changingFeed.look(null);
      let calls = 0;
      changing.before = () => {
        calls += 1;
        if (calls !== moment) return;
        changing.ledger.drop(1);
        changing.ledger.mine([]);
      };
      const { hash } = changing.ledger.head;
      // One was left out; of the block that takes the place of its own, none is.
      const { counts: read } = changing.ledger.at(39)!;
      expect(await codeOfAsync(() => changingFeed.prove({ number: 40, hash, counts: read })), `${moment}`).to.equal(
        "CHAIN_DISAGREES",
      );
      expect(calls).to.be.at.least(moment);
    }
  });

  it("comes with the counts that the contracts have at its last block", async () => {
    const stretches = await readAll(await openFeed([node], { maxRangeBlocks: 90 }));
    expect(stretches.map(({ counts }) => counts)).to.deep.equal(
      [90, 180, 270, 360, 400].map((number) => ledger.at(number)!.counts),
    );
    expect(stretches.map(({ first, last }) => [first.number, last.number])).to.deep.equal([
      ...[1, 91, 181, 271, 361].map((from) => [from, Math.min(400, from + 89)]),
    ]);
    for (const { events } of stretches) expect(events).to.be.an("array");
  });

  describe("and an event that is left out", () => {
    const victims = [all[0]!, all[1]!, all[100]!, all.at(-2)!, all.at(-1)!];
    for (const victim of victims) {
      const title = `${victim.kind} ${victim.index} in block ${victim.blockNumber}`;
      const isVictim = (log: FakeLog): boolean =>
        log.blockHash === victim.blockHash && Number(log.logIndex) === victim.logIndex;

      it(`finds ${title} in the receipts of its block`, async () => {
        node.omits = isVictim;
        for (const maxRangeBlocks of [1, 7, 2_000])
          expect(await eventsOf(await openFeed([node], { maxRangeBlocks }))).to.deep.equal(all);
      });

      it(`finds ${title} with another node`, async () => {
        node.omits = isVictim;
        node.hasReceipts = false;
        const other = new LedgerNode(ledger, "other");
        expect(await eventsOf(await openFeed([node, other]))).to.deep.equal(all);
        other.omits = (log) => log.blockHash === all[50]!.blockHash;
        expect(await eventsOf(await openFeed([node, other]))).to.deep.equal(all);
      });

      it(`stops before ${title} when nobody has it, and says whose event is missing`, async () => {
        node.omits = isVictim;
        node.hasReceipts = false;
        const seen: ChainEvent[] = [];
        const feed = await openFeed([node], { maxRangeBlocks: 10 });
        const { block } = await feed.look(null);
        const error = await failureOf(async () => {
          for await (const { events } of feed.stretches(null, block)) seen.push(...events);
        });
        const contract = victim.kind === "anchor" ? "anchors" : "keys";
        expect(gapOf(error)?.contract).to.equal(contract);
        // What was given is what comes first on the chain, but for that event.
        expect(seen).to.deep.equal(all.filter((event) => event !== victim).slice(0, seen.length));
      });
    }

    it("is found by its state where receipts have to be searched, and without it near by", async () => {
      const victim = all[100]!;
      node.omits = (log) => log.blockHash === victim.blockHash;
      node.stateDepth = 0;
      expect(await eventsOf(await openFeed([node]))).to.deep.equal(all);
    });

    it("says that it lies in blocks that were read before", async () => {
      const victim = all.find(({ kind, index }) => kind === "anchor" && index === 50)!;
      const place: Place = {
        number: victim.blockNumber,
        hash: victim.blockHash,
        counts: { anchors: 50, keys: ledger.at(victim.blockNumber)!.counts.keys },
      };
      const error = await failureOf(async () => readAll(await openFeed([node]), place));
      expect(gapOf(error)).to.deep.equal({ contract: "anchors", isBefore: true, upTo: 400 });
    });

    it("is asked for by its index, where a single block has more than a node gives at once", async () => {
      node.maxLogs = 1;
      node.hasReceipts = false;
      expect(all.filter(({ blockNumber }) => blockNumber === 1)).to.have.length(2);
      expect(await eventsOf(await openFeed([node]))).to.deep.equal(all);
    });

    it("is found where a node cuts long answers off, without asking for every block's receipts", async () => {
      node.maxLogs = 20;
      expect(await eventsOf(await openFeed([node]))).to.deep.equal(all);
      expect(node.requests.flat()).not.to.include("eth_getBlockReceipts");
    });
  });

  describe("and a node that does not have what it gives", () => {
    it("refuses logs of a range whose last block it lacks", async () => {
      const feed = await openFeed([node]);
      const { block } = await feed.look(null);
      node.lag = 1;
      expect(await codeOfAsync(async () => drain(feed, block))).to.equal("CHAIN_DISAGREES");
      // At the level of a single block: the node says that it has it, and its logs come from one that does not.
      node.lag = 0;
      const place = { ...ledger.at(399)!, counts: ledger.at(399)!.counts };
      expect((await feed.look(place)).next?.events).to.deep.equal(ledger.head.events);
      node.before = ({ method }) => void (node.lag = method === "eth_getBlockByNumber" ? 0 : 1);
      expect((await feed.look(place)).next).to.equal(null);
    });

    const falsehoods: Record<string, (logs: FakeLog[]) => FakeLog[]> = {
      "a log of another block than asked for": ([log, ...rest]) => [{ ...log!, blockNumber: "0xffff" }, ...rest],
      "a log that was removed": ([log, ...rest]) => [{ ...log!, removed: true }, ...rest],
      "a log twice": (logs) => [...logs, logs.at(-1)!],
      "a log of a block that is not the chain's": ([log, ...rest]) => [
        { ...log!, blockHash: toHex(fixedBytes("foreign")) },
        ...rest,
      ],
      "an index twice": (logs) => [...logs, { ...logs.at(-1)!, logIndex: "0x1000" }],
    };
    for (const [title, tamper] of Object.entries(falsehoods)) {
      it(`refuses ${title}`, async () => {
        node.tamper = (logs) => (logs.length === 0 ? logs : tamper(logs));
        const feed = await openFeed([node]);
        expect(await codeOfAsync(() => readAll(feed))).to.equal("CHAIN_DISAGREES");
        node.tamper = (logs) => logs;
        expect(await eventsOf(feed)).to.deep.equal(all);
      });
    }

    it("refuses a chain that changes while it is read", async () => {
      const changing = ledgerOf(100);
      const other = new LedgerNode(changing);
      const feed = await openFeed([other], { maxRangeBlocks: 20, concurrency: 1 });
      const { block } = await feed.look(null);
      let isDropped = false;
      other.tamper = (logs, { from }) => {
        if (from > 40 && !isDropped) {
          isDropped = true;
          changing.drop(65);
          while (changing.head.number < 110) changing.mine([]);
        }
        return logs;
      };
      const seen: Stretch[] = [];
      const error = await codeOfAsync(async () => {
        for await (const stretch of feed.stretches(null, block)) seen.push(stretch);
      });
      expect(error).to.equal("CHAIN_DISAGREES");
      expect(seen.map(({ last }) => last.number)).to.deep.equal([20, 40]);
    });
  });

  describe("and a reorg while a gap is filled", () => {
    for (const [what, hasReceipts] of [
      ["from receipts", true],
      ["by its index", false],
    ] as const) {
      it(`never makes one stretch of two chains, ${what}`, async () => {
        const changing = ledgerOf(31);
        const first = new LedgerNode(changing);
        let isForked = false;
        const last = changing.head;
        first.omits = ({ blockHash }) => blockHash === last.hash;
        first.before = ({ method, params }) => {
          const { topics } = (params[0] ?? {}) as { readonly topics?: readonly unknown[] };
          const isMoment = hasReceipts ? method === "eth_getBlockReceipts" : topics?.length === 2;
          if (isForked || !isMoment) return;
          isForked = true;
          changing.drop(1);
          const { counts } = changing.head;
          const cid = cidOfDigest(fixedBytes("on the other chain"));
          changing.mine([
            { kind: "anchor", index: counts.anchors, cid, text: cid },
            { kind: "revocation", index: counts.keys, wallet: ALICE.address, version: counts.keys + 1 },
          ]);
        };
        const feed = await openFeed([first]);
        const { block } = await feed.look(null);
        expect(await codeOfAsync(() => drain(feed, block))).to.equal("CHAIN_DISAGREES");
        expect(isForked).to.equal(true);
        expect(await eventsOf(feed)).to.deep.equal(changing.eventsUpTo(changing.head.hash));
      });
    }
  });

  describe("and providers", () => {
    for (const fault of FAULTS) {
      it(`gets over an answer that is ${fault}`, async () => {
        const feed = await openFeed([node], { now: () => Infinity });
        let times = 0;
        node.fault = () => (times++ % 7 === 5 ? fault : null);
        const events: ChainEvent[] = [];
        let place: Place | null = null;
        for (let i = 0; i < 100 && place?.number !== 400; i++) {
          try {
            const { block } = await feed.look(place);
            for await (const stretch of feed.stretches(place, block)) {
              events.push(...stretch.events);
              const before: Place["counts"] = place?.counts ?? { anchors: 0, keys: 0 };
              place = { ...stretch.last, counts: countsAfter(stretch, before) };
            }
          } catch (error) {
            expect((error as { code?: unknown }).code).to.equal("CHAIN_UNREACHABLE");
          }
        }
        expect(events).to.deep.equal(all);
      });
    }

    it("works where 5 blocks a call are granted, and in batches of 3", async () => {
      node.maxRange = 5;
      node.maxBatch = 3;
      expect(await eventsOf(await openFeed([node]))).to.deep.equal(all);
    });

    describe("and the finalized tag", () => {
      let nowMs: number;
      let chain: Ledger;
      let other: LedgerNode;
      const open = (): Promise<ChainFeed> => openFeed([other], { now: () => nowMs, finalityDepth: 30 });
      const finalized = async (feed: ChainFeed): Promise<number> => (await feed.look(null)).finalized;
      beforeEach(() => {
        nowMs = 0;
        chain = ledgerOf(100);
        chain.finalized = 10;
        other = new LedgerNode(chain);
      });

      it("is not replaced by a depth when it fails once, or for long, after it was seen", async () => {
        const feed = await open();
        expect(await finalized(feed)).to.equal(10);
        other.knowsFinalized = false;
        for (let i = 0; i < 10; i++) {
          nowMs += 5_000;
          expect(await finalized(feed)).to.equal(10);
        }
        other.knowsFinalized = true;
        chain.finalized = 12;
        expect(await finalized(feed)).to.equal(12);
        // Null, where the node does not reach it.
        chain.finalized = 99;
        other.lag = 20;
        expect(await finalized(feed)).to.equal(12);
      });

      it("makes nothing final while it is refused, until it was refused several times over some seconds", async () => {
        other.knowsFinalized = false;
        const feed = await open();
        for (let i = 0; i < 5; i++) expect(await finalized(feed)).to.equal(0);
        nowMs += 10_000;
        expect(await finalized(feed)).to.equal(70);
        // Whoever learns the tag is believed on it, and never on a depth again.
        other.knowsFinalized = true;
        nowMs += 600_000;
        expect(await finalized(feed)).to.equal(10);
        other.knowsFinalized = false;
        nowMs += 600_000;
        expect(await finalized(feed)).to.equal(10);
      });

      it("makes nothing final where it is null from the start", async () => {
        chain.finalized = 1_000;
        const feed = await open();
        for (let i = 0; i < 5; i++) {
          nowMs += 10_000;
          expect(await finalized(feed)).to.equal(0);
        }
      });
    });

    it("starts at a node that was asked too much, once it grants more, and gives up at last", async () => {
      const lines: string[] = [];
      const pauses: number[] = [];
      const options = {
        log: (line: string) => void lines.push(line),
        pause: (ms: number) => {
          pauses.push(ms);
          if (pauses.length === 3) node.fault = () => null;
          return Promise.resolve();
        },
      };
      node.fault = () => "busy";
      expect(await eventsOf(await openFeed([node], options))).to.deep.equal(all);
      expect(pauses).to.deep.equal([1_000, 2_000, 4_000]);
      expect(lines[0]).to.match(/HTTP status 429; the chain is asked again/);
      node.fault = () => "busy";
      expect(await codeOfAsync(() => openFeed([node], options))).to.equal("CHAIN_UNREACHABLE");
      expect(pauses).to.have.length(11);
      // What is away is told at once.
      node.fault = () => "refused";
      expect(await codeOfAsync(() => openFeed([node], options))).to.equal("CHAIN_UNREACHABLE");
      expect(pauses).to.have.length(11);
    });

    it("fails over to another node, and back", async () => {
      let nowMs = 0;
      const other = new LedgerNode(ledger, "other");
      const feed = await openFeed([node, other], { now: () => nowMs });
      node.fault = () => "refused";
      expect(await eventsOf(feed)).to.deep.equal(all);
      node.requests.length = 0;
      await feed.look(null);
      expect(node.requests).to.deep.equal([]);
      node.fault = () => null;
      nowMs += 5_000;
      await feed.look(null);
      expect(node.requests.length).to.be.greaterThan(0);
      other.fault = () => "gateway";
      expect(await eventsOf(feed)).to.deep.equal(all);
    });

    it("starts while one of two nodes is away, and never uses one that turns out to be of another chain", async () => {
      let nowMs = 0;
      const lines: string[] = [];
      const other = new LedgerNode(ledgerOf(500), "other");
      other.chainId = 1;
      other.fault = () => "refused";
      const feed = await openFeed([node, other], { now: () => nowMs, log: (line) => lines.push(line) });
      other.fault = () => null;
      nowMs += 5_000;
      expect((await feed.look(null)).block.number).to.equal(400);
      expect(await eventsOf(feed)).to.deep.equal(all);
      expect(lines.join()).to.match(/other is not used: .*serves chain 1/);
      expect(await codeOfAsync(() => openFeed([node, other]))).to.equal("CHAIN_ID_WRONG");
    });

    it("believes two of three on a hash, and neither of two", async () => {
      const forked = ledgerOf(395);
      forked.drop(10);
      while (forked.head.number < 400) forked.mine([]);
      const liar = new LedgerNode(forked, "liar");
      const honest = new LedgerNode(ledger, "honest");
      expect((await (await openFeed([liar, node, honest])).look(null)).block.hash).to.equal(ledger.head.hash);
      expect(await eventsOf(await openFeed([liar, node, honest]))).to.deep.equal(all);
      const two = await openFeed([liar, node]);
      expect(await codeOfAsync(() => two.look(null))).to.equal("CHAIN_DISAGREES");
      honest.lag = 7;
      expect((await (await openFeed([node, honest])).look(null)).block.number).to.equal(393);
      expect(
        (await (await openFeed([node, honest, new LedgerNode(ledger, "third")])).look(null)).block.number,
      ).to.equal(400);
    });

    it("refuses nodes that serve another contract, or another chain with the same id", async () => {
      const other = new LedgerNode(ledger, "other");
      other.code = "0x6003";
      expect(await codeOfAsync(() => openFeed([node, other]))).to.equal("CHAIN_DISAGREES");
      expect(await codeOfAsync(() => openFeed([new LedgerNode(new Ledger(), "empty"), other]))).to.equal(
        "CHAIN_DISAGREES",
      );
    });
  });

  describe("and its calls", () => {
    it("are at most blocks/range + event blocks/100 + 10 for a backfill", async () => {
      const long = ledgerOf(20_000);
      for (const maxRange of [500, 10_000]) {
        const other = new LedgerNode(long);
        other.maxRange = maxRange;
        other.rangeMessage = "eth_getLogs is limited to a N range";
        const feed = await openFeed([other]);
        expect((await eventsOf(feed)).length).to.equal(long.head.counts.anchors + long.head.counts.keys);
        const eventBlocks = new Set(long.eventsUpTo(long.head.hash).map(({ blockNumber }) => blockNumber)).size;
        expect(other.requests.length).to.be.at.most(20_000 / maxRange + eventBlocks / 100 + 10);
      }
    });

    it("are one request for each new block at the head", async () => {
      const growing = ledgerOf(50);
      const other = new LedgerNode(growing);
      const feed = await openFeed([other]);
      other.requests.length = 0;
      for (let i = 0; i < 20; i++) {
        const place = growing.head;
        growing.mine([]);
        const { block, next } = await feed.look(place);
        expect(next?.last).to.deep.include({ number: block.number, hash: block.hash });
        expect(next?.counts).to.deep.equal(growing.head.counts);
      }
      expect(other.requests.length).to.equal(20);
    });
  });
});
