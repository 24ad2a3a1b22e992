/** A history of any size as an operator leaves it: blocks in a folder, and the chain's events in a file beside it. */
import { appendFileSync, createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { finished } from "node:stream/promises";

import type { Chain } from "../indexer/follower.ts";
import type { Block as ChainBlock } from "../io/chain/rpc/parsed-answer.ts";
import type { ChainView } from "../io/chain/agreement/chain-view.ts";
import type { Checkpoint } from "../io/chain/agreement/node-view.ts";
import type { BlockRange } from "../io/chain/events/block-range.ts";
import { EmbeddedStore } from "../io/content/embedded.ts";
import { toHex, utf8, type Hex } from "../protocol/bytes.ts";
import type { Cid } from "../protocol/cid.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import type { AnchorEvent, ChainEvent } from "../protocol/event.ts";
import { draftManifest, type Block, type ManifestDraft, type Tip } from "../protocol/manifest.ts";
import type { RoomId } from "../protocol/room.ts";
import { State } from "../protocol/state.ts";
import { DEPLOYMENT, makeConversation, makePerson, sealBlock, type Conversation, type Person } from "./conversation.ts";

/** Rooms are pairs of this number of people. */
const PEOPLE = 46;
const ANCHOR_MESSAGES = 1_000;
/** All of the registry's events are in the first. */
const FIRST_ANCHOR_BLOCK = 2;
const RANGE_BLOCKS = 8;

export function makePeople(count = PEOPLE): Person[] {
  return Array.from({ length: count }, (_, i) => makePerson(`person ${i}`, i));
}

/** At most 1,035. */
export function makeRooms(people: readonly Person[], count: number): Conversation[] {
  const pairs = people.flatMap((a, i) => people.slice(i + 1).map((b) => [a, b] as const));
  return pairs.slice(0, count).map(([a, b]) => makeConversation(a, b));
}

/** Writes `count` messages, in turn in each of the rooms, anchored a thousand at a time. */
export async function writeHistory(folder: string, count: number, roomCount: number): Promise<void> {
  const rooms = makeRooms(makePeople(), roomCount);
  const store = new EmbeddedStore(join(folder, "blocks"));
  const file = createWriteStream(join(folder, "cids"));
  let tip = null as Tip | null;
  for (let made = 0, index = 0; made < count; index++) {
    const size = Math.min(ANCHOR_MESSAGES, count - made);
    const { delta, blocks } = sealNext(rooms, made, size);
    const draft: ManifestDraft = draftManifest(tip, delta);
    await store.put([...blocks, ...draft.blocks]);
    tip = { index, cid: draft.cid, seq: index, state: (tip?.state ?? State.EMPTY).after(delta, index) };
    file.write(`${draft.cid}\n`);
    made += size;
  }
  file.end();
  await finished(file);
  await store.close();
}

/** The messages with these numbers, and what an anchor of them adds. */
export function sealNext(
  rooms: readonly Conversation[],
  from: number,
  count: number,
): { readonly delta: Map<RoomId, Cid[]>; readonly blocks: Block[] } {
  const delta = new Map<RoomId, Cid[]>();
  const blocks: Block[] = [];
  for (let number = from; number < from + count; number++) {
    const conversation = rooms[number % rooms.length];
    if (conversation === undefined) throw new RangeError("a history without rooms");
    const { cid, block } = sealBlock(conversation, Math.floor(number / rooms.length) + 1);
    blocks.push({ cid, bytes: block });
    const cids = delta.get(conversation.room);
    if (cids === undefined) delta.set(conversation.room, [cid]);
    else cids.push(cid);
  }
  return { delta, blocks };
}

/** The chain that goes with what {@link writeHistory} wrote; it goes on when something is anchored. */
export class WrittenChain implements Chain {
  readonly deployment = DEPLOYMENT;
  readonly startBlock = 1;
  readonly identity = {
    deployment: DEPLOYMENT,
    startBlock: 1,
    genesis: hashOf(0),
    startBlockHash: "0x",
    fork: "0x",
    codes: ["0x", "0x"],
  } as const;
  readonly endpoints = [];
  private readonly keys: ChainEvent[];
  private readonly path: string;
  private readonly anchors: Cid[];
  private onHead: () => void = () => undefined;

  private constructor(path: string, anchors: Cid[], people: readonly Person[]) {
    this.path = path;
    this.anchors = anchors;
    this.keys = people.map(({ event }) => ({ ...event, blockHash: hashOf(1), transactionHash: hashOf(1) }));
  }

  /** @param people who have a key */
  static async open(folder: string, people = makePeople()): Promise<WrittenChain> {
    const path = join(folder, "cids");
    const lines = (await readFile(path, "utf8")).split("\n");
    return new WrittenChain(path, lines.filter((line) => line !== "") as Cid[], people);
  }

  /** Anchors so far. */
  get height(): number {
    return this.anchors.length;
  }

  anchor(cid: Cid): void {
    appendFileSync(this.path, `${cid}\n`);
    this.anchors.push(cid);
    this.onHead();
  }

  fetchView(checkpoint: Checkpoint | null): Promise<ChainView> {
    const head = blockOf(this.anchors.length + FIRST_ANCHOR_BLOCK - 1);
    const checkpointBlock = checkpoint === null ? null : blockOf(checkpoint.number);
    const next =
      checkpoint !== null && checkpoint.number < head.number
        ? this.range(checkpoint.number + 1, checkpoint.number + 1)
        : null;
    return Promise.resolve({
      isConfirmed: true,
      block: head,
      finalized: 0,
      finalizedBlock: null,
      checkpointBlock,
      next,
    });
  }

  block(number: number): Promise<ChainBlock> {
    return Promise.resolve(blockOf(number));
  }

  async *ranges(checkpoint: Checkpoint | null, head: ChainBlock): AsyncGenerator<BlockRange> {
    for (let from = (checkpoint?.number ?? 0) + 1; from <= head.number; from += RANGE_BLOCKS) {
      yield await Promise.resolve(this.range(from, Math.min(head.number, from + RANGE_BLOCKS - 1)));
    }
  }

  prove(): Promise<void> {
    return Promise.resolve();
  }

  subscribe(onHead: () => void): () => void {
    this.onHead = onHead;
    return () => undefined;
  }

  private range(from: number, to: number): BlockRange {
    const events: ChainEvent[] = from === 1 ? [...this.keys] : [];
    for (let number = Math.max(from, FIRST_ANCHOR_BLOCK); number <= to; number++) {
      const index = number - FIRST_ANCHOR_BLOCK;
      const cid = this.anchors[index];
      if (cid !== undefined) events.push(anchorOf(index, cid, number));
    }
    const counts = { anchors: Math.max(0, to - FIRST_ANCHOR_BLOCK + 1), keys: this.keys.length };
    return { first: blockOf(from), last: blockOf(to), events, counts, anchorHead: null };
  }
}

function anchorOf(index: number, cid: Cid, blockNumber: number): AnchorEvent {
  const hash = hashOf(blockNumber);
  return { kind: "anchor", index, cid, text: cid, blockNumber, logIndex: 0, blockHash: hash, transactionHash: hash };
}

function blockOf(number: number): ChainBlock {
  return { number, hash: hashOf(number), parentHash: hashOf(number - 1), timestamp: 1_700_000_000 + 2 * number };
}

function hashOf(number: number): Hex {
  return toHex(primitives.sha256(utf8(`block ${number}`)));
}
