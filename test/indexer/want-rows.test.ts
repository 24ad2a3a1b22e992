import { join } from "node:path";

import { expect } from "chai";

import { History } from "../../indexer/history.ts";
import { openIndex, type IndexDatabase } from "../../indexer/store/database.ts";
import type { Want, WantCursor, WantKind } from "../../indexer/want-list.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, History as Story } from "../fixtures/history.ts";

const NOTHING = 20_000;
const LIMIT = 1_000;

describe("What is missing, by the rows of an index", function () {
  this.timeout(60_000);
  const folder = useFolder();
  const nobodys = Array.from({ length: NOTHING }, (_, i) => cidOf(Uint8Array.of(i, i >> 8)));
  let story: Story;
  let index: IndexDatabase;
  let history: History;

  beforeEach(() => {
    story = new Story();
    for (const person of [ALICE, BOB]) story.register(person);
    story.anchor(deltaOf([story.room(ALICE, CAROL), nobodys]), null);
    story.anchor(deltaOf([story.room(ALICE, BOB), [story.message(ALICE, BOB)]]));
    open();
    const { blockNumber, blockHash } = story.events.at(-1)!;
    const cursor = { number: blockNumber, hash: blockHash, timestamp: 1, isProved: true };
    history.extend({ events: story.events, cursor, finalized: -1 });
  });
  afterEach(() => index.close());

  function open(): void {
    index = openIndex(join(folder(), "index"), story.deployment, () => undefined);
    history = new History(index.database, story.deployment);
  }

  /** Takes what came to be missing and is there, until nothing more is. */
  function receiveAll(): void {
    for (;;) {
      const there = history.missing.takeNew().wants.filter(({ cid }) => story.blocks.has(cid));
      if (there.length === 0) return;
      history.receive(new Map(there.map(({ cid }) => [cid, story.blocks.get(cid)!])));
    }
  }

  function manifestCid(index: number): Cid {
    const anchors = story.events.filter((event) => event.kind === "anchor");
    return anchors[index]!.cid!;
  }

  function pages(kind: WantKind): readonly (readonly Want[])[] {
    const all: (readonly Want[])[] = [];
    for (let after: WantCursor | null = null; ;) {
      const { wants, next } = history.missing.page(kind, after, LIMIT);
      all.push(wants);
      if (next === null) return all;
      after = next;
    }
  }

  it("is told of again when another anchor names it", () => {
    story.anchor(deltaOf([story.room(ALICE, CAROL), [nobodys[7]!, nobodys[7]!]]), null);
    const { blockNumber, blockHash } = story.events.at(-1)!;
    const cursor = { number: blockNumber, hash: blockHash, timestamp: 2, isProved: true };
    history.extend({ events: story.events.slice(-1), cursor, finalized: -1 });
    const told: (number | null)[] = [];
    for (let there: readonly Want[]; ;) {
      const { wants } = history.missing.takeNew();
      told.push(...wants.filter(({ cid }) => cid === nobodys[7]).map(({ anchorIndex }) => anchorIndex));
      there = wants.filter(({ cid }) => story.blocks.has(cid));
      if (there.length === 0) break;
      history.receive(new Map(there.map(({ cid }) => [cid, story.blocks.get(cid)!])));
    }
    expect(told.sort()).to.deep.equal([0, 2]);
  });

  it("is told of when it comes to be missing, and is in no memory after the index was opened again", () => {
    const told: Want[] = [];
    for (let there: readonly Want[]; ;) {
      const { wants } = history.missing.takeNew();
      told.push(...wants);
      there = wants.filter(({ cid }) => story.blocks.has(cid));
      if (there.length === 0) break;
      history.receive(new Map(there.map(({ cid }) => [cid, story.blocks.get(cid)!])));
    }
    expect(told.filter(({ kind, anchorIndex }) => kind === "message" && anchorIndex === 0).length).to.equal(NOTHING);
    expect(history.missing.takeNew()).to.deep.equal({ wants: [], isAll: true });
    index.close();
    open();
    expect(history.missing.takeNew()).to.deep.equal({ wants: [], isAll: false });
    expect(history.missing.size).to.equal(NOTHING);
    expect(history.missing.has(nobodys[NOTHING - 1]!)).to.equal(true);
    expect(history.missing.has(manifestCid(1))).to.equal(false);
  });

  it("has all of it in pages that are no longer than asked for, each block with its anchor", () => {
    receiveAll();
    index.close();
    open();
    const messages = pages("message");
    expect(messages.map(({ length }) => length).every((length) => length <= LIMIT)).to.equal(true);
    expect(messages.flat().map(({ cid }) => cid)).to.have.members(nobodys);
    expect(new Set(messages.flat().map(({ anchorIndex }) => anchorIndex))).to.deep.equal(new Set([0]));
    expect(pages("anchor").flat()).to.deep.equal([]);
    expect(pages("document").flat()).to.deep.equal([]);
  });

  it("names manifests, shards, heads and key documents that are not there", () => {
    expect(pages("anchor").flat()).to.deep.equal(
      [0, 1].map((anchorIndex) => ({ cid: manifestCid(anchorIndex), kind: "anchor", anchorIndex })),
    );
    expect(pages("document").flat().length).to.equal(2);
    const manifests: Cid[] = [manifestCid(0), manifestCid(1)];
    history.receive(new Map(manifests.map((cid) => [cid, story.blocks.get(cid)!])));
    const parts = pages("anchor").flat();
    expect(parts.map(({ anchorIndex }) => anchorIndex)).to.include.members([0, 1]);
    expect(parts.every(({ cid }) => story.blocks.has(cid) && !manifests.includes(cid))).to.equal(true);
  });

  it("lacks a message that several places list until it is there, and not after", () => {
    receiveAll();
    const [cid] = nobodys;
    story.anchor(deltaOf([story.room(BOB, CAROL), [cid!, cid!]]));
    const event = story.events.at(-1)!;
    const cursor = { number: event.blockNumber, hash: event.blockHash, timestamp: 1, isProved: true };
    history.extend({ events: [event], cursor, finalized: -1 });
    receiveAll();
    expect(history.missing.has(cid!)).to.equal(true);
    history.receive(new Map([[cid!, Uint8Array.of(0, 0)]]));
    expect(history.missing.has(cid!)).to.equal(false);
    expect(
      pages("message")
        .flat()
        .filter((want) => want.cid === cid),
    ).to.deep.equal([]);
  });
});
