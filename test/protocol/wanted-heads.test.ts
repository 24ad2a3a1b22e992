import { expect } from "chai";

import { rebuild } from "../../io/history.ts";
import { MAX_BLOCK_BYTES } from "../../protocol/cbor.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import { MAX_SHARDS } from "../../protocol/manifest.ts";
import { Replay } from "../../protocol/replay/replay.ts";
import { encodeShards } from "../../protocol/shard.ts";
import { CountingStore } from "../fixtures/counting-store.ts";
import { ALICE, BOB, deltaOf, DEPLOYMENT, History } from "../fixtures/history.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const NOBODY_HAS = cidOf(fixedBytes("a base that nobody has"));

/** Anchors on a base that nobody has: each with heads as large as they may be. */
class Crowd {
  readonly history = new History();
  private blocks = 0;

  /** @param heads of each anchor */
  constructor(anchors: number, heads = MAX_SHARDS) {
    for (const person of [ALICE, BOB]) this.history.register(person);
    this.history.anchorText(NOBODY_HAS);
    for (let i = 0; i < anchors; i++) this.anchor(Array.from({ length: heads }, () => this.largeBlock()));
  }

  anchor(
    heads: readonly Cid[],
    base: { readonly index: number; readonly cid: Cid } | null = { index: 0, cid: NOBODY_HAS },
  ): void {
    const { history } = this;
    const listed = cidOf(fixedBytes(`listed ${this.blocks++}`));
    const [shard] = encodeShards(deltaOf([history.room(ALICE, BOB), [listed]]));
    const rooms = [history.put(shard!)];
    history.anchorManifest({ seq: base === null ? 0 : 1, base, rooms, heads, count: 1, state: new Uint8Array(32) });
  }

  largeBlock(): Cid {
    const bytes = new Uint8Array(MAX_BLOCK_BYTES);
    new DataView(bytes.buffer).setUint32(0, this.blocks++);
    return this.history.put(bytes);
  }
}

/** A store that ends a test which asks it for ever. */
function boundedStore(history: History): CountingStore {
  const store = new CountingStore(history);
  const get = store.get.bind(store);
  store.get = (cid) => (store.asked.length > 2_000 ? Promise.reject(new Error("asked for ever")) : get(cid));
  return store;
}

/** How often each block was asked for, at most. */
function mostAsked({ asked }: CountingStore): number {
  const groups = [...Map.groupBy(asked, (cid) => cid).values()];
  return Math.max(...groups.map(({ length }) => length));
}

describe("Heads of anchors that cannot be decided", function () {
  this.timeout(60_000);

  it("are asked for once, though there are more of them than fit", async () => {
    // A batch has room for 32 of them: those of most anchors come in two batches, and what came with the first is let go.
    const { history } = new Crowd(4, MAX_SHARDS - 1);
    const store = boundedStore(history);
    const replay = await rebuild(DEPLOYMENT, history.events, store);
    expect(replay.anchors.map(({ verdict }) => verdict.status)).to.deep.equal(Array(5).fill("missing"));
    expect(mostAsked(store)).to.equal(1);
  });

  it("leave no room, and those of other anchors decide them, asked for once and once more for each anchor", async () => {
    const crowd = new Crowd(2);
    const { history } = crowd;
    // Their base is decided, and their heads take more than one batch with those of the anchor before.
    const shared = Array.from({ length: MAX_SHARDS }, () => crowd.largeBlock());
    for (let i = 0; i < 3; i++) crowd.anchor([...shared.slice(1), crowd.largeBlock()], null);
    // One of these is nowhere.
    const absent = cidOf(fixedBytes("absent heads"));
    crowd.anchor([absent, ...shared.slice(2)], null);
    const room = history.room(ALICE, BOB);
    for (let seq = 1; seq <= 3; seq++) history.anchor(deltaOf([room, [history.message(ALICE, BOB, { seq })]]));
    const store = boundedStore(history);
    const replay = await rebuild(DEPLOYMENT, history.events, store);
    expect(replay.anchors.map(({ verdict }) => verdict.status)).to.deep.equal([
      ...Array<string>(3).fill("missing"),
      ...Array<string>(3).fill("rejected"),
      "missing",
      ...Array<string>(3).fill("verified"),
    ]);
    expect([...replay.missing()].includes(absent)).to.equal(true);
    expect(mostAsked(store)).to.be.at.most(5);
  });

  it("are wanted all at once when they did not fit, as soon as their base is decided", () => {
    const { history } = new Crowd(2);
    const room = history.room(ALICE, BOB);
    for (let seq = 1; seq <= 2; seq++) history.anchor(deltaOf([room, [history.message(ALICE, BOB, { seq })]]));
    const [first, second] = history
      .replay()
      .anchors.slice(3)
      .map(({ manifest }) => manifest!.heads[0]!);
    const replay = new Replay(DEPLOYMENT);
    for (const event of history.events) replay.add(event);
    const settle = (isThere: (cid: Cid) => boolean): string[] => {
      replay.settle((cid) => (isThere(cid) ? history.get(cid) : undefined));
      return replay.anchors.slice(3).map(({ verdict }) => verdict.status);
    };
    for (let round = 0; round < 4; round++) settle((cid) => cid !== first);
    expect(replay.missing().has(second!)).to.equal(false);
    expect(settle((cid) => cid === first)).to.deep.equal(["verified", "missing"]);
    expect([...replay.missingHeads()]).to.deep.equal([{ anchorIndex: 4, cids: [second] }]);
    expect(replay.lacks(4)).to.deep.equal([second]);
    expect(settle(() => false)).to.deep.equal(["verified", "missing"]);
    expect(settle((cid) => cid === second)).to.deep.equal(["verified", "verified"]);
    expect(replay.missing().has(second!)).to.equal(false);
  });
});
