import { expect } from "chai";

import type { ChainClient } from "../../io/chain/client.ts";
import { countsAfter } from "../../io/chain/events/event-sequence.ts";
import type { Checkpoint } from "../../io/chain/agreement/node-view.ts";
import { getGap } from "../../io/chain/events/missing-events.ts";
import type { BlockRange } from "../../io/chain/events/block-range.ts";
import { toHex } from "../../protocol/bytes.ts";
import { cidOfDigest } from "../../protocol/cid.ts";
import type { ChainEvent } from "../../protocol/event.ts";
import type { FakeLog } from "../fixtures/fake-node.ts";
import { ALICE } from "../fixtures/history.ts";
import { chooseSize } from "../fixtures/long-form.ts";
import { Ledger, type Draft } from "../fixtures/ledger.ts";
import { FAULTS, LedgerNode, openClient } from "../fixtures/ledger-node.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

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

async function drain(client: ChainClient, head: BlockRange["last"]): Promise<void> {
  let blocks = 0;
  for await (const { last } of client.ranges(null, head)) blocks = last.number;
  if (blocks !== head.number) throw new Error("the ranges end too early");
}

async function readAll(client: ChainClient, checkpoint: Checkpoint | null = null): Promise<BlockRange[]> {
  const ranges: BlockRange[] = [];
  const { block } = await client.fetchView(checkpoint);
  for await (const range of client.ranges(checkpoint, block)) ranges.push(range);
  return ranges;
}

async function eventsOf(client: ChainClient): Promise<ChainEvent[]> {
  return (await readAll(client)).flatMap(({ events }) => events);
}

async function failureOf(act: () => Promise<unknown>): Promise<unknown> {
  try {
    await act();
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

describe("The chain client, as a service follows it", function () {
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
        expect(await eventsOf(await openClient([node], { maxRangeBlocks, concurrency }))).to.deep.equal(all);
      }
    }
  });

  it("proves that as many events were read up to a head as the contracts count there, and says of which there are more", async () => {
    const node = new LedgerNode(ledgerOf(40));
    const client = await openClient([node]);
    const { block } = await client.fetchView(null);
    const checkpoint = { number: block.number, hash: block.hash, counts: node.ledger.head.counts };
    await client.prove(checkpoint);
    for (const contract of ["anchors", "keys"] as const) {
      const of = (more: number): Promise<unknown> =>
        failureOf(() =>
          client.prove({
            ...checkpoint,
            counts: { ...checkpoint.counts, [contract]: checkpoint.counts[contract] + more },
          }),
        );
      expect(getGap(await of(-1))).to.deep.equal({ contract, isBefore: true, upTo: block.number });
      // Nothing was left out where less is counted than was read.
      const disagreement = await of(1);
      expect(disagreement).to.include({ code: "CHAIN_DISAGREES" });
      expect(getGap(disagreement)).to.equal(null);
    }
    // Nor when the head is replaced before any one call of it.
    for (let moment = 1; moment <= 5; moment++) {
      const changing = new LedgerNode(ledgerOf(40));
      changing.maxBatch = 1;
      const changingClient = await openClient([changing]);
      await changingClient.fetchView(null);
      let calls = 0;
      changing.before = () => {
        calls += 1;
        if (calls !== moment) return;
        changing.ledger.drop(1);
        changing.ledger.mine([]);
      };
      const { hash } = changing.ledger.head;
      // One was left out; of the block that takes the checkpoint of its own, none is.
      const { counts: read } = changing.ledger.at(39)!;
      expect(await codeOfAsync(() => changingClient.prove({ number: 40, hash, counts: read })), `${moment}`).to.equal(
        "CHAIN_DISAGREES",
      );
      expect(calls).to.be.at.least(moment);
    }
  });

  it("comes with the counts that the contracts have at its last block", async () => {
    const ranges = await readAll(await openClient([node], { maxRangeBlocks: 90 }));
    expect(ranges.map(({ counts }) => counts)).to.deep.equal(
      [90, 180, 270, 360, 400].map((number) => ledger.at(number)!.counts),
    );
    expect(ranges.map(({ first, last }) => [first.number, last.number])).to.deep.equal([
      ...[1, 91, 181, 271, 361].map((from) => [from, Math.min(400, from + 89)]),
    ]);
    for (const { events } of ranges) expect(events).to.be.an("array");
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
          expect(await eventsOf(await openClient([node], { maxRangeBlocks }))).to.deep.equal(all);
      });

      it(`finds ${title} with another node`, async () => {
        node.omits = isVictim;
        node.hasReceipts = false;
        const other = new LedgerNode(ledger, "other");
        expect(await eventsOf(await openClient([node, other]))).to.deep.equal(all);
        other.omits = (log) => log.blockHash === all[50]!.blockHash;
        expect(await eventsOf(await openClient([node, other]))).to.deep.equal(all);
      });

      it(`stops before ${title} when nobody has it, and says whose event is missing`, async () => {
        node.omits = isVictim;
        node.hasReceipts = false;
        const seen: ChainEvent[] = [];
        const client = await openClient([node], { maxRangeBlocks: 10 });
        const { block } = await client.fetchView(null);
        const error = await failureOf(async () => {
          for await (const { events } of client.ranges(null, block)) seen.push(...events);
        });
        const contract = victim.kind === "anchor" ? "anchors" : "keys";
        expect(getGap(error)?.contract).to.equal(contract);
        // What was given is what comes first on the chain, but for that event.
        expect(seen).to.deep.equal(all.filter((event) => event !== victim).slice(0, seen.length));
      });
    }

    it("is found by its state where receipts have to be searched, and without it near by", async () => {
      const victim = all[100]!;
      node.omits = (log) => log.blockHash === victim.blockHash;
      node.stateDepth = 0;
      expect(await eventsOf(await openClient([node]))).to.deep.equal(all);
    });

    it("says that it lies in blocks that were read before", async () => {
      const victim = all.find(({ kind, index }) => kind === "anchor" && index === 50)!;
      const checkpoint: Checkpoint = {
        number: victim.blockNumber,
        hash: victim.blockHash,
        counts: { anchors: 50, keys: ledger.at(victim.blockNumber)!.counts.keys },
      };
      const error = await failureOf(async () => readAll(await openClient([node]), checkpoint));
      expect(getGap(error)).to.deep.equal({ contract: "anchors", isBefore: true, upTo: 400 });
    });

    it("is asked for by its index, where a single block has more than a node gives at once", async () => {
      node.maxLogs = 1;
      node.hasReceipts = false;
      expect(all.filter(({ blockNumber }) => blockNumber === 1)).to.have.length(2);
      expect(await eventsOf(await openClient([node]))).to.deep.equal(all);
    });

    it("is found where a node cuts long answers off, without asking for every block's receipts", async () => {
      node.maxLogs = 20;
      expect(await eventsOf(await openClient([node]))).to.deep.equal(all);
      expect(node.requests.flat()).not.to.include("eth_getBlockReceipts");
    });
  });

  describe("and a node that does not have what it gives", () => {
    it("refuses logs of a range whose last block it lacks", async () => {
      const client = await openClient([node]);
      const { block } = await client.fetchView(null);
      node.lag = 1;
      expect(await codeOfAsync(async () => drain(client, block))).to.equal("CHAIN_DISAGREES");
      // At the level of a single block: the node says that it has it, and its logs come from one that does not.
      node.lag = 0;
      const checkpoint = { ...ledger.at(399)!, counts: ledger.at(399)!.counts };
      expect((await client.fetchView(checkpoint)).next?.events).to.deep.equal(ledger.head.events);
      node.before = ({ method }) => void (node.lag = method === "eth_getBlockByNumber" ? 0 : 1);
      expect((await client.fetchView(checkpoint)).next).to.equal(null);
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
        const client = await openClient([node]);
        expect(await codeOfAsync(() => readAll(client))).to.equal("CHAIN_DISAGREES");
        node.tamper = (logs) => logs;
        expect(await eventsOf(client)).to.deep.equal(all);
      });
    }

    it("refuses a chain that changes while it is read", async () => {
      const changing = ledgerOf(100);
      const other = new LedgerNode(changing);
      const client = await openClient([other], { maxRangeBlocks: 20, concurrency: 1 });
      const { block } = await client.fetchView(null);
      let isDropped = false;
      other.tamper = (logs, { from }) => {
        if (from > 40 && !isDropped) {
          isDropped = true;
          changing.drop(65);
          while (changing.head.number < 110) changing.mine([]);
        }
        return logs;
      };
      const seen: BlockRange[] = [];
      const error = await codeOfAsync(async () => {
        for await (const range of client.ranges(null, block)) seen.push(range);
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
      it(`never makes one range of two chains, ${what}`, async () => {
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
        const client = await openClient([first]);
        const { block } = await client.fetchView(null);
        expect(await codeOfAsync(() => drain(client, block))).to.equal("CHAIN_DISAGREES");
        expect(isForked).to.equal(true);
        expect(await eventsOf(client)).to.deep.equal(changing.eventsUpTo(changing.head.hash));
      });
    }
  });

  describe("and providers", () => {
    for (const fault of FAULTS) {
      it(`gets over an answer that is ${fault}`, async () => {
        const client = await openClient([node], { now: () => Infinity });
        let times = 0;
        node.fault = () => (times++ % 7 === 5 ? fault : null);
        const events: ChainEvent[] = [];
        let checkpoint: Checkpoint | null = null;
        for (let i = 0; i < 100 && checkpoint?.number !== 400; i++) {
          try {
            const { block } = await client.fetchView(checkpoint);
            for await (const range of client.ranges(checkpoint, block)) {
              events.push(...range.events);
              const before: Checkpoint["counts"] = checkpoint?.counts ?? { anchors: 0, keys: 0 };
              checkpoint = { ...range.last, counts: countsAfter(range, before) };
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
      expect(await eventsOf(await openClient([node]))).to.deep.equal(all);
    });

    describe("and the finalized tag", () => {
      let nowMs: number;
      let chain: Ledger;
      let other: LedgerNode;
      const open = (): Promise<ChainClient> => openClient([other], { now: () => nowMs, finalityDepth: 30 });
      const finalized = async (client: ChainClient): Promise<number> => (await client.fetchView(null)).finalized;
      beforeEach(() => {
        nowMs = 0;
        chain = ledgerOf(100);
        chain.finalized = 10;
        other = new LedgerNode(chain);
      });

      it("is not replaced by a depth when it fails once, or for long, after it was seen", async () => {
        const client = await open();
        expect(await finalized(client)).to.equal(10);
        other.knowsFinalized = false;
        for (let i = 0; i < 10; i++) {
          nowMs += 5_000;
          expect(await finalized(client)).to.equal(10);
        }
        other.knowsFinalized = true;
        chain.finalized = 12;
        expect(await finalized(client)).to.equal(12);
        // Null, where the node does not reach it.
        chain.finalized = 99;
        other.lag = 20;
        expect(await finalized(client)).to.equal(12);
      });

      it("makes nothing final while it is refused, until it was refused several times over some seconds", async () => {
        other.knowsFinalized = false;
        const client = await open();
        for (let i = 0; i < 5; i++) expect(await finalized(client)).to.equal(0);
        nowMs += 10_000;
        expect(await finalized(client)).to.equal(70);
        // Whoever learns the tag is believed on it, and never on a depth again.
        other.knowsFinalized = true;
        nowMs += 600_000;
        expect(await finalized(client)).to.equal(10);
        other.knowsFinalized = false;
        nowMs += 600_000;
        expect(await finalized(client)).to.equal(10);
      });

      it("makes nothing final where it is null from the start", async () => {
        chain.finalized = 1_000;
        const client = await open();
        for (let i = 0; i < 5; i++) {
          nowMs += 10_000;
          expect(await finalized(client)).to.equal(0);
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
      expect(await eventsOf(await openClient([node], options))).to.deep.equal(all);
      expect(pauses).to.deep.equal([1_000, 2_000, 4_000]);
      expect(lines[0]).to.match(/HTTP status 429; the chain is asked again/);
      node.fault = () => "busy";
      expect(await codeOfAsync(() => openClient([node], options))).to.equal("CHAIN_UNREACHABLE");
      expect(pauses).to.have.length(11);
      // What is away is told at once.
      node.fault = () => "refused";
      expect(await codeOfAsync(() => openClient([node], options))).to.equal("CHAIN_UNREACHABLE");
      expect(pauses).to.have.length(11);
    });

    it("fails over to another node, and back", async () => {
      let nowMs = 0;
      const other = new LedgerNode(ledger, "other");
      const client = await openClient([node, other], { now: () => nowMs });
      node.fault = () => "refused";
      expect(await eventsOf(client)).to.deep.equal(all);
      node.requests.length = 0;
      await client.fetchView(null);
      expect(node.requests).to.deep.equal([]);
      node.fault = () => null;
      nowMs += 5_000;
      await client.fetchView(null);
      expect(node.requests.length).to.be.greaterThan(0);
      other.fault = () => "gateway";
      expect(await eventsOf(client)).to.deep.equal(all);
    });

    it("starts while one of two nodes is away, and never uses one that turns out to be of another chain", async () => {
      let nowMs = 0;
      const lines: string[] = [];
      const other = new LedgerNode(ledgerOf(500), "other");
      other.chainId = 1;
      other.fault = () => "refused";
      const client = await openClient([node, other], { now: () => nowMs, log: (line) => lines.push(line) });
      other.fault = () => null;
      nowMs += 5_000;
      expect((await client.fetchView(null)).block.number).to.equal(400);
      expect(await eventsOf(client)).to.deep.equal(all);
      expect(lines.join()).to.match(/other is not used: .*serves chain 1/);
      expect(await codeOfAsync(() => openClient([node, other]))).to.equal("CHAIN_ID_WRONG");
    });

    it("believes two of three on a hash, and neither of two", async () => {
      const forked = ledgerOf(395);
      forked.drop(10);
      while (forked.head.number < 400) forked.mine([]);
      const liar = new LedgerNode(forked, "liar");
      const honest = new LedgerNode(ledger, "honest");
      expect((await (await openClient([liar, node, honest])).fetchView(null)).block.hash).to.equal(ledger.head.hash);
      expect(await eventsOf(await openClient([liar, node, honest]))).to.deep.equal(all);
      const two = await openClient([liar, node]);
      expect(await codeOfAsync(() => two.fetchView(null))).to.equal("CHAIN_DISAGREES");
      honest.lag = 7;
      expect((await (await openClient([node, honest])).fetchView(null)).block.number).to.equal(393);
      expect(
        (await (await openClient([node, honest, new LedgerNode(ledger, "third")])).fetchView(null)).block.number,
      ).to.equal(400);
    });

    it("refuses nodes that serve another contract, or another chain with the same id", async () => {
      const other = new LedgerNode(ledger, "other");
      other.code = "0x6003";
      expect(await codeOfAsync(() => openClient([node, other]))).to.equal("CHAIN_DISAGREES");
      expect(await codeOfAsync(() => openClient([new LedgerNode(new Ledger(), "empty"), other]))).to.equal(
        "CHAIN_DISAGREES",
      );
    });
  });

  describe("and its calls", () => {
    it("are at most blocks/range + event blocks/100 + 10 for a backfill", async () => {
      const blocks = chooseSize(5_000, 20_000);
      const long = ledgerOf(blocks);
      for (const maxRange of [500, 10_000]) {
        const other = new LedgerNode(long);
        other.maxRange = maxRange;
        other.rangeMessage = "eth_getLogs is limited to a N range";
        const client = await openClient([other]);
        expect((await eventsOf(client)).length).to.equal(long.head.counts.anchors + long.head.counts.keys);
        const eventBlocks = new Set(long.eventsUpTo(long.head.hash).map(({ blockNumber }) => blockNumber)).size;
        expect(other.requests.length).to.be.at.most(blocks / maxRange + eventBlocks / 100 + 10);
      }
    });

    it("are one request for each new block at the head", async () => {
      const growing = ledgerOf(50);
      const other = new LedgerNode(growing);
      const client = await openClient([other]);
      other.requests.length = 0;
      for (let i = 0; i < 20; i++) {
        const checkpoint = growing.head;
        growing.mine([]);
        const { block, next } = await client.fetchView(checkpoint);
        expect(next?.last).to.deep.include({ number: block.number, hash: block.hash });
        expect(next?.counts).to.deep.equal(growing.head.counts);
      }
      expect(other.requests.length).to.equal(20);
    });
  });
});
