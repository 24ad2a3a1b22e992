import { cpSync, rmSync } from "node:fs";

import { expect } from "chai";

import { DEFAULT_OPTIONS } from "../../../tasks/anchor-options.ts";
import { anchorRound } from "../../../tasks/anchor-round.ts";
import { storeText } from "../../fixtures/anchor.ts";
import { Operator } from "../../fixtures/operator.ts";

/** The chain goes on without the mailbox, or another way. */
describe("An anchor on a chain that has gone another way", () => {
  let operator: Operator;

  beforeEach(async () => {
    operator = await Operator.start();
  });
  afterEach(() => operator.stop());

  /** The states of the journal's open rows. */
  async function open(machine = "first"): Promise<string[]> {
    const session = await operator.open(machine);
    const states = session.mailbox.anchors.open().map(({ state }) => state);
    await session.close();
    return states;
  }

  async function run(machine = "first"): Promise<number[]> {
    const session = await operator.open(machine);
    try {
      return (await anchorRound(session, DEFAULT_OPTIONS)).anchored.map(({ index }) => index);
    } finally {
      await session.close();
    }
  }

  async function send(count: number, machine = "first"): Promise<string[]> {
    const session = await operator.open(machine);
    const cids = await operator.send(session, count);
    await session.close();
    return cids;
  }

  async function nobodyWaits(machine = "first"): Promise<void> {
    const session = await operator.open(machine);
    expect(session.mailbox.counts().unanchored).to.equal(0);
    await session.close();
  }

  for (const depth of [1, 3, 64]) {
    it(`a reorg of ${depth} blocks that removes it: the same manifest is anchored again by itself`, async () => {
      const first = await send(2);
      await run();
      await operator.mine(100);
      await run();
      const second = await send(2);
      await run();
      await operator.mine(depth - 1);
      const { cid } = (await operator.replay()).anchors[1]!.event;
      await operator.dev("anvil_reorg", depth, []);
      expect((await operator.replay()).anchors).to.have.length(1);
      expect(await run()).to.deep.equal([1]);
      expect((await operator.replay()).anchors[1]?.event.cid).to.equal(cid);
      expect(await operator.anchoredCids()).to.deep.equal([...first, ...second]);
      await nobodyWaits();
    });
  }

  it("a reorg that removes two anchors: both come back, in order, each once", async () => {
    const sent = [];
    for (let i = 0; i < 2; i++) {
      sent.push(...(await send(1)));
      await run();
    }
    await operator.dev("anvil_reorg", 2, []);
    sent.push(...(await send(1)));
    expect(await run()).to.deep.equal([0, 1, 2]);
    expect(await operator.anchoredCids()).to.deep.equal(sent);
    expect(await open()).to.deep.equal(["mined", "mined", "mined"]);
  });

  it("entries of the owner that are no manifests, one not even UTF-8", async () => {
    const sent = await send(1);
    await run();
    await storeText(operator.deployed.owner, operator.deployed.deployment, "a junk text");
    await storeText(operator.deployed.owner, operator.deployed.deployment, Uint8Array.of(0xff, 0, 0xfe));
    sent.push(...(await send(1)));
    expect(await run()).to.deep.equal([3]);
    await storeText(operator.deployed.owner, operator.deployed.deployment, "another");
    expect(await run()).to.deep.equal([]);
    const replay = await operator.replay();
    expect(replay.anchors.map(({ verdict }) => verdict.status)).to.deep.equal([
      "verified",
      ...["rejected", "rejected", "verified", "rejected"],
    ]);
    expect(replay.anchors[3]?.manifest?.base?.index).to.equal(0);
    expect(sent).to.have.length(2);
  });

  it("two machines at once: one anchor succeeds, then the other's, and no nonce is left out", async () => {
    const sent = [...(await send(2, "left")), ...(await send(2, "right"))];
    await operator.dev("evm_setIntervalMining", 1);
    const indices = await Promise.all([run("left"), run("right")]);
    await operator.dev("evm_setIntervalMining", 0);
    expect(indices.flat().sort()).to.deep.equal([0, 1]);
    expect((await operator.anchoredCids()).sort()).to.deep.equal(sent.sort());
    await nobodyWaits("left");
    await nobodyWaits("right");
  });

  it("the same messages on two machines: each is anchored once", async () => {
    const left = await operator.open("left");
    const right = await operator.open("right");
    const sent = await operator.send(left, 3);
    right.mailbox.add(
      left.mailbox.messages(left.mailbox.message(sent[0]!)!.room).map(({ cid }) => ({ cid, ...operator.blockOf(cid) })),
    );
    await operator.dev("evm_setIntervalMining", 1);
    await Promise.all([anchorRound(left, DEFAULT_OPTIONS), anchorRound(right, DEFAULT_OPTIONS)]);
    await operator.dev("evm_setIntervalMining", 0);
    await Promise.all([left.close(), right.close()]);
    expect(await operator.anchoredCids()).to.deep.equal(sent);
    expect((await operator.replay()).anchors).to.have.length(1);
    await nobodyWaits("left");
    await nobodyWaits("right");
  });

  it("a mailbox that is restored from an old backup: nothing that the chain has is anchored again", async () => {
    const sent = await send(2);
    await run();
    cpSync(operator.folderOf("first"), operator.folderOf("backup"), { recursive: true });
    sent.push(...(await send(2)));
    await run();
    rmSync(operator.folderOf("first"), { recursive: true });
    cpSync(operator.folderOf("backup"), operator.folderOf("first"), { recursive: true });
    expect(await run()).to.deep.equal([]);
    sent.push(...(await send(1)));
    expect(await run()).to.deep.equal([2]);
    expect(await operator.anchoredCids()).to.deep.equal(sent);
  });

  it("a backup from between the plan and the transaction: what was anchored since is found, not repeated", async () => {
    const sent = await send(2);
    const session = await operator.open();
    const record = session.mailbox.anchors.attemptLog.bind(session.mailbox.anchors);
    session.mailbox.anchors.attemptLog = (row) => {
      cpSync(operator.folderOf("first"), operator.folderOf("backup"), { recursive: true });
      return record(row);
    };
    await anchorRound(session, DEFAULT_OPTIONS);
    await session.close();
    rmSync(operator.folderOf("first"), { recursive: true });
    cpSync(operator.folderOf("backup"), operator.folderOf("first"), { recursive: true });
    expect(await open()).to.deep.equal(["written"]);
    expect(await run()).to.deep.equal([]);
    expect(await open()).to.deep.equal(["mined"]);
    expect(await operator.anchoredCids()).to.deep.equal(sent);
  });

  it("a mailbox that is lost: the chain and the blocks bring it back", async () => {
    const sent = await send(2);
    await run();
    rmSync(operator.folderOf("first"), { recursive: true });
    sent.push(...(await send(1)));
    expect(await run()).to.deep.equal([1]);
    expect(await operator.anchoredCids()).to.deep.equal(sent);
  });

  it("somebody else's manifest on top: the next one builds on it", async () => {
    const sent = await send(1);
    await run();
    sent.push(...(await send(1, "other")));
    await run("other");
    sent.push(...(await send(1)));
    expect(await run()).to.deep.equal([2]);
    expect((await operator.replay()).anchors[2]?.manifest?.base?.index).to.equal(1);
    expect(await operator.anchoredCids()).to.deep.equal(sent);
  });
});
