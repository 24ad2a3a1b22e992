/** What an anchor lists, apart from its account (SPEC 8.3, 8.4). */
import { expect } from "chai";

import { cidOfDigest, linkTo, type Cid } from "../../protocol/cid.ts";
import type { CborValue } from "../../protocol/cbor.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import type { SignatureClaim } from "../../protocol/crypto/primitives.ts";
import { primitives } from "../../protocol/crypto/provider.ts";
import { KeyDirectory } from "../../protocol/keys.ts";
import { ReplayEngine } from "../../protocol/replay/engine.ts";
import { MemoryStore } from "../../protocol/replay/memory-store.ts";
import { replay, type Replay } from "../../protocol/replay/replay.ts";
import type { PlacedEntry } from "../../protocol/replay/store.ts";
import { MAX_SHARD_ENTRIES } from "../../protocol/shard.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { ALICE, BOB, CAROL, deltaOf, DEPLOYMENT, History } from "../fixtures/history.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

function outcome(verdict: Verdict): string {
  return verdict.status === "rejected" ? verdict.code : verdict.status;
}

describe("What an anchor lists", () => {
  let history: History;
  const messages = (count: number, from = 1): Cid[] =>
    Array.from({ length: count }, (_, i) =>
      history.message(ALICE, BOB, { seq: from + i, text: `message ${from + i}` }),
    );
  const outcomes = (replayed: Replay): string[] =>
    replayed.entries(history.room(ALICE, BOB)).map(({ verdict }) => outcome(verdict));
  const shardOf = (cids: readonly Cid[]): Cid =>
    history.put(encode(new Map<string, CborValue>([[history.room(ALICE, BOB), cids.map(linkTo)]])));

  beforeEach(() => {
    history = new History();
    for (const person of [ALICE, BOB, CAROL]) history.register(person);
  });

  it("shows when its heads are lost, and so does all that is anchored on it", () => {
    const room = history.room(ALICE, BOB);
    for (let i = 0; i < 4; i++) history.anchor(deltaOf([room, messages(2, 1 + 2 * i)]));
    const { heads } = history.replay().anchors[1]!.manifest!;
    const lost = history.replay((cid) => (heads.includes(cid) ? undefined : history.get(cid)));
    expect(lost.anchors.map(({ verdict }) => verdict.status)).to.deep.equal([
      "verified",
      "missing",
      "missing",
      "missing",
    ]);
    expect(outcomes(lost)).to.deep.equal(Array.from({ length: 8 }, () => "verified"));
    expect(lost.entries(room).map((entry) => lost.isAccounted(entry))).to.deep.equal(
      Array.from({ length: 8 }, (_, i) => i < 2),
    );
    expect([...lost.missing()].sort()).to.include.members(heads);
  });

  it("shows when its account is false, and when it builds on what is", () => {
    const room = history.room(ALICE, BOB);
    const { manifest } = history.draft(deltaOf([room, messages(2)]));
    const wrong = history.anchorManifest({ ...manifest, count: 3 });
    const base = { index: wrong.index, cid: wrong.cid! };
    history.anchorManifest({ ...manifest, base, seq: 1, rooms: [shardOf(messages(1, 3))] });
    const replayed = history.replay();
    expect(replayed.anchors.map(({ verdict }) => outcome(verdict))).to.deep.equal(["COUNT_MISMATCH", "BASE_REJECTED"]);
    expect(outcomes(replayed)).to.deep.equal(["verified", "verified", "verified"]);
    expect(replayed.entries(room).some((entry) => replayed.isAccounted(entry))).to.equal(false);
    expect(replayed.roomState(room)).to.equal(undefined);
  });

  it("comes shard by shard: one that is missing or malformed takes nothing from the others", () => {
    const { manifest } = history.draft(deltaOf([history.room(ALICE, BOB), messages(1)]));
    const [first, second, fourth] = [messages(2, 10), messages(2, 20), messages(1, 40)];
    const shards = [shardOf(first), shardOf(second), history.put(encode(7)), shardOf(fourth)];
    history.anchorManifest({ ...manifest, rooms: shards });
    const room = history.room(ALICE, BOB);
    const places = (replayed: Replay): [Cid, number][] =>
      replayed.entries(room).map(({ cid, ordinal }) => [cid, ordinal]);
    const at = (shard: number, cids: readonly Cid[]): [Cid, number][] =>
      cids.map((cid, place) => [cid, MAX_SHARD_ENTRIES * shard + place]);
    const without = history.replay((cid) => (cid === shards[1] ? undefined : history.get(cid)));
    expect(places(without)).to.deep.equal([...at(0, first), ...at(3, fourth)]);
    expect(without.anchors[0]!.verdict.status).to.equal("missing");
    const whole = history.replay();
    expect(places(whole)).to.deep.equal([...at(0, first), ...at(1, second), ...at(3, fourth)]);
    expect(outcome(whole.anchors[0]!.verdict)).to.equal("SHARD_MALFORMED");
  });

  it("is nothing where the manifest does not read, or its CID was anchored before", () => {
    const { cid } = history.draft(deltaOf([history.room(ALICE, BOB), messages(1)]));
    history.anchorText(history.put(encode([1])));
    history.anchorText(cid);
    history.anchorText(cid);
    expect(
      history
        .replay()
        .entries(history.room(ALICE, BOB))
        .map(({ anchorIndex }) => anchorIndex),
    ).to.deep.equal([1]);
  });

  it("is the same of one room alone as of all", () => {
    const [room, other] = [history.room(ALICE, BOB), history.room(ALICE, CAROL)];
    const [one] = messages(1) as [Cid];
    history.anchor(deltaOf([room, [one, ...messages(3, 2)]], [other, [history.message(ALICE, CAROL)]]));
    history.revoke(ALICE);
    history.anchor(deltaOf([other, [one]], [room, [one, history.message(BOB, ALICE), ...messages(1, 9)]]));
    const alone = replay(DEPLOYMENT, history.events, history.get, { onlyRoom: room });
    expect(alone.entries(room)).to.deep.equal(history.replay().entries(room));
    expect(alone.rooms).to.deep.equal([room]);
    expect(alone.missing().size).to.equal(0);
  });

  it("costs one look at a message, however often it is listed and wherever", () => {
    const [room, other] = [history.room(ALICE, BOB), history.room(ALICE, CAROL)];
    const [one] = messages(1) as [Cid];
    for (let i = 0; i < 3; i++) {
      history.anchor(
        deltaOf([room, Array.from({ length: 400 }, () => one)], [other, Array.from({ length: 400 }, () => one)]),
      );
    }
    let claims = 0;
    const verifySignatures = (given: readonly SignatureClaim[]): boolean[] => {
      claims += given.length;
      return primitives.ed25519Verify(given);
    };
    const replayed = replay(DEPLOYMENT, history.events, history.get, { verifySignatures });
    expect(claims).to.equal(1);
    const counts = Map.groupBy(replayed.entries(room), ({ verdict }) => outcome(verdict));
    expect([counts.get("verified")?.length, counts.get("DUPLICATE")?.length]).to.deep.equal([1, 1_199]);
    expect(replayed.entries(other).every(({ verdict }) => outcome(verdict) === "FOREIGN_ROOM")).to.equal(true);
  });

  it("is worked on in steps that are bounded, however much it is, and whichever of it is there", () => {
    const rooms = Array.from({ length: 3_000 }, (_, i) => `0x${i.toString(16).padStart(64, "0")}`);
    const delta = new Map(rooms.map((room) => [room, [cidOfDigest(fixedBytes(room))]])) as never;
    history.anchor(delta);
    // One message, listed as often as a step could ever take at once, and more.
    const [often] = messages(1) as [Cid];
    history.anchor(deltaOf([history.room(ALICE, BOB), Array.from({ length: 6_000 }, () => often)]));
    class CountingStore extends MemoryStore {
      count = 0;
      override addEntry(...values: Parameters<MemoryStore["addEntry"]>): void {
        this.count += 1;
        super.addEntry(...values);
      }
      override decideEntry(...values: Parameters<MemoryStore["decideEntry"]>): void {
        this.count += 1;
        super.decideEntry(...values);
      }
      override listing(anchorIndex: number, from: number, limit: number): readonly PlacedEntry[] {
        this.count += 1;
        expect(limit).to.be.at.most(1_024);
        return super.listing(anchorIndex, from, limit);
      }
    }
    const store = new CountingStore(new KeyDirectory(DEPLOYMENT));
    const engine = new ReplayEngine(DEPLOYMENT, store);
    for (const late of [true, false]) {
      store.source = (cid) => (late && cid === often ? undefined : history.get(cid));
      if (late) for (const event of history.events) engine.add(event);
      else engine.receive(often);
      for (let steps = 0; !engine.isIdle; steps++) {
        store.count = 0;
        engine.step();
        expect(store.count).to.be.at.most(512);
        expect(steps).to.be.lessThan(1_000);
      }
    }
    expect(store.anchors.map(({ verdict }) => verdict.status)).to.deep.equal(["verified", "verified"]);
    expect(
      store.entries(history.room(ALICE, BOB)).filter(({ verdict }) => verdict.status === "verified"),
    ).to.have.length(1);
  }).timeout(20_000);
});
