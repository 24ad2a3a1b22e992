/**
 * One measured run of the index, or of the least that its work needs: raw logs in large ranges, headers in batches, one insert per
 * event. In a process of its own, so that its memory is its own and both begin cold:
 *
 *     index-run.ts index | bare URL FOLDER BLOCKS
 *
 * Prints the result as JSON.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import Database from "better-sqlite3";

import { openEngine } from "../indexer/indexer.ts";
import { CHAIN_OF_SERVICE, ChainClient } from "../io/chain/client.ts";
import { httpRpc } from "../io/chain/rpc/http-rpc.ts";
import { forEachConcurrent } from "../io/concurrent.ts";
import type { ContentStore } from "../io/content/store.ts";
import { DEPLOYMENT } from "./conversation.ts";

export interface ChainResult {
  readonly ms: number;
  readonly rssMiB: number;
}

const RANGE = 500;
const HEADERS = 100;
const CONCURRENCY = 4;

/** No content: what is measured is the chain. */
const NOTHING: ContentStore = {
  name: "nothing",
  get: () => Promise.resolve(null),
  put: () => Promise.resolve(),
  pin: () => Promise.resolve(),
  missing: (roots) => Promise.resolve([...roots]),
  isPinned: (cids) => Promise.resolve(cids.map(() => false)),
  close: () => Promise.resolve(),
};

async function sync(url: string, folder: string): Promise<void> {
  const chain = await ChainClient.open([httpRpc(url)], DEPLOYMENT, CHAIN_OF_SERVICE);
  const { index, follower, stop } = openEngine(chain, {
    content: NOTHING,
    indexPath: join(folder, "index.sqlite"),
    pollIntervalMs: 1_000,
  });
  while ((await follower.turn()) === "again") await sleep(0);
  await stop();
  index.close();
}

interface RawLog {
  readonly blockNumber: string;
  readonly logIndex: string;
}

async function bare(url: string, folder: string, blocks: number): Promise<void> {
  const database = new Database(join(folder, "bare.sqlite"));
  database.pragma("journal_mode = WAL");
  database.pragma("synchronous = FULL");
  database.exec("CREATE TABLE events (block INTEGER, log INTEGER, body TEXT, PRIMARY KEY (block, log)) WITHOUT ROWID");
  const insert = database.prepare("INSERT INTO events VALUES (?, ?, ?)");
  const ranges = Array.from({ length: Math.ceil(blocks / RANGE) }, (_, i) => i * RANGE + 1);
  await forEachConcurrent(ranges, CONCURRENCY, async (from) => {
    const to = Math.min(blocks, from + RANGE - 1);
    const filter = { address: DEPLOYMENT.cidStore, fromBlock: quantity(from), toBlock: quantity(to) };
    const logs = (await post(url, { id: 1, method: "eth_getLogs", params: [filter] })) as RawLog[];
    const numbers = [...new Set(logs.map(({ blockNumber }) => blockNumber))];
    for (let start = 0; start < numbers.length; start += HEADERS) {
      const part = numbers.slice(start, start + HEADERS);
      await post(
        url,
        part.map((number, id) => ({ id, method: "eth_getBlockByNumber", params: [number, false] })),
      );
    }
    database.transaction(() => {
      for (const log of logs) insert.run(Number(log.blockNumber), Number(log.logIndex), JSON.stringify(log));
    })();
  });
  database.close();
}

async function post(url: string, body: object): Promise<unknown> {
  const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
  return ((await response.json()) as { readonly result?: unknown }).result;
}

function quantity(value: number): string {
  return `0x${value.toString(16)}`;
}

const [mode = "", url = "", folder = "", blocks = ""] = process.argv.slice(2);
const startedAtMs = performance.now();
await (mode === "bare" ? bare(url, folder, Number(blocks)) : sync(url, folder));
const ms = performance.now() - startedAtMs;
const result: ChainResult = { ms, rssMiB: process.resourceUsage().maxRSS / 1_024 };
process.stdout.write(`${JSON.stringify(result)}\n`);
