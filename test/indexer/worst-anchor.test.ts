import { statSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { openEngine, type Engine } from "../../indexer/indexer.ts";
import type { LocalStore } from "../../io/content/store.ts";
import { toHex, utf8 } from "../../protocol/bytes.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import { primitives } from "../../protocol/crypto/provider.ts";
import type { RoomId } from "../../protocol/room.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, History } from "../fixtures/history.ts";
import { waitFor } from "../fixtures/indexer-client.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";

/** As many as one shard lists. The format allows 32 times as many, and everything here grows with them. */
const PLACES = 8_192;

/** A folder of this machine. */
class Folder extends WithheldStore implements LocalStore {
  asked = 0;

  async getAll(cids: readonly Cid[]): Promise<ReadonlyMap<Cid, Uint8Array>> {
    this.asked += cids.length;
    const found = await Promise.all(cids.map(async (cid) => [cid, await this.get(cid)] as const));
    return new Map(found.filter((pair): pair is [Cid, Uint8Array] => pair[1] !== null));
  }
}

describe("What an anchor of nothing but new rooms and absent messages costs an index", function () {
  this.timeout(120_000);
  const folder = useFolder();
  let history: History;
  let content: Folder;
  let engine: Engine | null = null;

  beforeEach(() => {
    history = new History();
    history.register(ALICE);
    const delta = new Map<RoomId, Cid[]>();
    for (let i = 0; i < PLACES; i += 2) {
      const id = primitives.sha256(utf8(`pair ${i}`));
      for (const last of [0, 1]) {
        id[31] = ((id[31] ?? 0) & 0xfe) | last;
        delta.set(toHex(id) as RoomId, [cidOf(utf8(`nothing ${i + last}`))]);
      }
    }
    history.anchor(delta);
    content = new Folder(history.blocks);
  });
  afterEach(close);

  function path(): string {
    return join(folder(), "index");
  }

  async function close(): Promise<void> {
    await engine?.stop();
    engine?.index.close();
    engine = null;
  }

  function start(): Engine {
    const chain = new ScriptedChain(history);
    const fetching = { firstRetryMs: 600_000 };
    engine = openEngine(chain, { content, indexPath: path(), pollIntervalMs: 5, fetching });
    return engine;
  }

  async function catchUp({ follower, fetcher, history: indexed }: Engine): Promise<void> {
    while ((await follower.turn()) === "again");
    fetcher.want("history");
    await waitFor("what is there", () => Promise.resolve(fetcher.isSettled && !indexed.isBusy), 60_000);
  }

  async function open(): Promise<Engine> {
    const opened = start();
    await catchUp(opened);
    return opened;
  }

  it("is a row for each place, its room and its CID, two nodes for each room, and less than a kilobyte of disk for all of them", async () => {
    const { index } = await open();
    const count = (table: string): unknown => index.database.prepare(`SELECT count(*) FROM ${table}`).pluck().get();
    expect(["entries", "rooms"].map(count)).to.deep.equal([PLACES, PLACES]);
    expect(count("state_nodes")).to.equal(2 * PLACES - 1);
    expect(count("parts")).to.equal(0);
    // Each place changes once, and the anchor and the key.
    expect(count("changes")).to.be.at.most(PLACES + 4);
    // Its manifest, its shard, its heads and a key document are numbered, too.
    expect(count("cids")).to.be.at.most(PLACES + 4);
    await close();
    expect(statSync(path()).size).to.be.below(1_024 * PLACES);
  });

  it("is a request for each block, and after a restart for a page of them", async () => {
    await open();
    expect(content.asked).to.be.at.most(2 * PLACES + 100);
    await close();
    content.asked = 0;
    const { history: indexed } = await open();
    expect(content.asked).to.be.at.most(1_100);
    expect(indexed.missing.size).to.be.at.least(PLACES);
  });

  it("is a few pages of what is missing that a restart reads", async () => {
    await open();
    await close();
    const opened = start();
    const { missing } = opened.history;
    const page = missing.page.bind(missing);
    let pages = 0;
    missing.page = (...args) => {
      pages += 1;
      return page(...args);
    };
    await catchUp(opened);
    // Of the survey, and of the walk that follows it. All that is missing would be nine pages for each.
    expect(pages).to.be.within(1, 8);
  });
});
