/** A history page of 50 over HTTP, against a bare server that runs the same query on the same index and writes the rows. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";

import { History } from "../indexer/history.ts";
import { startIndexerOn, type Indexer } from "../indexer/indexer.ts";
import type { Chain } from "../indexer/follower.ts";
import { openIndex } from "../indexer/store/database.ts";
import type { AnchorEvent } from "../protocol/event.ts";
import { type Cid } from "../protocol/cid.ts";
import { draftManifest } from "../protocol/manifest.ts";
import { DEPLOYMENT, makeConversation, makePerson, sealBlock, type Conversation } from "./conversation.ts";
import { median, type Comparison, type Duration } from "./measure.ts";
import type { Load, LoadResult } from "./load.ts";

const MESSAGES = 2_000;
const PAGE = 50;
const CONNECTIONS = 64;
const ROUNDS = 5;
const ROUND_MS = 1_500;
const HASH = `0x${"00".repeat(32)}` as const;
const QUERY = `SELECT e.*, rooms.id AS room, cids.cid AS cid, block_number, block_hash, transaction_hash
  FROM entries AS e JOIN anchors USING (anchor_index)
  JOIN rooms ON rooms.number = room_number JOIN cids ON cids.id = cid_id
  WHERE room_number = (SELECT number FROM rooms WHERE id = ?) AND (e.anchor_index, ordinal) > (?, ?) ORDER BY e.anchor_index, ordinal LIMIT ?`;

export async function benchHttp(): Promise<{ readonly comparison: Comparison; readonly latency: Duration }> {
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  const path = join(folder, "index");
  const conversation = makeConversation(makePerson("alice", 0), makePerson("bob", 1));
  writeIndex(path, conversation);
  const served = await serve(path);
  const bare = await serveBare(path, conversation.room);
  try {
    const page = `/v1/rooms/${conversation.room}/messages?limit=${PAGE}`;
    const rates: { readonly measured: number; readonly bare: number }[] = [];
    for (let round = -1; round < ROUNDS; round++) {
      const times = { bare: await rateOf(bare.url, page), measured: await rateOf(served.url, page) };
      if (round >= 0) rates.push(times);
    }
    const peak = median(rates.map(({ measured }) => measured));
    const { p99Ms } = await load({
      url: served.url,
      path: page,
      connections: CONNECTIONS,
      ms: 4_000,
      perSecond: peak / 2,
    });
    const comparison: Comparison = {
      name: `history page of ${PAGE} over HTTP, ${CONNECTIONS} connections`,
      ratio: median(rates.map((times) => times.measured / times.bare)),
      goal: 0.5,
      measuredUs: 1e6 / peak,
      boundUs: 1e6 / median(rates.map((times) => times.bare)),
      bound: "bare node:http with the same SQLite query",
    };
    return { comparison, latency: { name: "the same at half of its peak: 99 % of answers", ms: p99Ms, goalMs: 10 } };
  } finally {
    await served.close();
    await bare.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** An index as the follower and the fetcher leave it: one room, its messages in anchors of a hundred. */
function writeIndex(path: string, conversation: Conversation): void {
  const index = openIndex(path, DEPLOYMENT, () => undefined);
  const history = new History(index.database, DEPLOYMENT);
  const events = [conversation.sender.event, conversation.receiver.event];
  history.extend({ events, cursor: { number: 1, hash: HASH, timestamp: 0, isProved: true }, finalized: 1 });
  for (let anchor = 0; anchor < MESSAGES / 100; anchor++) {
    const sealed = Array.from({ length: 100 }, (_, i) => sealBlock(conversation, 100 * anchor + i + 1));
    const draft = draftManifest(history.tip, new Map([[conversation.room, sealed.map(({ cid }) => cid)]]));
    const blocks = new Map<Cid, Uint8Array>(sealed.map(({ cid, block }) => [cid, block]));
    for (const { cid, bytes } of draft.blocks) blocks.set(cid, bytes);
    const position = { blockNumber: 2 + anchor, logIndex: 0, blockHash: HASH, transactionHash: HASH };
    const event: AnchorEvent = { kind: "anchor", index: anchor, cid: draft.cid, text: draft.cid, ...position };
    history.extend({
      events: [event],
      cursor: { number: 2 + anchor, hash: HASH, timestamp: 0, isProved: true },
      finalized: 1,
    });
    history.receive(blocks);
  }
  index.close();
}

/** The whole service, on a chain that says nothing new. */
function serve(path: string): Promise<Indexer> {
  const block = { number: 1 + MESSAGES / 100, hash: HASH, parentHash: HASH, timestamp: 0 } as const;
  const chain: Chain = {
    deployment: DEPLOYMENT,
    startBlock: 1,
    identity: {
      deployment: DEPLOYMENT,
      startBlock: 1,
      genesis: HASH,
      startBlockHash: HASH,
      fork: "0x",
      codes: ["0x", "0x"],
    },
    fetchView: () =>
      Promise.resolve({
        isConfirmed: true,
        block,
        finalized: 1,
        finalizedBlock: null,
        checkpointBlock: block,
        next: null,
      }),
    block: () => Promise.resolve(block),
    prove: () => Promise.resolve(),
    async *ranges() {
      // Nothing comes.
    },
  };
  const none = (): Promise<never> => Promise.reject(new Error("nothing is missing"));
  const content = {
    name: "none",
    get: none,
    put: none,
    pin: none,
    missing: none,
    isPinned: none,
    close: () => Promise.resolve(),
  };
  return startIndexerOn(chain, { content, indexPath: path, host: "127.0.0.1", port: 0, pollIntervalMs: 1_000 });
}

async function serveBare(path: string, room: string): Promise<{ readonly url: string; close(): Promise<void> }> {
  const { default: Database } = await import("better-sqlite3");
  const database = new Database(path, { readonly: true });
  const statement = database.prepare(QUERY);
  const server: Server = createServer((_, response) => {
    const body = JSON.stringify({ items: statement.all(room, -1, -1, PAGE + 1) });
    response
      .writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) })
      .end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    database.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

async function rateOf(url: string, path: string): Promise<number> {
  const { answers, ms } = await load({ url, path, connections: CONNECTIONS, ms: ROUND_MS, perSecond: null });
  return (answers * 1_000) / ms;
}

/** From a thread of its own, so that asking does not wait for answering. */
function load(workerData: Load): Promise<LoadResult> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("load.ts", import.meta.url), { workerData });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}
