/**
 * One piece of work of bench/anchor.ts in a process of its own, so that its memory is its own:
 *
 *     anchor-work.ts fill FOLDER COUNT ROOMS | anchor FOLDER | bound FOLDER | increments FOLDER EMPTY ROUNDS COUNT ROOMS
 *
 * FOLDER has a mailbox and, once something was written, a block folder. The last line on standard output is the result, as JSON.
 */
import { join } from "node:path";

import { EmbeddedStore } from "../io/content/embedded.ts";
import { Mailbox } from "../io/mailbox/mailbox.ts";
import { MAX_MESSAGES, type Block } from "../protocol/manifest.ts";
import { makeDraft, storeDraft } from "../tasks/anchor-draft.ts";
import type { Session } from "../tasks/session.ts";
import type { Terminal } from "../tasks/terminal.ts";
import { Backlog, fillMailbox, makeBacklogs } from "./backlog.ts";
import { DEPLOYMENT } from "./conversation.ts";
import { time } from "./measure.ts";

export interface WorkResult {
  readonly ms: number;
  readonly peakRssBytes: number;
}

export interface AnchorResult extends WorkResult {
  /** Of shards, heads and manifest. */
  readonly sizeBytes: number;
  readonly largestBlockBytes: number;
  readonly manifests: number;
}

export interface IncrementsResult {
  /** Milliseconds of each round, on the history and on an empty one. */
  readonly large: readonly number[];
  readonly empty: readonly number[];
  readonly sizeBytes: number;
}

type Place = Pick<Session, "mailbox" | "content" | "terminal">;

const SILENT: Terminal = { result: () => undefined, note: () => undefined, progress: () => undefined };
const PUT_BLOCKS = 2_000;

/**
 * All that an anchor does but the transaction: pins what waits, writes shards, heads and manifest, says in the journal what was
 * done, and, when its block is final, takes it into the rooms' state.
 */
async function anchorOnce(session: Place): Promise<readonly Block[]> {
  const { anchors } = session.mailbox;
  const { count, head } = anchors.known();
  const row = anchors.plan(head, count, MAX_MESSAGES);
  const draft = row === null ? null : makeDraft(session, row);
  if (row === null || draft === null) return [];
  await storeDraft(session, draft);
  anchors.write(row, draft.cid);
  anchors.mine(row, 1);
  anchors.settle(row);
  return draft.blocks;
}

async function anchorAll(folder: string): Promise<AnchorResult> {
  const place = open(folder);
  const anchors: (readonly Block[])[] = [];
  const ms = await time(async () => {
    do anchors.push(await anchorOnce(place));
    while (place.mailbox.counts().unanchored > 0);
  });
  await close(place);
  const sizes = anchors.flat().map(({ bytes }) => bytes.length);
  return {
    ms,
    peakRssBytes: peakRss(),
    sizeBytes: sizes.reduce((sum, size) => sum + size, 0),
    largestBlockBytes: Math.max(...sizes),
    manifests: anchors.length,
  };
}

/** Only the time in which the blocks that {@link anchorAll} stored are hashed and written to a folder of their own. */
async function bound(folder: string): Promise<WorkResult> {
  const place = open(folder, "bound");
  const { mailbox, content } = place;
  let ms = 0;
  const put = async (blocks: readonly Block[]): Promise<void> => {
    ms += await time(() => content.put(blocks));
  };
  for (
    let page = mailbox.unpinned(0, PUT_BLOCKS);
    page.cids.length > 0;
    page = mailbox.unpinned(page.lastId, PUT_BLOCKS)
  ) {
    await put(page.cids.map((cid) => ({ cid, bytes: mailbox.block(cid) ?? new Uint8Array(0) })));
  }
  const draft = mailbox.rehearse(() => {
    const row = mailbox.anchors.plan(new Uint8Array(32), 0, MAX_MESSAGES);
    return row === null ? null : makeDraft(place, row);
  });
  if (draft !== null) await put(draft.blocks);
  await close(place);
  return { ms, peakRssBytes: peakRss() };
}

/** Anchors `count` new messages in `rooms` rooms, on the history in `folder` and on none, in turn. */
async function increments(
  folder: string,
  empty: string,
  rounds: number,
  count: number,
  rooms: number,
): Promise<IncrementsResult> {
  const large = open(folder);
  const times = { large: [] as number[], empty: [] as number[] };
  let sizeBytes = 0;
  for (let round = -1; round < rounds; round++) {
    // Rooms of the history, other ones each round.
    const backlogs = Array.from({ length: rooms }, (_, i) => new Backlog((round + 1) * rooms + i, 1_000_000));
    const messages = Array.from({ length: count }, (_, i) => backlogs[i % rooms]?.next()).filter(
      (next) => next !== undefined,
    );
    const fresh = open(join(empty, String(round + 1)));
    const blocks = messages.map(({ cid, block }) => ({ cid, bytes: block }));
    for (const { mailbox, content } of [large, fresh]) {
      mailbox.add(messages);
      await content.put(blocks);
    }
    let written: readonly Block[] = [];
    const emptyMs = await time(async () => {
      await anchorOnce(fresh);
    });
    const largeMs = await time(async () => {
      written = await anchorOnce(large);
    });
    sizeBytes = written.reduce((sum, { bytes }) => sum + bytes.length, 0);
    await close(fresh);
    if (round < 0) continue;
    times.large.push(largeMs);
    times.empty.push(emptyMs);
  }
  await close(large);
  return { ...times, sizeBytes };
}

function open(folder: string, blocks = "blocks"): Place {
  const content = new EmbeddedStore(join(folder, blocks));
  return { mailbox: Mailbox.open(folder, DEPLOYMENT), content, terminal: SILENT };
}

async function close({ mailbox, content }: Place): Promise<void> {
  mailbox.close();
  await content.close();
}

function peakRss(): number {
  return process.resourceUsage().maxRSS * 1024;
}

const [work, folder = "", ...args] = process.argv.slice(2);
const numbers = args.map(Number);
switch (work) {
  case "fill":
    fillMailbox(folder, makeBacklogs(numbers[1] ?? 0), numbers[0] ?? 0);
    break;
  case "anchor":
    process.stdout.write(`${JSON.stringify(await anchorAll(folder))}\n`);
    break;
  case "bound":
    process.stdout.write(`${JSON.stringify(await bound(folder))}\n`);
    break;
  case "increments": {
    const [, rounds = 0, count = 0, rooms = 0] = numbers;
    process.stdout.write(`${JSON.stringify(await increments(folder, args[0] ?? "", rounds, count, rooms))}\n`);
    break;
  }
  default:
    throw new Error(`no such work: ${String(work)}`);
}
