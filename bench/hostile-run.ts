/**
 * What the worst anchors that the format allows cost, in a process of its own, so that its memory is its own:
 *
 *     hostile-run.ts write FOLDER CASE MESSAGES | index FOLDER CASE | restart FOLDER CASE | audit FOLDER CASE
 *     hostile-run.ts forks FOLDER ROOMS ANCHORS | health URL
 *
 * Cases: `absent` lists messages that nobody has, in as many new rooms, whose ids share all bits but the last in pairs; `present` lists
 * valid ones, in as many new rooms. Prints the result as JSON; `health` is a part of `index`, and answers to its parent.
 */
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import type { AnchorDetailAnswer } from "../client/api/chain.ts";
import { openEngine, startIndexerOn } from "../indexer/indexer.ts";
import { EmbeddedStore } from "../io/content/embedded.ts";
import { rebuild } from "../io/history.ts";
import { toHex } from "../protocol/bytes.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { draftManifest, type Block, type Tip } from "../protocol/manifest.ts";
import type { RoomId } from "../protocol/room.ts";
import { State } from "../protocol/state.ts";
import { makeConversation, sealBlock } from "./conversation.ts";
import { makePeople, WrittenChain } from "./written-history.ts";

export type Case = "absent" | "present";

export interface IndexResult {
  /** From the moment that a node tells of the anchor until it, and each of its entries that can be, is decided. */
  readonly ms: number;
  /** The longest that an answer of /health took meanwhile. */
  readonly healthMs: number;
  /** The longest turn of the event loop meanwhile, and the longest pause that the collector made: it may be a part of that turn. */
  readonly turnMs: number;
  readonly collectorMs: number;
  readonly rssMiB: number;
  /** Of the index. */
  readonly diskMiB: number;
}

export interface RestartResult {
  readonly readyMs: number;
}

export interface AuditResult {
  readonly ms: number;
  readonly rssMiB: number;
}

export interface ForksResult {
  /** Of one anchor. */
  readonly ms: number;
}

/** As many as 262,144 rooms of two take. */
const PEOPLE = 725;
const PUT_BLOCKS = 4_096;
const HEALTH_INTERVAL_MS = 20;
/** Between two looks at whether it is done: each takes a millisecond of the thread that is measured. */
const LOOK_INTERVAL_MS = 50;
const LOOP_RESOLUTION_MS = 5;

async function write(folder: string, kind: Case, count: number): Promise<object> {
  const content = new EmbeddedStore(join(folder, "blocks"));
  const delta = new Map<RoomId, readonly Cid[]>();
  const blocks: Block[] = [];
  for (const { room, cid, bytes } of kind === "absent" ? listAbsent(count) : listPresent(count)) {
    delta.set(room, [cid]);
    if (bytes !== null) blocks.push({ cid, bytes });
    if (blocks.length === PUT_BLOCKS) await content.put(blocks.splice(0));
  }
  const draft = draftManifest(null, delta);
  await content.put([...blocks, ...draft.blocks]);
  await content.close();
  await writeFile(join(folder, "anchor"), draft.cid);
  await writeFile(join(folder, "cids"), "");
  return {};
}

interface Listed {
  readonly room: RoomId;
  readonly cid: Cid;
  readonly bytes: Uint8Array | null;
}

function* listAbsent(count: number): Generator<Listed> {
  for (let i = 0; i < count; i += 2) {
    const id = randomBytes(32);
    for (let last = 0; last < 2; last++) {
      id[31] = ((id[31] ?? 0) & 0xfe) | last;
      yield { room: toHex(id) as RoomId, cid: cidOfDigest(new Uint8Array(randomBytes(32))), bytes: null };
    }
  }
}

function* listPresent(count: number): Generator<Listed> {
  const people = makePeople(PEOPLE);
  let listed = 0;
  for (const [i, sender] of people.entries()) {
    for (const receiver of people.slice(i + 1)) {
      if (listed++ === count) return;
      const conversation = makeConversation(sender, receiver);
      const { cid, block } = sealBlock(conversation, 1);
      yield { room: conversation.room, cid, bytes: block };
    }
  }
}

async function openChain(folder: string, kind: Case): Promise<WrittenChain> {
  return WrittenChain.open(folder, makePeople(kind === "present" ? PEOPLE : 0));
}

async function serve(folder: string, chain: WrittenChain): Promise<{ url: string; close: () => Promise<void> }> {
  const content = new EmbeddedStore(join(folder, "blocks"));
  const options = {
    content,
    indexPath: join(folder, "index.sqlite"),
    host: "127.0.0.1",
    port: 0,
    pollIntervalMs: 1_000,
  };
  const indexer = await startIndexerOn(chain, options);
  const close = async (): Promise<void> => {
    await indexer.close();
    await content.close();
  };
  return { url: indexer.url, close };
}

async function index(folder: string, kind: Case): Promise<IndexResult> {
  const chain = await openChain(folder, kind);
  const { url, close } = await serve(folder, chain);
  await answered(`${url}/ready`, () => true);
  const cid = (await readFile(join(folder, "anchor"), "utf8")) as Cid;
  const health = fork(fileURLToPath(import.meta.url), ["health", url]);
  await new Promise((resolve) => health.once("message", resolve));
  const turns = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  turns.enable();
  let collectorMs = 0;
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) collectorMs = Math.max(collectorMs, duration);
  });
  observer.observe({ entryTypes: ["gc"] });
  const startedAtMs = performance.now();
  chain.anchor(cid);
  await answered(`${url}/v1/anchors/0`, (body) => isDecided((body as { anchor: AnchorDetailAnswer }).anchor, kind));
  const ms = performance.now() - startedAtMs;
  turns.disable();
  observer.disconnect();
  const answer = new Promise<number>((resolve) => health.once("message", (value) => resolve(Number(value))));
  health.send("end");
  const healthMs = await answer;
  const rssMiB = process.resourceUsage().maxRSS / 1_024;
  await close();
  const { size } = await stat(join(folder, "index.sqlite"));
  const turnMs = turns.max / 1e6 - LOOP_RESOLUTION_MS;
  return { ms, healthMs, turnMs, collectorMs, rssMiB, diskMiB: size / 2 ** 20 };
}

function isDecided({ verdict, counts }: AnchorDetailAnswer, kind: Case): boolean {
  if (verdict.status === "rejected" || counts.rejected > 0) throw new Error("something was rejected");
  return verdict.status === "verified" && (kind === "absent" || counts.missing === 0);
}

async function restart(folder: string, kind: Case): Promise<RestartResult> {
  const startedAtMs = performance.now();
  // Made by no service: its time is taken off.
  const chain = await openChain(folder, kind);
  const madeAtMs = performance.now();
  const { url, close } = await serve(folder, chain);
  await answered(`${url}/ready`, () => true, 5);
  const readyMs = performance.now() - (madeAtMs - startedAtMs);
  await close();
  return { readyMs };
}

/** What `npx hardhat audit` does between reading the chain and writing its report. */
async function audit(folder: string, kind: Case): Promise<AuditResult> {
  const content = new EmbeddedStore(join(folder, "blocks"));
  const chain = await openChain(folder, kind);
  const events: ChainEvent[] = [];
  for await (const range of chain.ranges(null, (await chain.fetchView(null)).block)) events.push(...range.events);
  const startedAtMs = performance.now();
  const replay = await rebuild(chain.deployment, events, content);
  const ms = performance.now() - startedAtMs;
  if (replay.anchors[0]?.verdict.status !== "verified") throw new Error("the anchor was not verified");
  await content.close();
  return { ms, rssMiB: process.resourceUsage().maxRSS / 1_024 };
}

/** Anchors that build on nothing, and on the end of the line, in turn. */
async function forks(folder: string, rooms: number, anchors: number): Promise<ForksResult> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "cids"), "");
  const content = new EmbeddedStore(join(folder, "blocks"));
  const chain = await WrittenChain.open(folder, []);
  const { index, history, follower, fetcher, stop } = openEngine(chain, {
    content,
    indexPath: join(folder, "index.sqlite"),
    pollIntervalMs: 1_000,
  });
  const take = async (cids: readonly Cid[]): Promise<number> => {
    const startedAtMs = performance.now();
    for (const cid of cids) chain.anchor(cid);
    while ((await follower.turn()) === "again") await sleep(0);
    const count = index.database.prepare("SELECT count(*) FROM anchors WHERE status = 'verified'").pluck();
    while (history.isBusy || (count.get() as number) < chain.height) await sleep(1);
    return performance.now() - startedAtMs;
  };
  const all = [...listAbsent(rooms)];
  const first = new Map(all.map(({ room, cid }) => [room, [cid]]));
  const draft = draftManifest(null, first);
  await content.put(draft.blocks);
  await take([draft.cid]);
  let tip: Tip = { index: 0, cid: draft.cid, seq: 0, state: State.EMPTY.after(first, 0) };
  const cids: Cid[] = [];
  for (let number = 1; number <= anchors; number++) {
    const [listed] = listAbsent(1);
    const room = all[number % rooms]?.room;
    if (listed === undefined || room === undefined) throw new RangeError("no rooms");
    const delta = new Map([[room, [listed.cid]]]);
    const next = draftManifest(number % 2 === 1 ? null : tip, delta);
    await content.put(next.blocks);
    cids.push(next.cid);
    if (number % 2 === 0)
      tip = { index: number, cid: next.cid, seq: tip.seq + 1, state: tip.state.after(delta, number) };
  }
  const ms = await take(cids);
  fetcher.stop();
  await stop();
  index.close();
  await content.close();
  return { ms: ms / anchors };
}

async function answered(
  url: string,
  isEnough: (body: unknown) => boolean,
  intervalMs = LOOK_INTERVAL_MS,
): Promise<void> {
  for (;;) {
    const response = await fetch(url);
    const body: unknown = await response.json();
    if (response.ok && isEnough(body)) return;
    await sleep(intervalMs);
  }
}

/** Asks for /health until it is told to end, and then says what the longest answer took. */
async function askHealth(url: string): Promise<undefined> {
  const ending = new AbortController();
  process.once("message", () => ending.abort());
  let longestMs = 0;
  // The first answer opens a connection.
  await (await fetch(`${url}/health`)).text();
  process.send?.("begun");
  while (!ending.signal.aborted) {
    const startedAtMs = performance.now();
    await (await fetch(`${url}/health`)).text();
    longestMs = Math.max(longestMs, performance.now() - startedAtMs);
    await sleep(HEALTH_INTERVAL_MS);
  }
  await new Promise((resolve) => process.send?.(longestMs, resolve));
}

const [mode = "", folder = "", ...args] = process.argv.slice(2);
const kind = args[0] as Case;
const modes: Readonly<Record<string, () => Promise<object | undefined>>> = {
  write: () => write(folder, kind, Number(args[1])),
  index: () => index(folder, kind),
  restart: () => restart(folder, kind),
  audit: () => audit(folder, kind),
  forks: () => forks(folder, Number(args[0]), Number(args[1])),
  health: () => askHealth(folder),
};
const result = await modes[mode]?.();
if (result !== undefined) process.stdout.write(`${JSON.stringify(result)}\n`);
// A pool of connections would keep it for a while.
process.exit();
