/** The index against the least that its work needs: raw logs in large ranges, headers in batches, one insert per event. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import Database from "better-sqlite3";

import { forEachConcurrent } from "../io/concurrent.ts";
import { startChainServer, type ChainShape } from "./chain-server.ts";
import { DEPLOYMENT } from "./conversation.ts";
import { median, time, type Comparison } from "./measure.ts";

const RUN = fileURLToPath(new URL("index-run.ts", import.meta.url));
const ROUNDS = 3;
const RANGE = 500;
const HEADERS = 100;
const CONCURRENCY = 4;

export const benchSparseChain = (): Promise<Comparison> =>
  benchChain("cold chain sync, 10,000 events in 10,000 blocks", { blocks: 10_000, eventsPerBlock: 1 });

export const benchDenseChain = (): Promise<Comparison> =>
  benchChain("cold chain sync, 100,000 events in 2,000 blocks", { blocks: 2_000, eventsPerBlock: 50 });

async function benchChain(name: string, shape: ChainShape): Promise<Comparison> {
  const server = await startChainServer(shape);
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  const events = shape.blocks * shape.eventsPerBlock;
  const rounds: { readonly ms: number; readonly bareMs: number; readonly rssMiB: number }[] = [];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const bareMs = await time(() => bare(server.url, shape, join(folder, `bare ${round}`)));
      const home = await mkdtemp(join(folder, "index-"));
      const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, RUN, server.url, home]);
      const { ms, rssMiB } = JSON.parse(stdout) as { ms: number; rssMiB: number };
      rounds.push({ ms, bareMs, rssMiB });
    }
  } finally {
    await server.stop();
    await rm(folder, { recursive: true });
  }
  const rssMiB = Math.max(...rounds.map((round) => round.rssMiB));
  return {
    name: `${name} (${rssMiB.toFixed(0)} MiB)`,
    goal: 0.5,
    bound: "raw logs, headers, one insert per event",
    ratio: median(rounds.map(({ ms, bareMs }) => bareMs / ms)),
    measuredUs: (median(rounds.map(({ ms }) => ms)) * 1_000) / events,
    boundUs: (median(rounds.map(({ bareMs }) => bareMs)) * 1_000) / events,
  };
}

interface RawLog {
  readonly blockNumber: string;
  readonly logIndex: string;
}

async function bare(url: string, { blocks }: ChainShape, path: string): Promise<void> {
  const database = new Database(path);
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
