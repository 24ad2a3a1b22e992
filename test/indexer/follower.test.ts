import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "chai";

import { openEngine, startIndexerOn, type Engine, type Indexer } from "../../indexer/indexer.ts";
import { unreadiness } from "../../indexer/read/status.ts";
import { toHex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import { ALICE, BOB, deltaOf, History } from "../fixtures/history.ts";
import { exportHistory, get, getAll, getOk, waitFor, waitForBlock } from "../fixtures/indexer-client.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { VirtualClock } from "../fixtures/virtual-clock.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

describe("the indexer on a chain that misbehaves", () => {
  let folder: string;
  const running = new Set<Indexer>();

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "dmtp-indexer-"));
  });
  afterEach(async () => {
    for (const indexer of running) await indexer.close();
    running.clear();
    rmSync(folder, { recursive: true });
  });

  const lines: string[] = [];
  async function start(chain: ScriptedChain, content: WithheldStore, name = "index"): Promise<Indexer> {
    const indexer = await startIndexerOn(chain, {
      content,
      indexPath: join(folder, name),
      host: "127.0.0.1",
      port: 0,
      pollIntervalMs: 5,
      log: (line) => lines.push(line),
      fetching: { firstRetryMs: 5, maxRetryMs: 20 },
    });
    running.add(indexer);
    return indexer;
  }
  async function stop(indexer: Indexer): Promise<void> {
    await indexer.close();
    running.delete(indexer);
  }

  /** Alice and Bob with one message each, in two anchors. */
  function conversation(): History {
    const history = new History();
    history.register(ALICE);
    history.register(BOB);
    const room = history.room(ALICE, BOB);
    history.anchor(deltaOf([room, [history.message(ALICE, BOB, { text: "one" })]]));
    history.anchor(deltaOf([room, [history.message(BOB, ALICE, { text: "two" })]]));
    return history;
  }

  /** The same history up to its events' block `from`, and something else behind it. */
  function forkOf(history: History, keep: number, texts: readonly string[]): { fork: History; from: number } {
    const fork = new History();
    fork.events.push(...history.events.slice(0, keep));
    const anchors = fork.events.filter(({ kind }) => kind === "anchor").length;
    Object.assign(fork, { anchors, registrations: keep - anchors, nonces: 1_000 });
    for (const [cid, bytes] of history.blocks) fork.blocks.set(cid, bytes);
    const room = fork.room(ALICE, BOB);
    texts.forEach((text, i) => {
      const { transactionHash, index } = fork.anchor(deltaOf([room, [fork.message(ALICE, BOB, { text, seq: 2 + i })]]));
      const event = fork.events.pop()!;
      const blockHash = transactionHash.replace(/^0x../, "0xff") as typeof transactionHash;
      fork.events.push({ ...event, index, blockHash });
    });
    return { fork, from: 100 + keep };
  }

  it("takes a lower head for a node that lags, and changes nothing", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    chain.grow(500);
    const { url } = await start(chain, new WithheldStore(history.blocks));
    await waitForBlock(url, 603);
    const before = await exportHistory(url);
    for (const back of [1, 5, 45, 500, 502]) {
      chain.headNumber = 603 - back;
      const looks = chain.calls["head"]!;
      await waitFor("three looks", () => Promise.resolve(chain.calls["head"]! >= looks + 3));
      expect(await exportHistory(url)).to.deep.equal(before);
      expect((await get(url, "/ready")).status).to.equal(200);
    }
  });

  it("takes a head that contradicts what the same node has below it for two nodes, and for no reorg", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    const { url } = await start(chain, new WithheldStore(history.blocks));
    await waitForBlock(url, 103);
    const before = await exportHistory(url);
    lines.length = 0;
    const fetchView = chain.fetchView.bind(chain);
    chain.fetchView = async (checkpoint) => {
      const head = await fetchView(checkpoint);
      const foreign = toHex(fixedBytes("another chain's block"));
      return { ...head, block: { ...head.block, number: 104, hash: foreign, parentHash: foreign } };
    };
    const looks = chain.calls["head"]!;
    await waitFor("three looks", () => Promise.resolve(chain.calls["head"]! >= looks + 3));
    expect(await exportHistory(url)).to.deep.equal(before);
    expect(lines.filter((line) => line.includes("reorg"))).to.deep.equal([]);
  });

  it("heals a reorg of any depth, also one that happened while it was down", async () => {
    for (const [depth, isDown] of [
      [1, false],
      [3, true],
      [64, false],
      [103, true],
      [300, false],
      [300, true],
    ] as const) {
      const history = conversation();
      const chain = new ScriptedChain(history);
      const { fork, from } = forkOf(history, 3, ["another two", "and three"]);
      const content = new WithheldStore(fork.blocks);
      let indexer = await start(chain, content, `index ${depth} ${isDown}`);
      await waitForBlock(indexer.url, 103);
      // The index has seen several of the blocks that go, as it would on a living chain.
      for (let i = 0; i < depth; i++) {
        chain.grow(1);
        await new Promise((resolve) => setTimeout(resolve, i < 5 ? 15 : 0));
      }
      await waitForBlock(indexer.url, 103 + depth);
      if (isDown) await stop(indexer);
      chain.replace(fork, from, "fork");
      if (isDown) indexer = await start(chain, content, `index ${depth} ${isDown}`);
      await waitForBlock(indexer.url, 104 + depth);
      const healed = await exportHistory(indexer.url);
      const fresh = await start(chain, content, `fresh ${depth} ${isDown}`);
      await waitForBlock(fresh.url, 104 + depth);
      expect(healed).to.deep.equal(await exportHistory(fresh.url));
      expect(healed.rooms[0].messages.map((message: { verdict: object }) => message.verdict)).to.deep.equal(
        Array(3).fill({ status: "verified" }),
      );
    }
  });

  it("raises an alarm when a final block changes, and calls nothing above it final again", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    chain.finalized = 103;
    const { fork, from } = forkOf(history, 3, ["another two", "three"]);
    const indexer = await start(chain, new WithheldStore(fork.blocks));
    await waitForBlock(indexer.url, 103);
    expect((await getAll(indexer.url, "/v1/anchors")).map(({ final }) => final)).to.deep.equal([true, true]);
    chain.replace(fork, from, "fork");
    chain.finalized = 105;
    await waitForBlock(indexer.url, 105);
    const { alarm, finalized } = await getOk(indexer.url, "/status");
    expect(alarm).to.match(/was final/);
    expect(finalized).to.equal(102);
    expect((await getAll(indexer.url, "/v1/anchors")).map(({ final }) => final)).to.deep.equal([true, false, false]);
  });

  it("stops at a gap, says why, and goes on from there when the node gives what it left out", async () => {
    for (const omittedIndex of [0, 2, 3]) {
      const history = conversation();
      const chain = new ScriptedChain(history);
      const content = new WithheldStore(history.blocks);
      chain.omitted.add(history.events[omittedIndex]!);
      const indexer = await start(chain, content, `gap ${omittedIndex}`);
      await waitFor("a problem", async () => (await get(indexer.url, "/ready")).body.code === "CHAIN_INCOMPLETE");
      chain.grow(3);
      await new Promise((resolve) => setTimeout(resolve, 50));
      const { status, body } = await get(indexer.url, "/ready");
      expect(status).to.equal(503);
      expect(body.detail).to.match(/leaves out events/);
      chain.omitted.clear();
      await waitForBlock(indexer.url, 106);
      const healed = await exportHistory(indexer.url);
      const fresh = await start(chain, content, `fresh ${omittedIndex}`);
      await waitForBlock(fresh.url, 106);
      expect(healed).to.deep.equal(await exportHistory(fresh.url));
      expect(healed.status.counts.messages).to.deep.equal({ verified: 2, rejected: 0, missing: 0 });
    }
  });

  it("finds what was left out before blocks that it took as read", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    const content = new WithheldStore(history.blocks);
    chain.grow(20_000);
    chain.omitted.add(history.events[3]!);
    const indexer = await start(chain, content);
    await waitFor("a problem", async () => (await get(indexer.url, "/ready")).body.code === "CHAIN_INCOMPLETE");
    chain.omitted.clear();
    await waitForBlock(indexer.url, 20_103);
    expect((await getOk(indexer.url, "/status")).counts.anchors).to.deep.equal({
      verified: 2,
      rejected: 0,
      missing: 0,
    });
  });

  it("serves on while the node is down, tells no client where it is, and resumes", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    const { url } = await start(chain, new WithheldStore(history.blocks));
    await waitForBlock(url, 103);
    chain.isDown = true;
    await waitFor("two failures", () => Promise.resolve(lines.some((line) => line.includes("did not answer"))));
    expect(await getAll(url, "/v1/rooms")).to.have.length(1);
    expect(JSON.stringify(await getOk(url, "/status"))).not.to.include("secret.internal");
    chain.isDown = false;
    history.anchorText("not a CID");
    chain.grow();
    await waitForBlock(url, 104);
  });

  it("never waits for content: what comes late fills in, and what lacks is named", async () => {
    const history = conversation();
    const room = history.room(ALICE, BOB);
    const [manifest, shard] = history
      .replay()
      .anchors.map(({ event, manifest: found }) => [event.cid!, found!.rooms[0]!])[1]!;
    const messages = history
      .replay()
      .entries(room)
      .map(({ cid }) => cid);
    const withheld: [Cid, object, object][] = [
      [messages[0]!, { verified: 1, rejected: 0, missing: 1 }, { messages: [messages[0]!], anchors: [] }],
      [manifest!, { verified: 1, rejected: 0, missing: 0 }, { messages: [], anchors: [1] }],
      [shard!, { verified: 1, rejected: 0, missing: 0 }, { messages: [], anchors: [1] }],
    ];
    for (const [cid, counts, lacks] of withheld) {
      const content = new WithheldStore(history.blocks);
      content.withheld.add(cid);
      const { url } = await start(new ScriptedChain(history), content, `without ${cid}`);
      await waitForBlock(url, 103, 1);
      const { room: before } = await getOk(url, `/v1/rooms/${room}`);
      expect(before.counts).to.deep.equal(counts);
      expect(before.lacks).to.deep.equal(lacks);
      expect((await get(url, `/v1/blocks/${cid}`)).body.code).to.equal("CONTENT_MISSING");
      content.isDown = true;
      await waitFor("the store to be noticed", async () => !(await getOk(url, "/status")).content.reachable);
      content.isDown = false;
      content.withheld.clear();
      await waitForBlock(url, 103, 0);
      const { room: after } = await getOk(url, `/v1/rooms/${room}`);
      expect(after.counts).to.deep.equal({ verified: 2, rejected: 0, missing: 0 });
      expect(after.n).to.equal(2);
      expect((await fetch(`${url}/v1/blocks/${cid}`)).status).to.equal(200);
    }
  });

  it("takes what a full disk refused as soon as there is room, without waiting for another block", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    const content = new WithheldStore(history.blocks);
    const said: string[] = [];
    const engine = openEngine(chain, {
      content,
      indexPath: join(folder, "index"),
      pollIntervalMs: 5,
      fetching: { firstRetryMs: 5 },
      log: (line) => said.push(line),
    });
    const { database } = engine.index;
    try {
      database.exec("CREATE TRIGGER full BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the disk is full'); END");
      while ((await engine.follower.turn()) === "again");
      await waitFor("a refusal", () => Promise.resolve(said.some((line) => line.includes("the disk is full"))));
      database.exec("DROP TRIGGER full");
      await waitFor("the messages", () => Promise.resolve(engine.history.missing.size === 0));
    } finally {
      await engine.stop();
      engine.index.close();
    }
  });

  it("says at once that the index cannot be written, and forgets it once it can", async () => {
    const history = conversation();
    const engine = openEngine(new ScriptedChain(history), {
      content: new WithheldStore(history.blocks),
      indexPath: join(folder, "index"),
      pollIntervalMs: 5,
    });
    const { history: written, follower, fetcher, index } = engine;
    try {
      index.database.pragma("query_only = ON");
      const error = await follower.turn().catch((thrown: unknown) => thrown);
      expect(error).to.include({
        code: "DATABASE_WRITE_FAILED",
        message: "the index: attempt to write a readonly database",
      });
      expect(unreadiness(follower, fetcher, written)?.code).to.equal("DATABASE_WRITE_FAILED");
      index.database.pragma("query_only = OFF");
      while ((await follower.turn()) === "again");
      expect(written.failure).to.equal(null);
    } finally {
      await engine.stop();
      index.close();
    }
  });

  it("shows a key whose document is missing, and one whose document is another's", async () => {
    const history = conversation();
    const { document } = history.register(BOB);
    history.register(ALICE, { document });
    const content = new WithheldStore(history.blocks);
    const [first] = history.events;
    const { url } = await start(new ScriptedChain(history), content);
    await waitForBlock(url, 105);
    const keys = await getAll(url, `/v1/wallets/${ALICE.address}/keys`);
    expect(first!.kind).to.equal("key");
    expect(keys.map((key) => key.documentVerdict.code ?? key.documentVerdict.status)).to.deep.equal([
      "verified",
      "KEY_DOCUMENT_MISMATCH",
    ]);
    // The fixture signed for its own document, so the binding does not cover this one.
    expect(keys[1].verdict.code).to.equal("BINDING_INVALID");
  });

  it("does not believe that an unchanged block has lost its events", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    const index = openEngine(chain, {
      ...quiet,
      content: new WithheldStore(history.blocks),
      indexPath: join(folder, "loss"),
    });
    try {
      await index.follower.turn();
      expect(index.history.counts).to.deep.equal({ anchors: 2, keys: 2 });
      // As after a gap: the last block is read again, by a node that says now that nothing was in it.
      index.history.rewind(103);
      chain.hidden.add(history.events[3]!);
      expect(await codeOfAsync(() => index.follower.turn())).to.equal("CHAIN_INCOMPLETE");
      expect(index.history.log.cursor?.number).to.equal(102);
      chain.hidden.clear();
      await index.follower.turn();
      expect(index.history.counts).to.deep.equal({ anchors: 2, keys: 2 });
      expect(index.history.log.orphansBetween(0, 200).map(({ number }) => number)).to.deep.equal([103]);
    } finally {
      await close(index);
    }
  });

  it("says when finality has stood still for a minute, while indexing goes on", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    chain.finalized = 101;
    const clock = new VirtualClock();
    const index = openEngine(chain, {
      ...quiet,
      clock,
      content: new WithheldStore(history.blocks),
      indexPath: join(folder, "stall"),
    });
    try {
      await index.follower.turn();
      for (const [seconds, stalled] of [
        [59, null],
        [61, 61_000],
      ] as const) {
        await passUntil(clock, seconds * 1_000);
        chain.grow(1);
        await index.follower.turn();
        expect(index.follower.finalityStalledMs).to.equal(stalled);
      }
      expect(index.history.log.cursor?.number).to.equal(105);
      chain.finalized = 104;
      await index.follower.turn();
      expect(index.follower.finalityStalledMs).to.equal(null);
      expect(index.follower.finalityAlarm).to.equal(null);
      // It never goes back, and what says so is told at once.
      chain.finalized = 99;
      await index.follower.turn();
      expect(index.history.log.finalized).to.equal(104);
      expect(index.follower.finalityAlarm).to.match(/^block 104 was final, and the chain now calls block 99 /);
      chain.finalized = 104;
      await index.follower.turn();
      expect(index.follower.finalityAlarm).to.equal(null);
    } finally {
      await close(index);
    }
  });

  it("resumes within five seconds of an outage of ten minutes", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    const clock = new VirtualClock();
    const index = openEngine(chain, {
      ...quiet,
      pollIntervalMs: 2_000,
      random: () => 0.999,
      clock,
      content: new WithheldStore(history.blocks),
      indexPath: join(folder, "outage"),
    });
    try {
      void index.follower.run();
      await passUntil(clock, 10_000);
      expect(index.history.log.cursor?.number).to.equal(103);
      chain.isDown = true;
      await passUntil(clock, 610_000);
      const backAtMs = clock.now();
      chain.isDown = false;
      chain.grow(1);
      while (index.history.log.cursor?.number !== 104) await pass(clock);
      expect(clock.now() - backAtMs).to.be.at.most(5_000);
    } finally {
      await close(index);
    }
  });

  it("takes a step at once when a node tells of a block, and polls when it goes silent", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    let tell: () => void = () => undefined;
    chain.subscribe = (onHead) => {
      tell = onHead;
      return () => undefined;
    };
    const clock = new VirtualClock();
    const index = openEngine(chain, {
      ...quiet,
      pollIntervalMs: 500,
      clock,
      content: new WithheldStore(history.blocks),
      indexPath: join(folder, "told"),
    });
    try {
      void index.follower.run();
      await passUntil(clock, 2_000);
      tell();
      await settled();
      const atMs = clock.now();
      const looks = chain.calls["head"]!;
      chain.grow(1);
      tell();
      await settled();
      expect([index.history.log.cursor?.number, clock.now()]).to.deep.equal([104, atMs]);
      expect(chain.calls["head"]! - looks).to.equal(1);
      // Nothing is asked while there is nothing to be told; after ten seconds of silence, it is.
      await pass(clock);
      expect(clock.now() - atMs).to.be.within(9_000, 10_500);
      chain.grow(1);
      await passUntil(clock, clock.now() + 1_000);
      expect(index.history.log.cursor?.number).to.equal(105);
    } finally {
      await close(index);
    }
  });

  it("refuses an index of another chain with the same id and addresses", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    const content = new WithheldStore(history.blocks);
    await stop(await start(chain, content));
    const changes = [{ genesis: "0x01" }, { codes: ["0x01", "0x"] }, { startBlock: 7 }, { fork: "0x01" }] as const;
    for (const change of changes) {
      const other = Object.assign(new ScriptedChain(history), { identity: { ...chain.identity, ...change } });
      expect(await codeOfAsync(() => start(other, content))).to.equal("DATABASE_FOREIGN");
    }
    // A node that does not have block 0 does not know better.
    const pruned = Object.assign(new ScriptedChain(history), { identity: { ...chain.identity, genesis: "0x" } });
    await stop(await start(pruned, content));
  });

  it("refuses a second process's place on the same index, and another deployment's index", async () => {
    const history = conversation();
    const chain = new ScriptedChain(history);
    const content = new WithheldStore(history.blocks);
    const indexer = await start(chain, content);
    expect(await codeOfAsync(() => start(chain, content))).to.equal("DATABASE_BUSY");
    await stop(indexer);
    const other = Object.assign(new ScriptedChain(history), { deployment: { ...history.deployment, chainId: 1 } });
    expect(await codeOfAsync(() => start(other, content))).to.equal("DATABASE_FOREIGN");
  });
});

const quiet = { pollIntervalMs: 5, log: () => undefined, random: () => 0.5 };

async function close(engine: Engine): Promise<void> {
  await engine.stop();
  engine.index.close();
}

async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
}

async function pass(clock: VirtualClock): Promise<void> {
  await settled();
  clock.next();
  await settled();
}

async function passUntil(clock: VirtualClock, ms: number): Promise<void> {
  const marker = { isReached: false };
  clock.after(ms - clock.now(), () => (marker.isReached = true));
  while (!marker.isReached) await pass(clock);
}
