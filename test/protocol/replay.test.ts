import { expect } from "chai";
import fc from "fast-check";

import type { BlockSource } from "../../protocol/replay/memory-store.ts";
import { toHex } from "../../protocol/bytes.ts";
import { cidOfDigest, type Cid } from "../../protocol/cid.ts";
import type { SignatureClaim } from "../../protocol/crypto/primitives.ts";
import { primitives } from "../../protocol/crypto/provider.ts";
import { findOmissions } from "../../protocol/omissions.ts";
import type { AnchorEvent, ChainEvent } from "../../protocol/event.ts";
import { Replay, replay } from "../../protocol/replay/replay.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { ALICE, BOB, CAROL, DEPLOYMENT, deltaOf, History } from "../fixtures/history.ts";
import { chooseSize } from "../fixtures/long-form.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

function outcome(verdict: Verdict): string {
  return verdict.status === "rejected" ? verdict.code : verdict.status;
}

/** All that a replay says. */
function snapshot(replayed: Replay) {
  return {
    anchors: replayed.anchors.map(({ event, verdict }) => [event.index, outcome(verdict), replayed.lacks(event.index)]),
    rooms: replayed.rooms.map((room) => [
      room,
      replayed
        .entries(room)
        .map(({ cid, anchorIndex, ordinal, verdict, message }) => [
          cid,
          anchorIndex,
          ordinal,
          outcome(verdict),
          message,
        ]),
      findOmissions(replayed.entries(room)),
    ]),
    listed: replayed.anchors.map(({ event }) =>
      replayed.entriesByAnchor(event.index).map(({ cid, room }) => [cid, room]),
    ),
    tip: replayed.tip?.index,
    root: toHex(replayed.state.root),
    missing: [...replayed.missing()].sort(),
  };
}

/** A history with everything in it: both directions, a fork, skipped anchors, duplicates, foreign rooms, rotation, revocation. */
function eventful(): History {
  const history = new History();
  for (const person of [ALICE, BOB, CAROL]) history.register(person);
  const ab = history.room(ALICE, BOB);
  const ac = history.room(ALICE, CAROL);
  const bc = history.room(BOB, CAROL);
  const m1 = history.message(ALICE, BOB, { text: "one" });
  const m2 = history.message(BOB, ALICE, { text: "two", seen: [m1] });
  const m3 = history.message(ALICE, CAROL, { text: "three" });
  const first = history.draft(deltaOf([ab, [m1, m2]], [ac, [m3]]));
  history.anchorText(first.cid); // 0
  const { tip } = history.replay();
  const m4 = history.message(ALICE, BOB, { seq: 2, seen: [m2], text: "four" });
  const m5 = history.message(CAROL, BOB, { text: "five" });
  // 1 and 2: two operators build on the same base.
  history.anchor(deltaOf([ab, [m4, m1]], [bc, [m5]]), tip);
  history.anchor(deltaOf([ab, [m4, m4]], [ac, [m4]]), tip);
  history.anchorText("not a CID"); // 3
  const { manifest } = history.draft(deltaOf([ab, [m4]]));
  history.anchorManifest({ ...manifest, state: fixedBytes("a lie") }); // 4
  history.register(ALICE);
  const m6 = history.message(ALICE, CAROL, { senderKeyVersion: 2, seq: 2, text: "six" });
  history.anchor(deltaOf([ac, [m6]])); // 5: on 2, skipping 3 and 4
  history.anchorText(first.cid); // 6: repeated
  history.revoke(ALICE);
  const m7 = history.message(ALICE, CAROL, { senderKeyVersion: 2, seq: 3, text: "seven" });
  const m8 = history.message(CAROL, ALICE, { receiverKeyVersion: 2, seq: 4, text: "eight", seen: [m6] });
  const forged = history.message(BOB, CAROL, { signer: ALICE.identity(), text: "forged" });
  history.anchor(deltaOf([ac, [m7, m8]], [bc, [forged, cidOfDigest(fixedBytes("nobody has it"))]])); // 7
  return history;
}

describe("A replay", () => {
  it("rebuilds an eventful history with the verdicts it should have", () => {
    const history = eventful();
    const replayed = history.replay();
    expect(replayed.anchors.map(({ verdict }) => outcome(verdict))).to.deep.equal([
      "verified",
      "verified",
      "verified",
      "CID_NOT_CANONICAL",
      "STATE_MISMATCH",
      "verified",
      "ANCHOR_REPEATED",
      "verified",
    ]);
    const outcomes = (a: typeof ALICE, b: typeof ALICE) =>
      replayed.entries(history.room(a, b)).map(({ anchorIndex, verdict }) => `${anchorIndex} ${outcome(verdict)}`);
    expect(outcomes(ALICE, BOB)).to.deep.equal([
      "0 verified",
      "0 verified",
      "1 verified",
      "1 DUPLICATE",
      "2 DUPLICATE",
      "2 DUPLICATE",
      // Its anchor's account is false; the message is listed all the same.
      "4 DUPLICATE",
    ]);
    expect(outcomes(ALICE, CAROL)).to.deep.equal([
      "0 verified",
      "2 FOREIGN_ROOM",
      "5 verified",
      "7 KEY_REVOKED",
      "7 verified",
    ]);
    expect(outcomes(BOB, CAROL)).to.deep.equal(["1 verified", "7 SIGNATURE_INVALID", "7 missing"]);
    expect(replayed.tip?.index).to.equal(7);
    expect(replayed.tip?.seq).to.equal(3);
  });

  it("gives the same for every order of arrival of its blocks, and at each step what a fresh replay gives", () => {
    const history = eventful();
    const all = [...history.blocks.keys()];
    const complete = snapshot(history.replay());
    // Signatures are remembered, as the index does it, so that the many replays cost no curve arithmetic.
    const answers = new Map<string, boolean>();
    const verifySignatures = (claims: readonly SignatureClaim[]): boolean[] =>
      claims.map((claim) => {
        const key = toHex(claim.message) + toHex(claim.signature);
        const answer = answers.get(key) ?? primitives.ed25519Verify([claim])[0]!;
        answers.set(key, answer);
        return answer;
      });
    const fresh = (events: readonly ChainEvent[], get: BlockSource): Replay => {
      const replayed = new Replay(DEPLOYMENT, { verifySignatures });
      for (const event of events) replayed.add(event);
      replayed.settle(get);
      return replayed;
    };
    expect(snapshot(fresh(history.events, history.get))).to.deep.equal(complete);

    const anyArrival = fc.record({
      order: fc.shuffledSubarray(all, { minLength: all.length }),
      // After how many blocks each settlement comes, and how many events each brings.
      blockSteps: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 12 }),
      eventSteps: fc.array(fc.nat(4), { minLength: 1, maxLength: 12 }),
    });
    fc.assert(
      fc.property(anyArrival, ({ order, blockSteps, eventSteps }) => {
        const available = new Map<Cid, Uint8Array>();
        const get: BlockSource = (cid) => available.get(cid);
        const incremental = new Replay(DEPLOYMENT, { verifySignatures });
        let blocks = 0;
        let events = 0;
        for (let step = 0; blocks < order.length || events < history.events.length; step++) {
          const eventsUntil = events + (eventSteps[step] ?? 5);
          for (; events < eventsUntil && events < history.events.length; events++)
            incremental.add(history.events[events]!);
          const blocksUntil = blocks + (blockSteps[step] ?? 5);
          for (; blocks < blocksUntil && blocks < order.length; blocks++)
            available.set(order[blocks]!, history.get(order[blocks]!)!);
          incremental.settle(get);
          expect(snapshot(incremental)).to.deep.equal(snapshot(fresh(history.events.slice(0, events), get)));
        }
        expect(snapshot(incremental)).to.deep.equal(complete);
        expect(incremental.settle(get)).to.deep.equal({ anchors: [], entries: [] });
      }),
      { numRuns: chooseSize(10, 40) },
    );
  }).timeout(60_000);

  it("says of each settlement what it decided, each thing once", () => {
    const history = eventful();
    const replayed = new Replay(DEPLOYMENT);
    for (const event of history.events) replayed.add(event);
    const anchor = history.events.find((event): event is AnchorEvent => event.kind === "anchor" && event.index === 1)!;
    // First everything but the block of anchor 1; what it lists first was listed by anchor 2 as well.
    const late = replayed.settle((cid) => (cid === anchor.cid ? undefined : history.get(cid)));
    expect(late.anchors.map(({ event }) => event.index).sort()).to.deep.equal([0, 2, 3, 4, 5, 6, 7]);
    const entry = replayed.entriesByAnchor(2).find(({ verdict }) => verdict.status === "verified");
    const then = replayed.settle(history.get);
    expect(then.anchors.map(({ event }) => event.index)).to.deep.equal([1]);
    expect(then.entries).to.include(entry);
    expect(outcome(entry!.verdict)).to.equal("DUPLICATE");
    expect(new Set(then.entries).size).to.equal(then.entries.length);
    expect(snapshot(replayed)).to.deep.equal(snapshot(history.replay()));
  });

  it("decides once an entry whose earlier place and whose block both come late", () => {
    const history = eventful();
    const replayed = new Replay(DEPLOYMENT);
    for (const event of history.events) replayed.add(event);
    const anchors = history.events.filter((event): event is AnchorEvent => event.kind === "anchor");
    const message = history.replay().entriesByAnchor(1)[0]!.cid;
    replayed.settle((cid) => (cid === anchors[1]!.cid || cid === message ? undefined : history.get(cid)));
    replayed.settle((cid) => (cid === message ? undefined : history.get(cid)));
    const { entries } = replayed.settle(history.get);
    expect(entries.filter(({ cid }) => cid === message)).to.have.length(5);
    expect(new Set(entries).size).to.equal(entries.length);
  });

  it("asks for exactly the blocks that it lacks, and no others", () => {
    const history = eventful();
    const have = new Map<Cid, Uint8Array>();
    const replayed = new Replay(DEPLOYMENT);
    for (const event of history.events) replayed.add(event);
    replayed.settle((cid) => have.get(cid));
    const asked = new Set<Cid>();
    for (let rounds = 0; rounds < 20; rounds++) {
      const wanted = [...replayed.missing()].filter((cid) => !asked.has(cid));
      if (wanted.length === 0) break;
      for (const cid of wanted) {
        asked.add(cid);
        const bytes = history.get(cid);
        if (bytes !== undefined) have.set(cid, bytes);
      }
      replayed.settle((cid) => have.get(cid));
    }
    expect(snapshot(replayed)).to.deep.equal(snapshot(history.replay()));
    // Key documents are nothing that a verdict needs.
    const documents = history.events.flatMap((event) => (event.kind === "key" ? [cidOfDigest(event.document)] : []));
    for (const document of documents) expect(asked.has(document)).to.equal(false);
  });

  it("takes a block that a source loses halfway for missing, not for wrong", () => {
    const history = eventful();
    const calls = new Map<Cid, number>();
    const fleeting: BlockSource = (cid) => {
      const count = (calls.get(cid) ?? 0) + 1;
      calls.set(cid, count);
      return count === 1 ? history.get(cid) : undefined;
    };
    const replayed = history.replay(fleeting);
    for (const { verdict } of replayed.anchors) expect(outcome(verdict)).not.to.equal("BLOCK_NOT_CANONICAL");
    expect(replayed.anchors[0]!.verdict.status).to.equal("verified");
  });

  it("takes other bytes than those that were asked for as none", () => {
    const history = eventful();
    const replayed = history.replay((cid) => {
      const bytes = history.get(cid);
      return bytes === undefined ? undefined : Uint8Array.from(bytes, (byte, i) => (i === 5 ? byte ^ 1 : byte));
    });
    // Only a text that is no CID, and a CID that was anchored before, are wrong without any block.
    expect(replayed.anchors.map(({ verdict }) => outcome(verdict))).to.deep.equal([
      "missing",
      "missing",
      "missing",
      "CID_NOT_CANONICAL",
      "missing",
      "missing",
      "ANCHOR_REPEATED",
      "missing",
    ]);
    expect(replayed.rooms).to.have.length(0);
  });

  it("refuses an anchor out of turn: an event was left out", () => {
    const { events } = eventful();
    const anchors = events.filter(({ kind }) => kind === "anchor");
    expect(codeOf(() => replay(DEPLOYMENT, anchors.slice(1), () => undefined))).to.equal("CHAIN_INCOMPLETE");
    expect(codeOf(() => replay(DEPLOYMENT, [anchors[0]!, anchors[2]!], () => undefined))).to.equal("CHAIN_INCOMPLETE");
    expect(codeOf(() => replay(DEPLOYMENT, [anchors[0]!, anchors[0]!], () => undefined))).to.equal("CHAIN_INCOMPLETE");
  });

  it("is empty without events", () => {
    const replayed = replay(DEPLOYMENT, [], () => undefined);
    expect(snapshot(replayed)).to.deep.equal({
      anchors: [],
      rooms: [],
      listed: [],
      tip: undefined,
      root: `0x${"00".repeat(32)}`,
      missing: [],
    });
  });

  it("gives every message of a fork, and the state of the highest verified anchor's line", () => {
    const history = new History();
    for (const person of [ALICE, BOB]) history.register(person);
    const room = history.room(ALICE, BOB);
    const [a, b, c] = [1, 2, 3].map((seq) => history.message(ALICE, BOB, { seq })) as [Cid, Cid, Cid];
    history.anchor(deltaOf([room, [a]]), null);
    history.anchor(deltaOf([room, [b]]), null);
    history.anchor(deltaOf([room, [c]]), history.replay().anchors[0]!.tip);
    const replayed = history.replay();
    expect(replayed.entries(room).map(({ cid, verdict }) => [cid, outcome(verdict)])).to.deep.equal([
      [a, "verified"],
      [b, "verified"],
      [c, "verified"],
    ]);
    expect(replayed.roomState(room)?.range.size).to.equal(2);
    expect(replayed.roomState(room)?.lastIndex).to.equal(2);
    expect(replayed.anchors.map(({ manifest }) => manifest?.seq)).to.deep.equal([0, 0, 1]);
  });
});
