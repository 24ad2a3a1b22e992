import { join } from "node:path";

import { expect } from "chai";

import { openEngine, type Engine } from "../../indexer/indexer.ts";
import { unreadiness } from "../../indexer/read/status.ts";
import { cidOfDigest, type Cid } from "../../protocol/cid.ts";
import { useFolder } from "../fixtures/folder.ts";
import { Ledger } from "../fixtures/ledger.ts";
import { LedgerNode, openClient } from "../fixtures/ledger-node.ts";
import { WithheldStore } from "../fixtures/scripted-chain.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

describe("An index whose nodes lie while no other says better", () => {
  const folder = useFolder();
  let engine: Engine | null = null;
  let nowMs = 0;

  afterEach(async () => {
    await engine?.stop();
    engine?.index.close();
    engine = null;
  });

  async function begin(...nodes: LedgerNode[]): Promise<Engine> {
    const chain = await openClient(nodes, { now: () => nowMs });
    const content = new WithheldStore(new Map());
    engine = openEngine(chain, { content, indexPath: join(folder(), "index"), pollIntervalMs: 5 });
    return engine;
  }

  async function follow({ follower }: Engine): Promise<void> {
    for (let turn = 0; turn < 10; turn++) {
      await follower.turn().catch(() => undefined);
      nowMs += 10_000;
    }
  }

  /** Ten blocks with an anchor each. Whatever is in a block, its hash is the same. */
  function ledgerOf(last = "the last"): Ledger {
    const ledger = new Ledger();
    for (let index = 0; index < 10; index++) {
      const cid = cidOfDigest(fixedBytes(index === 9 ? last : `anchor ${index}`));
      ledger.mine([{ kind: "anchor", index, cid, text: cid }]);
    }
    return ledger;
  }

  const mineEmpty = (ledger: Ledger, count: number): void => {
    for (let i = 0; i < count; i++) ledger.mine([]);
  };

  it("serves on but calls nothing more final while one of three answers, and forgets what it made up", async () => {
    const [honest, made] = [ledgerOf(), ledgerOf()];
    for (const ledger of [honest, made]) ledger.finalized = 5;
    const liar = new LedgerNode(made, "liar");
    const others = ["second", "third"].map((name) => new LedgerNode(honest, name));
    const { history, follower, fetcher } = await begin(liar, ...others);
    await follow(engine!);
    expect(history.counts.anchors).to.equal(10);
    expect(unreadiness(follower, fetcher, history)?.code ?? null).to.not.equal("CHAIN_UNREACHABLE");

    for (const node of others) node.fault = () => "refused";
    made.mineAnchors(1);
    mineEmpty(honest, 1);
    for (const ledger of [honest, made]) {
      mineEmpty(ledger, 19);
      ledger.finalized = 25;
    }
    await follow(engine!);
    expect(history.counts.anchors).to.equal(11);
    expect(history.log.finalized).to.equal(5);
    expect(unreadiness(follower, fetcher, history)?.code).to.equal("CHAIN_UNREACHABLE");

    // It goes on lying; the others are two of three.
    for (const node of others) node.fault = () => null;
    await follow(engine!);
    expect(history.counts.anchors).to.equal(10);
    expect(history.log.cursor?.number).to.equal(30);
    expect(history.log.finalized).to.equal(25);
    expect(follower.isConfirmed).to.equal(true);
  });

  it("finds the last entry that a single node forged once it tells the truth", async () => {
    const [honest, made] = [ledgerOf(), ledgerOf("forged")];
    const node = new LedgerNode(made);
    const { index, follower } = await begin(node);
    const last = (): Cid | undefined =>
      index.database.prepare<[], { cid: Cid }>("SELECT cid FROM anchors WHERE anchor_index = 9").get()?.cid;
    await follow(engine!);
    expect(last()).to.equal(cidOfDigest(fixedBytes("forged")));
    node.ledger = honest;
    mineEmpty(honest, 1);
    await follow(engine!);
    expect(last()).to.equal(cidOfDigest(fixedBytes("the last")));
    expect(follower.problem).to.equal(null);
    expect(follower.isCurrent).to.equal(true);
  });
});
