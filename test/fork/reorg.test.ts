import { join } from "node:path";

import { expect } from "chai";

import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { startIndexer, type Indexer } from "../../indexer/indexer.ts";
import { contentOfText } from "../../protocol/content.ts";
import { roomIdOf } from "../../protocol/room.ts";
import { rebuild } from "../../io/history.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { anchorsOf } from "../fixtures/anchor.ts";
import type { Chain } from "../fixtures/chain.ts";
import type { TestDeployment } from "../fixtures/deployment.ts";
import { deployOnFork, startFork, UPSTREAMS, type Fork } from "../fixtures/fork.ts";
import { exportHistory, getAll, waitFor, waitForBlock } from "../fixtures/indexer-client.ts";

/** How deep each reorg is, and how many anchors lie in what it removes. */
const REORGS = [
  { depth: 1, anchors: 1 },
  { depth: 3, anchors: 2 },
  { depth: 64, anchors: 3 },
] as const;

for (const { name, start } of UPSTREAMS) {
  describe(`reorgs of a fork of ${name}`, function () {
    this.timeout(60_000);
    let upstream: Chain;
    let fork: Fork;
    let chain: TestDeployment;
    let session: Session;
    /** Follows the chain through all of it. */
    let indexer: Indexer;
    let indexes = 0;
    /** All that was ever sent, in order. */
    const sent: string[] = [];

    before(async () => {
      upstream = await start();
      fork = await startFork(upstream);
      chain = await deployOnFork(fork);
      session = chain.open();
      await register(session, chain.alice);
      await register(session, chain.bob);
      await write();
      await anchor(session);
      indexer = await openIndexer();
    });

    after(async () => {
      await indexer.close();
      await session.close();
      await chain.close();
      await fork.stop();
      await upstream.stop();
    });

    function openIndexer(): Promise<Indexer> {
      return startIndexer({
        rpcs: [httpRpc(fork.url)],
        addresses: session.deployment,
        content: session.content,
        indexPath: join(chain.dataDir, `index ${indexes++}.sqlite`),
        host: "127.0.0.1",
        port: 0,
        pollIntervalMs: 20,
        fetching: { firstRetryMs: 10, maxRetryMs: 50 },
      });
    }

    async function write(): Promise<void> {
      const text = `message ${sent.length + 1}`;
      const { data } = await send(session, chain.alice, [{ to: chain.bob, content: contentOfText(text) }]);
      const { messages } = data as { messages: readonly { readonly cid: string }[] };
      sent.push(...messages.map(({ cid }) => cid));
    }

    const entryCount = async (): Promise<number> => (await session.reader.entryHead()).count;

    /** Writes and anchors so that `anchors` anchors lie in the newest `depth` blocks, the first of them in the oldest. */
    async function anchorAcross(depth: number, anchors: number): Promise<string[]> {
      const transactions: string[] = [];
      const before = await fork.height();
      for (let i = 0; i < anchors; i++) {
        await write();
        transactions.push(...anchorsOf(await anchor(session)).map(({ transactionHash }) => transactionHash));
      }
      const rest = before + depth - (await fork.height());
      if (rest > 0) await fork.mine(rest);
      expect(await fork.height()).to.equal(before + depth);
      return transactions;
    }

    async function reorganize(depth: number, transactions: readonly string[] = []): Promise<void> {
      const before = await fork.request("eth_getBlockByNumber", "latest", false);
      await fork.reorg(depth, transactions);
      expect(await fork.request("eth_getBlockByNumber", "latest", false)).to.not.deep.equal(before);
      // What comes next is paid at Polygon's base fee again; anvil's new blocks are empty and cost nothing.
      await fork.mine(1);
    }

    /** Every message once and verified; and nobody who starts anew sees anything else. */
    async function expectWhole(): Promise<void> {
      expect(anchorsOf(await anchor(session))).to.deep.equal([]);
      const { data, error } = await audit(session);
      expect(error).to.equal(undefined);
      expect(data).to.deep.include({ messages: { verified: sent.length, rejected: 0, missing: 0 } });
      const { events } = await session.reader.allEvents();
      const replay = await rebuild(session.deployment, events, session.content);
      const room = roomIdOf(session.deployment, chain.alice, chain.bob);
      expect(replay.entries(room).map(({ cid }) => cid)).to.deep.equal(sent);
      expect(replay.anchors.map(({ verdict }) => verdict.status)).to.deep.equal(replay.anchors.map(() => "verified"));

      await waitForBlock(indexer.url, await fork.height());
      const fresh = await openIndexer();
      try {
        await waitForBlock(fresh.url, await fork.height());
        expect(await exportHistory(indexer.url)).to.deep.equal(await exportHistory(fresh.url));
      } finally {
        await fresh.close();
      }
    }

    for (const { depth, anchors } of REORGS) {
      const what = `${depth} block${depth === 1 ? "" : "s"} with ${anchors} anchor${anchors === 1 ? "" : "s"}`;

      it(`anchors again by itself what a reorg of ${what} has removed`, async () => {
        const kept = await entryCount();
        await anchorAcross(depth, anchors);
        await waitForBlock(indexer.url, await fork.height());
        await reorganize(depth);
        expect(await entryCount()).to.equal(kept);
        const isSeen = async (): Promise<boolean> => (await getAll(indexer.url, "/v1/anchors")).length === kept;
        await waitFor("the indexer to see it", isSeen);

        await write();
        const again = anchorsOf(await anchor(session));
        expect(again.map(({ index }) => index)).to.deep.equal(Array.from({ length: anchors + 1 }, (_, i) => kept + i));
        expect(again.map(({ resumed }) => resumed)).to.deep.equal([...Array<boolean>(anchors).fill(true), false]);
        await expectWhole();
      });

      it(`anchors nothing twice when a reorg of ${what} has mined them again elsewhere`, async () => {
        const kept = await entryCount();
        const hashes = await anchorAcross(depth, anchors);
        const raw = await Promise.all(hashes.map((hash) => fork.request("eth_getRawTransactionByHash", hash)));
        await waitForBlock(indexer.url, await fork.height());
        await reorganize(depth, raw.map(String));
        expect(await entryCount()).to.equal(kept + anchors);

        await write();
        expect(anchorsOf(await anchor(session)).map(({ index }) => index)).to.deep.equal([kept + anchors]);
        await expectWhole();
      });
    }
  });
}
