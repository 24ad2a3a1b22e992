/**
 * One piece of work of bench/anchor.ts in a process of its own, so that its memory is its own:
 *
 *     anchor-work.ts fill POST COUNT ROOMS | bound POST | anchor POST | increments POST COUNT ROOMS EMPTY…
 *
 * POST and EMPTY are posts (operator.ts) as JSON; the last line on standard output is the result, as JSON.
 */
import { join } from "node:path";

import { EmbeddedStore } from "../io/content/embedded.ts";
import type { Mailbox } from "../io/mailbox/mailbox.ts";
import { MAX_MESSAGES, type Block } from "../protocol/manifest.ts";
import { makeDraft } from "../tasks/anchor-draft.ts";
import { Backlog, fillMailbox, makeBacklogs, makeMembers } from "./backlog.ts";
import { time } from "./measure.ts";
import { anchorOnce, openSession, registerAll, type Post } from "./operator.ts";

export interface BoundResult {
  readonly ms: number;
  /** Of shards, heads and manifest. */
  readonly largestBlockBytes: number;
}

export interface AnchorResult {
  readonly ms: number;
  readonly peakRssBytes: number;
  readonly manifests: number;
  readonly messages: number;
}

export interface IncrementsResult {
  /** Milliseconds of each round, on the history and on an empty one. */
  readonly large: readonly number[];
  readonly empty: readonly number[];
  /** What a round on the history wrote. */
  readonly sizeBytes: number;
}

const PUT_BLOCKS = 2_000;

/** One `anchor` of all that waits. */
async function anchorAll(post: Post): Promise<AnchorResult> {
  let anchored = { messages: 0, manifests: 0 };
  const ms = await time(async () => {
    anchored = await anchorOnce(post);
  });
  return { ms, peakRssBytes: process.resourceUsage().maxRSS * 1024, ...anchored };
}

/** Only the time in which the blocks that {@link anchorAll} stores are hashed and written, into a folder of their own. */
async function bound(post: Post): Promise<BoundResult> {
  const session = await openSession(post);
  const { mailbox } = session;
  const content = new EmbeddedStore(join(session.folder, "bound"));
  let ms = 0;
  const put = async (blocks: readonly Block[]): Promise<void> => {
    ms += await time(() => content.put(blocks));
  };
  for (const blocks of waitingBlocks(mailbox)) await put(blocks);
  // The mailbox stays as it was.
  const blocks = mailbox.rehearse(() => {
    const drafts: Block[] = [];
    for (let index = 0; ; index++) {
      const row = mailbox.anchors.plan(new Uint8Array(32), index, MAX_MESSAGES);
      if (row === null) return drafts;
      for (const block of makeDraft({ mailbox }, row)?.blocks ?? []) drafts.push(block);
    }
  });
  await put(blocks);
  await content.close();
  await session.close();
  return { ms, largestBlockBytes: Math.max(...blocks.map(({ bytes }) => bytes.length)) };
}

function* waitingBlocks(mailbox: Mailbox): Generator<readonly Block[]> {
  for (let page = mailbox.unpinned(0, PUT_BLOCKS); page.cids.length > 0;) {
    yield page.cids.map((cid) => ({ cid, bytes: mailbox.block(cid) ?? new Uint8Array(0) }));
    page = mailbox.unpinned(page.lastId, PUT_BLOCKS);
  }
}

/** Anchors `count` new messages in `rooms` rooms, on the history of `post` and on one of the empty ones, in turn. */
async function increments(post: Post, count: number, rooms: number, empty: readonly Post[]): Promise<IncrementsResult> {
  const times = { large: [] as number[], empty: [] as number[] };
  let sizeBytes = 0;
  for (const [round, fresh] of empty.entries()) {
    // Rooms of the history, other ones each round.
    const numbers = Array.from({ length: rooms }, (_, i) => round * rooms + i);
    await registerAll(fresh, makeMembers(fresh.deployment, numbers));
    for (const place of [fresh, post]) {
      const backlogs = numbers.map((number) => new Backlog(place.deployment, number, 1_000_000));
      const messages = Array.from({ length: count }, (_, i) => backlogs[i % rooms]?.next()).filter(
        (next) => next !== undefined,
      );
      const session = await openSession(place);
      session.mailbox.add(messages);
      await session.content.put(messages.map(({ cid, block }) => ({ cid, bytes: block })));
      await session.close();
    }
    const anchorAndSettle = (place: Post): Promise<number> =>
      time(async () => {
        ({ sizeBytes } = await anchorOnce(place));
        // The next run finds the anchor final, and takes it into the rooms' state.
        await anchorOnce(place);
      });
    const emptyMs = await anchorAndSettle(fresh);
    const largeMs = await anchorAndSettle(post);
    if (round === 0) continue;
    times.empty.push(emptyMs);
    times.large.push(largeMs);
  }
  return { ...times, sizeBytes };
}

const [work, post = "", ...args] = process.argv.slice(2);
const place = JSON.parse(post) as Post;
const print = (result: unknown): void => void process.stdout.write(`${JSON.stringify(result)}\n`);
switch (work) {
  case "fill": {
    const [count, rooms] = args.map(Number);
    await registerAll(
      place,
      makeMembers(
        place.deployment,
        Array.from({ length: rooms ?? 0 }, (_, number) => number),
      ),
    );
    const session = await openSession(place);
    fillMailbox(session.folder, session.reader.identity, makeBacklogs(place.deployment, rooms ?? 0), count ?? 0);
    await session.close();
    break;
  }
  case "bound":
    print(await bound(place));
    break;
  case "anchor":
    print(await anchorAll(place));
    break;
  case "increments": {
    const [count, rooms, ...empty] = args;
    const posts = empty.map((text) => JSON.parse(text) as Post);
    print(await increments(place, Number(count), Number(rooms), posts));
    break;
  }
  default:
    throw new Error(`no such work: ${String(work)}`);
}
