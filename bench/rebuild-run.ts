/**
 * The index on a written history, in a process of its own, so that its memory is its own:
 *
 *     rebuild-run.ts rebuild FOLDER | serve FOLDER MESSAGES ROOMS | export FOLDER
 *
 * `rebuild` makes it anew; `serve` starts the service on what is there, then anchors a hundred messages a few times; `export` writes
 * an archive and verifies it by itself. Prints the result as JSON.
 */
import { createWriteStream, rmSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";

import Database from "better-sqlite3";

import { openEngine, startIndexerOn } from "../indexer/indexer.ts";
import { readMeta } from "../indexer/store/meta.ts";
import { StateRows } from "../indexer/store/state-rows.ts";
import { ArchiveFile } from "../io/archive-file.ts";
import { ArchiveExport } from "../io/archive.ts";
import { EmbeddedStore } from "../io/content/embedded.ts";
import { OrderedReplay } from "../io/ordered-replay.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { draftManifest, type Tip } from "../protocol/manifest.ts";
import { keepHeapSmall } from "../tasks/small-heap.ts";
import { median } from "./measure.ts";
import { makePeople, makeRooms, sealNext, WrittenChain } from "./written-history.ts";

export interface RebuildResult {
  readonly ms: number;
  readonly rssMiB: number;
  readonly verified: number;
}

export interface ServeResult {
  /** From the start of the process to the first answer that says that it is ready. */
  readonly readyMs: number;
  /** From the moment that a node tells of an anchor to the first answer that has its last message. */
  readonly servedMs: number;
}

export interface ExportResult {
  /** Of writing it, looking through what was written, and verifying it. */
  readonly rssMiB: number;
  /** The verified ones. */
  readonly messages: number;
}

const INCREMENT = 100;
const INCREMENT_ROOMS = 40;
const INCREMENTS = 9;

async function rebuild(folder: string): Promise<RebuildResult> {
  const indexPath = join(folder, "index.sqlite");
  for (const suffix of ["", "-wal", "-shm", ".lock"]) rmSync(indexPath + suffix, { force: true });
  const content = new EmbeddedStore(join(folder, "blocks"));
  const chain = await WrittenChain.open(folder);
  const startedAtMs = performance.now();
  const { index, history, fetcher, follower, stop } = openEngine(chain, { content, indexPath, pollIntervalMs: 1_000 });
  while ((await follower.turn()) === "again") await sleep(0);
  // The key documents are nowhere: what has been asked for and not found is waited for no longer.
  while (!fetcher.isSettled || history.isBusy) await sleep(2);
  const ms = performance.now() - startedAtMs;
  const verified = index.database
    .prepare("SELECT n FROM totals WHERE kind = 'messages' AND status = 'verified'")
    .pluck()
    .get() as number;
  await stop();
  index.close();
  await content.close();
  return { ms, rssMiB: process.resourceUsage().maxRSS / 1_024, verified };
}

async function serve(folder: string, messages: number, roomCount: number): Promise<ServeResult> {
  const content = new EmbeddedStore(join(folder, "blocks"));
  const chain = await WrittenChain.open(folder);
  const options = {
    content,
    indexPath: join(folder, "index.sqlite"),
    host: "127.0.0.1",
    port: 0,
    pollIntervalMs: 1_000,
  };
  const indexer = await startIndexerOn(chain, options);
  await answered(`${indexer.url}/ready`);
  const readyMs = performance.now();

  const rooms = makeRooms(makePeople(), roomCount).slice(0, INCREMENT_ROOMS);
  const times: number[] = [];
  for (let made = messages; made < messages + INCREMENTS * INCREMENT; made += INCREMENT) {
    const { delta, blocks } = sealNext(rooms, made, INCREMENT);
    const draft = draftManifest(tipOf(options.indexPath), delta);
    await content.put([...blocks, ...draft.blocks]);
    const startedAtMs = performance.now();
    chain.anchor(draft.cid);
    await answered(`${indexer.url}/v1/messages/${blocks.at(-1)?.cid ?? ""}`, '"status":"verified"');
    times.push(performance.now() - startedAtMs);
  }
  await indexer.close();
  await content.close();
  return { readyMs, servedMs: median(times) };
}

async function exportAll(folder: string): Promise<ExportResult> {
  keepHeapSmall();
  const content = new EmbeddedStore(join(folder, "blocks"));
  const chain = await WrittenChain.open(folder);
  const events: ChainEvent[] = [];
  for await (const range of chain.ranges(null, (await chain.fetchView(null)).block)) events.push(...range.events);
  const scope = { room: null, wallet: null, since: 0 };
  const archive = new ArchiveExport({ deployment: chain.deployment, events, scope }, content);
  const path = join(folder, "archive.car");
  await pipeline(archive.bytes(), createWriteStream(path));
  await content.close();
  const file = await ArchiveFile.open(path);
  let messages = 0;
  const replay = new OrderedReplay(file.subject.deployment, file, ({ verdict }) => {
    if (verdict.status === "verified") messages += 1;
  });
  for (const event of file.subject.events) await replay.take(event);
  replay.close();
  await file.close();
  rmSync(path);
  return { rssMiB: process.resourceUsage().maxRSS / 1_024, messages };
}

/** Where the line of the index stands, by a look from beside the service. */
function tipOf(indexPath: string): Tip | null {
  const database = new Database(indexPath);
  const row = readMeta(database, "tip");
  if (row === null) return null;
  const { anchorIndex: index, cid, seq } = JSON.parse(row) as { anchorIndex: number; cid: Tip["cid"]; seq: number };
  return { index, cid, seq, state: new StateRows(database).stateAt(index) };
}

async function answered(url: string, text = ""): Promise<void> {
  for (;;) {
    const response = await fetch(url);
    const body = await response.text();
    if (response.ok && body.includes(text)) return;
    // The asking is done by the thread that is asked.
    await sleep(1);
  }
}

const [mode = "", folder = "", messages = "", rooms = ""] = process.argv.slice(2);
const modes: Readonly<Record<string, () => Promise<object>>> = {
  rebuild: () => rebuild(folder),
  serve: () => serve(folder, Number(messages), Number(rooms)),
  export: () => exportAll(folder),
};
const result = await modes[mode]?.();
process.stdout.write(`${JSON.stringify(result)}\n`);
// A pool of connections would keep it for a while.
process.exit();
