import { join } from "node:path";

import { expect } from "chai";

import { openEngine, type Engine } from "../../indexer/indexer.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, History } from "../fixtures/history.ts";
import { Ledger } from "../fixtures/ledger.ts";
import { LedgerNode, openClient } from "../fixtures/ledger-node.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { WithheldStore } from "../fixtures/scripted-chain.ts";

describe("An index whose nodes leave events out", () => {
  const folder = useFolder();
  const open = new Set<Engine>();

  afterEach(async () => {
    for (const engine of open) await end(engine);
  });

  /** The one index of a test, as a process opens it that begins. */
  async function begin(node: LedgerNode, maxRangeBlocks = 10): Promise<Engine> {
    const chain = await openClient([node], { maxRangeBlocks });
    const content = new WithheldStore(new Map());
    const engine = openEngine(chain, { content, indexPath: join(folder(), "index"), pollIntervalMs: 5 });
    open.add(engine);
    return engine;
  }

  async function end(engine: Engine): Promise<void> {
    open.delete(engine);
    await engine.stop();
    engine.index.close();
  }

  /** Takes the first range, and not a step more. */
  async function takeOne({ history, follower, stop }: Engine): Promise<void> {
    history.onCommit = () => void stop();
    await follower.turn();
    history.onCommit = () => undefined;
  }

  async function follow({ follower }: Engine, turns: number): Promise<void> {
    for (let turn = 0; turn < turns && !follower.isCurrent; turn++) await follower.turn().catch(() => undefined);
  }

  function expectWhole({ history, follower }: Engine, ledger: Ledger): void {
    expect(history.counts).to.deep.equal(ledger.head.counts);
    expect(follower.isCurrent).to.equal(true);
  }

  /** A chain with so many anchors in each of its blocks. */
  function ledgerOf(blocks: number, anchorsIn: (block: number) => number): Ledger {
    const ledger = new Ledger();
    for (let block = 1; block <= blocks; block++) ledger.mineAnchors(anchorsIn(block));
    return ledger;
  }

  for (const maxRangeBlocks of [1, 4, 10]) {
    it(`finds several of a node that cuts answers off and forgets states, ${maxRangeBlocks} blocks at a time`, async () => {
      const ledger = ledgerOf(60, (block) => ([4, 7, 16].includes(block % 20) ? 4 : block % 9 === 0 ? 1 : 0));
      const node = new LedgerNode(ledger);
      node.maxLogs = 3;
      node.stateDepth = 4;
      node.maxRange = 5;
      const engine = await begin(node, maxRangeBlocks);
      await follow(engine, 30);
      expectWhole(engine, ledger);
    });
  }

  for (const isWhole of [true, false]) {
    it(`starts again where nothing was counted, and is current only as far as the contracts count: ${isWhole ? "as much" : "more"}`, async () => {
      const ledger = ledgerOf(30, () => 1);
      const node = new LedgerNode(ledger);
      // What it leaves out at the end of a range would only show in a state that it does not have any more.
      node.stateDepth = 0;
      if (!isWhole) node.omits = ({ blockNumber }) => Number(blockNumber) === 10;
      const killed = await begin(node);
      await takeOne(killed);
      expect(killed.history.log.cursor).to.include({ number: 10, isProved: false });
      // An index that was written before this was noted says nothing of it.
      if (!isWhole)
        killed.index.database.exec("UPDATE meta SET value = json_remove(value, '$.isProved') WHERE name = 'cursor'");
      await end(killed);

      // Its head lags to just there.
      node.lag = 20;
      const engine = await begin(node);
      const { history, follower } = engine;
      const first = await follower.turn().catch((error: unknown) => error);
      if (isWhole) {
        expect(first).to.equal("current");
        expect(history.log.cursor).to.include({ number: 10, isProved: true });
      } else {
        expect(follower.isCurrent).to.equal(false);
        expect(history.log.cursor!.number).to.be.lessThan(10);
      }
      const requests = node.requests.length;
      await follow(engine, 5);
      expect(history.counts).to.deep.equal(ledger.at(10)!.counts);
      expect(follower.isCurrent).to.equal(true);
      // What is proved once is not asked for again.
      if (isWhole) {
        await follower.turn();
        expect(node.requests.length).to.equal(requests + 1);
      }
    });
  }

  it("reads on until it shows what a node cuts off that was read before, also when it was ended in between", async () => {
    const ledger = ledgerOf(40, (block) => (block === 10 ? 4 : block === 35 ? 1 : 0));
    const node = new LedgerNode(ledger);
    node.stateDepth = 0;
    const ended = await begin(node);
    await takeOne(ended);
    expect(ended.history.counts.anchors).to.equal(4);
    ended.history.rewind(10);
    await end(ended);

    // Of a block with four events it gives three, and has no state that would show it.
    node.maxLogs = 3;
    const engine = await begin(node);
    await follow(engine, 10);
    expectWhole(engine, ledger);
  });

  it("finds what was left out of both contracts, one after the other", async () => {
    const ledger = ledgerOf(4, () => 1);
    ledger.mine([new History().register(ALICE)]);
    for (let block = 6; block <= 60; block++) ledger.mineAnchors(block <= 20 || block === 40 ? 1 : 0);
    const node = new LedgerNode(ledger);
    node.stateDepth = 0;
    node.omits = ({ blockNumber }) => [5, 40].includes(Number(blockNumber));
    const engine = await begin(node);
    expect(await codeOfAsync(() => engine.follower.turn())).to.equal("CHAIN_INCOMPLETE");
    // From here on the node is whole, and has every state.
    node.omits = () => false;
    node.stateDepth = Infinity;
    await follow(engine, 5);
    expectWhole(engine, ledger);
  });

  it("steps back for the contract whose event is missing, though the other's was too until it was filled in", async () => {
    const ledger = new Ledger();
    const anchor = (index: number) => ({ kind: "anchor", index, cid: null, text: `anchor ${index}` }) as const;
    ledger.mine([anchor(0), anchor(1), anchor(2), new History().register(ALICE)]);
    ledger.mineAnchors(4);
    for (let block = 3; block <= 7; block++) ledger.mine([]);
    // Nothing is wrong with it but what it can't do.
    const node = new LedgerNode(ledger);
    node.maxLogs = 3;
    node.stateDepth = 4;
    node.hasReceipts = false;
    const engine = await begin(node, 1);
    await follow(engine, 20);
    expectWhole(engine, ledger);
  });

  it("steps back no further for each new block that shows the same", async () => {
    const ledger = ledgerOf(200, (block) => block % 2);
    const node = new LedgerNode(ledger);
    node.hasReceipts = false;
    node.stateDepth = 4;
    const engine = await begin(node, 1_000);
    await follow(engine, 20);
    expectWhole(engine, ledger);
    node.omits = ({ blockNumber }) => Number(blockNumber) === 201;
    ledger.mineAnchors(1);
    for (let block = 0; block < 40; block++) {
      await engine.follower.turn().catch(() => undefined);
      ledger.mine([]);
    }
    expect(engine.follower.isCurrent).to.equal(false);
    expect(engine.history.log.cursor!.number).to.be.greaterThan(190);
    node.omits = () => false;
    await follow(engine, 20);
    expectWhole(engine, ledger);
  });

  it("steps back as soon as the disk takes it", async () => {
    const ledger = ledgerOf(60, (block) => (block === 5 || block === 40 ? 1 : 0));
    const node = new LedgerNode(ledger);
    node.stateDepth = 0;
    node.omits = ({ blockNumber }) => Number(blockNumber) === 40;
    const engine = await begin(node);
    const { history, follower } = engine;
    const rewind = history.rewind.bind(history);
    history.rewind = () => {
      history.rewind = rewind;
      throw new Error("the disk is full");
    };
    expect(await follower.turn().catch((error: unknown) => error)).to.have.property("message", "the disk is full");
    node.omits = () => false;
    await follow(engine, 5);
    expectWhole(engine, ledger);
  });
});
