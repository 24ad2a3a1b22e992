import { join } from "node:path";

import { expect } from "chai";

import { SYSTEM_CLOCK } from "../../indexer/clock.ts";
import type { Chain } from "../../indexer/follower.ts";
import { openEngine, type Engine } from "../../indexer/indexer.ts";
import type { LocalStore } from "../../io/content/store.ts";
import type { Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { ChainEvent } from "../../protocol/event.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, History } from "../fixtures/history.ts";
import { waitFor } from "../fixtures/indexer-client.ts";
import { namedRows } from "../fixtures/named-rows.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";

/** A folder of this machine. */
class Folder extends WithheldStore implements LocalStore {
  async getAll(cids: readonly Cid[]): Promise<ReadonlyMap<Cid, Uint8Array>> {
    const found = await Promise.all(cids.map(async (cid) => [cid, await this.get(cid)] as const));
    return new Map(found.filter((pair): pair is [Cid, Uint8Array] => pair[1] !== null));
  }
}

describe("A block that comes on top of an index whose content is on this machine", () => {
  const folder = useFolder();
  const engines = new Set<Engine>();
  let indices = 0;

  afterEach(async () => {
    for (const { stop, index } of engines) {
      await stop();
      index.close();
    }
    engines.clear();
  });

  function open(chain: Chain, content: Folder): Engine {
    const indexPath = join(folder(), `index ${indices++}`);
    // With a clock, all work is done at once: what is told of one change holds on a busy machine, too.
    const options = { pollIntervalMs: 5, fetching: { firstRetryMs: 60_000 }, clock: SYSTEM_CLOCK };
    const engine = openEngine(chain, { content, indexPath, ...options });
    engines.add(engine);
    return engine;
  }

  async function catchUp({ follower, fetcher, history }: Engine): Promise<void> {
    while ((await follower.turn()) === "again");
    await waitFor("what is there", () => Promise.resolve(fetcher.isSettled && !history.isBusy));
  }

  /** An index of all but the last events, with some blocks withheld, that then takes these events in one block's look. */
  async function take(
    history: History,
    count: number,
    withheld: readonly Cid[] = [],
    content = new Folder(history.blocks),
  ): Promise<{
    readonly engine: Engine;
    readonly changes: number;
    readonly content: Folder;
    readonly chain: ScriptedChain;
  }> {
    const last: ChainEvent[] = history.events.splice(-count);
    const [first] = last;
    const chain = new ScriptedChain(history);
    const fetchView = chain.fetchView.bind(chain);
    // What comes next comes with the look that finds it.
    chain.fetchView = async (place) => {
      const seen = await fetchView(place);
      if (place?.number !== seen.block.number - 1) return seen;
      for await (const next of chain.ranges(place, seen.block)) return { ...seen, next };
      return seen;
    };
    for (const cid of withheld) content.withheld.add(cid);
    const engine = open(chain, content);
    await catchUp(engine);
    content.withheld.clear();
    const { blockNumber, blockHash } = first!;
    history.events.push(...last.map((event, i) => ({ ...event, blockNumber, blockHash, logIndex: i })));
    chain.grow();
    let changes = 0;
    engine.history.onCommit = () => (changes += 1);
    expect(await engine.follower.turn()).to.equal("current");
    return { engine, changes, content, chain };
  }

  /** Its rows are those of an index that was built from nothing. */
  async function expectRebuilt(engine: Engine, chain: Chain, content: Folder): Promise<void> {
    const rebuilt = open(chain, content);
    await catchUp(rebuilt);
    expect(namedRows(engine.index.database)).to.deep.equal(namedRows(rebuilt.index.database));
  }

  function conversation(): History {
    const history = new History();
    history.register(ALICE);
    history.register(BOB);
    return history;
  }

  it("is taken with all that its anchor lists in one change", async () => {
    const history = conversation();
    const room = history.room(ALICE, BOB);
    history.anchor(deltaOf([room, [history.message(ALICE, BOB)]]));
    history.anchor(deltaOf([room, [history.message(BOB, ALICE)]]));
    const { engine, changes, chain, content } = await take(history, 1);
    expect(changes).to.equal(1);
    expect(engine.history.missing.size).to.equal(0);
    await expectRebuilt(engine, chain, content);
  });

  it("decides with it what waited for the same message, at its first place", async () => {
    const history = conversation();
    const room = history.room(ALICE, BOB);
    const late = history.message(ALICE, BOB);
    history.anchor(deltaOf([room, [late]]));
    history.anchor(deltaOf([room, [late, history.message(BOB, ALICE)]]));
    const { engine, changes, chain, content } = await take(history, 1, [late]);
    expect(changes).to.equal(1);
    const select = engine.index.database.prepare("SELECT anchor_index, ordinal, status, code FROM entries").raw();
    expect(select.all()).to.deep.equal([
      [0, 0, "verified", null],
      [1, 0, "rejected", "DUPLICATE"],
      [1, 1, "verified", null],
    ]);
    await expectRebuilt(engine, chain, content);
  });

  it("decides with it the anchor that waited for the same shard", async () => {
    const history = conversation();
    const room = history.room(ALICE, BOB);
    history.anchor(deltaOf([room, [history.message(BOB, ALICE)]]));
    const { tip } = history.replay();
    const delta = deltaOf([room, [history.message(ALICE, BOB)]]);
    // On nothing, and once more on the line.
    const { cid, manifest } = history.draft(delta, null);
    history.anchorText(cid);
    history.anchorText(history.draft(delta, tip).cid);
    const { engine, chain, content } = await take(history, 1, manifest.rooms);
    const select = engine.index.database.prepare("SELECT status FROM anchors ORDER BY anchor_index").pluck();
    expect(select.all()).to.deep.equal(["verified", "verified", "verified"]);
    await expectRebuilt(engine, chain, content);
  });

  it("is taken with the document of its key", async () => {
    const history = conversation();
    history.register(CAROL);
    const { engine, changes, chain, content } = await take(history, 1);
    expect(changes).to.equal(1);
    expect(engine.history.missing.size).to.equal(0);
    await expectRebuilt(engine, chain, content);
  });

  it("is taken without what it lists when that is much, when little of it is there, or when the disk fails", async () => {
    const many = conversation();
    const room = many.room(ALICE, BOB);
    for (let seq = 1; seq <= 17; seq++) many.anchor(deltaOf([room, [many.message(ALICE, BOB, { seq })]]));
    const { engine, chain, content } = await take(many, 17);
    expect(engine.history.missing.size).to.be.greaterThan(0);
    await catchUp(engine);
    await expectRebuilt(engine, chain, content);

    const large = conversation();
    const messages = Array.from({ length: 300 }, (_, i) => large.message(ALICE, BOB, { seq: i + 1 }));
    large.anchor(deltaOf([room, messages]));
    const taken = await take(large, 1);
    // Only the manifest came with the block; what it lists comes with its shard, so that no message is ever missing.
    await catchUp(taken.engine);
    const changes = "SELECT status, count(*) AS n FROM changes WHERE kind = 'message' GROUP BY status";
    expect(taken.engine.index.database.prepare(changes).all()).to.deep.equal([{ status: "verified", n: 300 }]);
    await expectRebuilt(taken.engine, taken.chain, taken.content);

    const failing = conversation();
    failing.anchor(deltaOf([room, [failing.message(ALICE, BOB)]]));
    class FailingFolder extends Folder {
      override getAll(): Promise<never> {
        return Promise.reject(new DmtpError("CONTENT_UNREACHABLE", "the disk fails"));
      }
    }
    const { engine: without } = await take(failing, 1, [], new FailingFolder(failing.blocks));
    expect(without.history.counts.anchors).to.equal(1);
    expect(without.history.missing.size).to.be.greaterThan(0);
  });
});
