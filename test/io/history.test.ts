import { expect } from "chai";

import { rebuild } from "../../io/history.ts";
import { toHex } from "../../protocol/bytes.ts";
import { MAX_BLOCK_BYTES } from "../../protocol/cbor.ts";
import type { Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import { MAX_SHARDS } from "../../protocol/manifest.ts";
import type { Replay } from "../../protocol/replay/replay.ts";
import { conversation, CountingStore } from "../fixtures/counting-store.ts";
import { ALICE, BOB, deltaOf, DEPLOYMENT, History } from "../fixtures/history.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

/** What a replay says, as text that can be compared. */
function report(replay: Replay): unknown {
  return {
    anchors: replay.anchors.map(({ event, verdict }) => [event.index, verdict]),
    rooms: replay.rooms.map((room) => [room, replay.entries(room)]),
    state: toHex(replay.state.root),
  };
}

describe("A history rebuilt from chain and content", () => {
  it("is what a replay with all blocks available gives, and each block is fetched once", async () => {
    const { history, cids } = conversation();
    const store = new CountingStore(history);
    const kept = new Set<Cid>();
    const progress: number[] = [];
    const replay = await rebuild(DEPLOYMENT, history.events, store, {
      keep: (cid) => kept.add(cid),
      onProgress: ({ missing }) => progress.push(missing),
    });
    expect(report(replay)).to.deep.equal(report(history.replay()));
    expect(new Set(store.asked).size).to.equal(store.asked.length);
    expect([...kept].sort()).to.deep.equal([...cids].sort());
    expect(progress.at(-1)).to.equal(0);
    expect(replay.anchors.map(({ verdict }) => verdict.status)).to.deep.equal([
      ...["verified", "verified", "rejected", "verified", "verified"],
    ]);
  });

  it("takes few rounds for a long line of anchors, not one for each", async () => {
    const history = new History();
    for (const person of [ALICE, BOB]) history.register(person);
    for (let i = 0; i < 40; i++)
      history.anchor(deltaOf([history.room(ALICE, BOB), [history.message(ALICE, BOB, { seq: i + 1 })]]));
    let rounds = 0;
    const replay = await rebuild(DEPLOYMENT, history.events, new CountingStore(history), {
      onProgress: () => (rounds += 1),
    });
    expect(report(replay)).to.deep.equal(report(history.replay()));
    expect(rounds).to.be.lessThan(5);
  });

  it("leaves missing what no source has, decides all that can be decided, and ends", async () => {
    const { history, cids } = conversation();
    for (const absent of [
      cids[0],
      history.events.findLast((event) => event.kind === "anchor")?.cid,
      history.replay().anchors[1]?.manifest?.rooms[0],
    ]) {
      const store = new CountingStore(history);
      store.absent.add(absent!);
      const replay = await rebuild(DEPLOYMENT, history.events, store);
      expect(report(replay)).to.deep.equal(
        report(history.replay((cid) => (cid === absent ? undefined : history.get(cid)))),
      );
      expect(replay.missing().has(absent!)).to.equal(true);
    }
  });

  it("goes on behind anchors that lack a block which no source has", async () => {
    const { history } = conversation();
    const [room, absent] = [history.room(ALICE, BOB), new Set<Cid>()];
    for (let i = 0; i < 5; i++) {
      // Each in a line of its own, of which the heads are nowhere.
      const { cid, manifest } = history.draft(deltaOf([room, [history.message(ALICE, BOB, { seq: 50 + i })]]), null);
      history.anchorText(cid);
      absent.add(manifest.heads[0]!);
    }
    const { tip } = history.replay((cid) => (absent.has(cid) ? undefined : history.get(cid)));
    const last = history.message(BOB, ALICE, { seq: 99 });
    history.anchor(deltaOf([room, [last]]), tip);
    const store = new CountingStore(history);
    for (const cid of absent) store.absent.add(cid);
    const replay = await rebuild(DEPLOYMENT, history.events, store);
    expect([...replay.missing()].sort()).to.deep.equal([...absent].sort());
    expect(replay.entries(room).at(-1)).to.include({ cid: last }).and.nested.include({ "verdict.status": "verified" });
    expect(new Set(store.asked).size).to.equal(store.asked.length);
  });

  it("ends when an anchor names as much as it may, and lacks one of it", async () => {
    const { history } = conversation();
    const shards = Array.from({ length: MAX_SHARDS }, (_, i) =>
      history.put(new Uint8Array(MAX_BLOCK_BYTES).fill(i + 1)),
    );
    const { manifest } = history.draft(deltaOf([history.room(ALICE, BOB), [history.message(ALICE, BOB)]]), null);
    history.anchorManifest({ ...manifest, rooms: shards });
    const store = new CountingStore(history);
    store.absent.add(shards[0]!);
    const get = store.get.bind(store);
    store.get = (cid) => (store.asked.length > 1_000 ? Promise.reject(new Error("asked for ever")) : get(cid));
    const replay = await rebuild(DEPLOYMENT, history.events, store);
    expect(replay.anchors.at(-1)!.verdict.status).to.equal("missing");
    expect(new Set(store.asked).size).to.equal(store.asked.length);
    // A shard of it that a verified anchor lists as a message is fetched and judged all the same.
    history.anchor(deltaOf([history.room(ALICE, BOB), [shards[1]!]]), null);
    store.asked.length = 0;
    const later = await rebuild(DEPLOYMENT, history.events, store);
    expect(later.entries(history.room(ALICE, BOB)).at(-1)!.verdict.status).to.equal("rejected");
  }).timeout(20_000);

  it("does not believe a store that gives other bytes", async () => {
    const { history, cids } = conversation();
    const store = new CountingStore(history);
    const get = store.get.bind(store);
    store.get = async (cid) => (cid === cids[3] ? Uint8Array.of(1) : get(cid));
    const replay = await rebuild(DEPLOYMENT, history.events, store);
    expect([...replay.missing()]).to.deep.equal([cids[3]]);
  });

  it("ends with the store's error when the store itself fails", async () => {
    const { history } = conversation();
    const store = new CountingStore(history);
    store.get = () => Promise.reject(new DmtpError("CONTENT_UNREACHABLE", "gone"));
    expect(await codeOfAsync(() => rebuild(DEPLOYMENT, history.events, store))).to.equal("CONTENT_UNREACHABLE");
  });

  it("is empty for an empty chain", async () => {
    const replay = await rebuild(DEPLOYMENT, [], new CountingStore(new History()));
    expect(replay.rooms).to.deep.equal([]);
  });
});
