import { rmSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { ChainClient } from "../../io/chain/client.ts";
import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { EmbeddedStore } from "../../io/content/embedded.ts";
import { rebuild } from "../../io/history.ts";
import { startIndexer, type Indexer } from "../../indexer/indexer.ts";
import { toHex } from "../../protocol/bytes.ts";
import { startChain, deploy, type Chain, type Deployed } from "../fixtures/chain.ts";
import { Conversation } from "../fixtures/conversation.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf } from "../fixtures/history.ts";
import { exportHistory, getAll, getOk, waitFor, waitForBlock } from "../fixtures/indexer-client.ts";

describe("the indexer on a real chain with real blocks", function () {
  this.timeout(60_000);
  const folder = useFolder();
  let chain: Chain;
  let deployed: Deployed;
  let content: EmbeddedStore;
  let talk: Conversation;
  let indexer: Indexer | undefined;

  beforeEach(async () => {
    chain = await startChain();
    deployed = await deploy(chain.url);
    content = new EmbeddedStore(join(folder(), "blocks"));
    talk = new Conversation(deployed, content);
    await talk.register(ALICE);
    await talk.register(BOB);
  });
  afterEach(async () => {
    await indexer?.close();
    indexer = undefined;
    deployed.close();
    await chain.stop();
  });

  async function start(): Promise<string> {
    await indexer?.close();
    indexer = await startIndexer({
      rpcs: [httpRpc(chain.url)],
      addresses: deployed.deployment,
      content,
      indexPath: join(folder(), "index.sqlite"),
      host: "127.0.0.1",
      port: 0,
      pollIntervalMs: 20,
      fetching: { firstRetryMs: 10, maxRetryMs: 50 },
    });
    return indexer.url;
  }
  const height = (): Promise<number> => deployed.provider.getBlockNumber();

  it("rebuilds a conversation over four anchors, one of them invalid, with a late and a forged message", async () => {
    const room = talk.room(ALICE, BOB);
    const url = await start();

    const hello = await talk.send(ALICE, BOB, "Hello Bob 👋");
    await talk.anchor(deltaOf([room, [hello]]));
    await waitForBlock(url, await height());
    expect(
      (await getAll(url, `/v1/rooms/${room}/messages`)).map(({ cid, verdict }) => [cid, verdict.status]),
    ).to.deep.equal([[hello, "verified"]]);

    const answer = await talk.send(BOB, ALICE, "Grüezi, Alice");
    const late = await talk.send(BOB, ALICE, "This one comes late", { isStored: false });
    await talk.anchor(deltaOf([room, [answer, late]]));
    const unaccounted = await talk.send(ALICE, BOB, "Anchored with a wrong count");
    const skipped = await talk.anchorInvalid(deltaOf([room, [unaccounted]]), { count: 2 });
    const forged = await talk.send(ALICE, BOB, "not by Alice", { signer: CAROL.identity(), seq: 2 });
    const again = await talk.send(ALICE, BOB, "by Alice", { seq: 2 });
    await talk.anchor(deltaOf([room, [forged, again]]));
    await waitForBlock(url, await height(), 1);

    expect((await getOk(url, `/v1/rooms/${room}`)).room.lacks).to.deep.equal({ messages: [late], anchors: [] });
    expect((await getOk(url, `/v1/anchors/${skipped}`)).anchor.verdict.code).to.equal("COUNT_MISMATCH");
    await talk.release(late);
    await waitForBlock(url, await height());

    const messages = await getAll(url, `/v1/rooms/${room}/messages`);
    expect(messages.map(({ cid }) => cid)).to.deep.equal([hello, answer, late, unaccounted, forged, again]);
    expect(messages.map(({ verdict }) => verdict.code ?? verdict.status)).to.deep.equal([
      "verified",
      "verified",
      "verified",
      "verified",
      "SIGNATURE_INVALID",
      "verified",
    ]);
    // A false account hides no message; the state does not account for it.
    expect(messages.map(({ accounted }) => accounted)).to.deep.equal([true, true, true, false, true, true]);
    expect((await getOk(url, `/v1/rooms/${room}`)).room.n).to.equal(5);
    const receipt = await deployed.provider.getTransactionReceipt(messages[0].transactionHash as string);
    expect([receipt!.blockNumber, receipt!.blockHash]).to.deep.equal([messages[0].blockNumber, messages[0].blockHash]);

    // A stranger, with the chain and the blocks alone, comes to the same.
    const reader = await ChainClient.open([httpRpc(chain.url)], deployed.deployment);
    const { events } = await reader.allEvents();
    const replay = await rebuild(deployed.deployment, events, content);
    expect((await getOk(url, "/status")).stateRoot).to.equal(toHex(replay.state.root));
    expect(messages.map(({ verdict }) => verdict)).to.deep.equal(replay.entries(room).map(({ verdict }) => verdict));

    // Kept or deleted, the index says the same.
    const before = await exportHistory(url);
    const kept = await start();
    await waitForBlock(kept, await height());
    expect(await exportHistory(kept)).to.deep.equal(before);
    await indexer?.close();
    rmSync(join(folder(), "index.sqlite"));
    const rebuilt = await start();
    await waitForBlock(rebuilt, await height());
    expect(await exportHistory(rebuilt)).to.deep.equal(before);
  });

  it("takes back what a reorg orphaned and shows what replaced it", async () => {
    const room = talk.room(ALICE, BOB);
    const url = await start();
    const first = await talk.send(ALICE, BOB, "stays");
    const { blockNumber } = await talk.anchor(deltaOf([room, [first]]));
    const tip = talk.tip;
    const orphan = await talk.send(ALICE, BOB, "goes");
    await talk.anchor(deltaOf([room, [orphan]]));
    await waitForBlock(url, blockNumber + 1);
    expect((await getAll(url, `/v1/rooms/${room}/messages`)).map(({ cid }) => cid)).to.deep.equal([first, orphan]);

    await deployed.provider.send("anvil_reorg", [1, []]);
    await deployed.provider.send("anvil_dropAllTransactions", []);
    await waitFor("the orphan to go", async () => (await getAll(url, `/v1/rooms/${room}/messages`)).length === 1);
    talk.tip = tip;
    const replacement = await talk.send(ALICE, BOB, "takes its place", { seq: 2 });
    await talk.anchor(deltaOf([room, [replacement]]));
    await waitForBlock(url, await height());
    const healed = await exportHistory(url);
    expect(healed.rooms[0].messages.map(({ cid }: { cid: string }) => cid)).to.deep.equal([first, replacement]);
    expect(healed.anchors).to.have.length(2);

    await indexer?.close();
    rmSync(join(folder(), "index.sqlite"));
    const rebuilt = await start();
    await waitForBlock(rebuilt, await height());
    expect(await exportHistory(rebuilt)).to.deep.equal(healed);
  });

  it("calls final what the chain's finalized tag covers, and nothing else", async () => {
    const url = await start();
    await talk.anchor(deltaOf([talk.room(ALICE, BOB), [await talk.send(ALICE, BOB, "Hi")]]));
    await waitForBlock(url, await height());
    expect((await getOk(url, "/v1/anchors/0")).anchor.final).to.equal(false);
    await deployed.provider.send("anvil_mine", ["0x64"]);
    await waitFor("finality", async () => (await getOk(url, "/v1/anchors/0")).anchor.final === true);
  });
});
