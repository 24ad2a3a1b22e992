import { readFileSync } from "node:fs";

import { expect } from "chai";

import { concat, fromHex } from "../../protocol/bytes.ts";
import { MAX_BLOCK_BYTES, type CborMap, type CborValue } from "../../protocol/cbor.ts";
import { decode } from "../../protocol/cbor-decoder.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOfDigest, linkTo, type Cid } from "../../protocol/cid.ts";
import { encodeEnvelope, headerHashOf, signedBytesOf, type Envelope } from "../../protocol/envelope.ts";
import { DmtpError, type ErrorCode } from "../../protocol/error.ts";
import { encodeHeads, type Head } from "../../protocol/heads.ts";
import type { Manifest, ManifestDraft } from "../../protocol/manifest.ts";
import { encodeShards } from "../../protocol/shard.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { rejectedBy } from "../../protocol/verdict.ts";
import { ALICE, BOB, CAROL, DEPLOYMENT, deltaOf, History } from "../fixtures/history.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";
import { flipBit } from "./crypto/implementations.ts";

type Outcome = ErrorCode | "verified" | "missing";
const seen = new Set<string>();

function outcome(verdict: Verdict): Outcome {
  const found = verdict.status === "rejected" ? verdict.code : verdict.status;
  seen.add(found);
  return found;
}

/** The outcome of Alice's newest key. */
function outcomeOfKey(history: History): Outcome {
  const found = history.replay().keys.current(ALICE.address);
  if (!("key" in found)) throw new Error("Alice has no key");
  return outcome(found.key.verdict);
}

function withMembers(block: Uint8Array, change: Record<string, CborValue | undefined>): Uint8Array {
  const map = new Map(decode(block) as CborMap);
  for (const [name, value] of Object.entries(change)) {
    if (value === undefined) map.delete(name);
    else map.set(name, value);
  }
  return encode(map);
}

/** A history in which Alice, Bob and Carol are registered. */
function registered(): History {
  const history = new History();
  for (const person of [ALICE, BOB, CAROL]) history.register(person);
  return history;
}

const UNREACHABLE = cidOfDigest(fixedBytes("a block that nobody has"));

describe("The verdict on a message", () => {
  /** The outcome of one block listed in Alice and Bob's room. */
  function outcomeOf(history: History, cid: Cid, room = history.room(ALICE, BOB)): Outcome {
    history.anchor(deltaOf([room, [cid]]));
    const entries = history.replay().entries(room);
    return outcome(entries.at(-1)!.verdict);
  }
  const envelopeOf = (change: Partial<Envelope> = {}): [History, Cid] => {
    const history = registered();
    return [history, history.put(encodeEnvelope({ ...history.envelope(ALICE, BOB), ...change }))];
  };
  const blockOf = (change: Record<string, CborValue | undefined>): [History, Cid] => {
    const history = registered();
    return [history, history.put(withMembers(encodeEnvelope(history.envelope(ALICE, BOB)), change))];
  };

  it("is verified for a message of either side", () => {
    const history = registered();
    expect(outcomeOf(history, history.message(ALICE, BOB))).to.equal("verified");
    expect(outcomeOf(history, history.message(BOB, ALICE))).to.equal("verified");
  });

  it("is missing while no source has the block, or only with other bytes, or over 1 MiB", () => {
    expect(outcomeOf(registered(), UNREACHABLE)).to.equal("missing");
    const [history, cid] = envelopeOf();
    history.anchor(deltaOf([history.room(ALICE, BOB), [cid]]));
    const [entry] = history
      .replay((asked) => (asked === cid ? flipBit(history.get(cid)!, 9) : history.get(asked)))
      .entries(history.room(ALICE, BOB));
    expect(outcome(entry!.verdict)).to.equal("missing");
    expect(entry!.message).to.equal(null);
    const large = encode(new Uint8Array(MAX_BLOCK_BYTES));
    const other = registered();
    expect(outcomeOf(other, other.put(large))).to.equal("missing");
  });

  it("is BLOCK_NOT_CANONICAL for bytes that are not canonical DAG-CBOR", () => {
    const history = registered();
    expect(outcomeOf(history, history.put(Uint8Array.of(0xbf, 0xff)))).to.equal("BLOCK_NOT_CANONICAL");
    const block = encodeEnvelope(history.envelope(ALICE, BOB));
    expect(outcomeOf(history, history.put(concat(block, Uint8Array.of(0))))).to.equal("BLOCK_NOT_CANONICAL");
  });

  it("is ENVELOPE_MALFORMED, VERSION_UNSUPPORTED or SUITE_UNSUPPORTED for other blocks", () => {
    expect(outcomeOf(...blockOf({ seq: undefined }))).to.equal("ENVELOPE_MALFORMED");
    expect(outcomeOf(...blockOf({ v: 2, seq: undefined }))).to.equal("VERSION_UNSUPPORTED");
    expect(outcomeOf(...blockOf({ suite: 2, seq: undefined }))).to.equal("SUITE_UNSUPPORTED");
    const history = registered();
    // A manifest where a message should be has no suite.
    const draft = history.draft(deltaOf([history.room(ALICE, BOB), [history.message(ALICE, BOB)]]));
    expect(outcomeOf(history, draft.cid)).to.equal("ENVELOPE_MALFORMED");
  });

  it("is ENVELOPE_MALFORMED for a message that its sender signed and did not pad", () => {
    const history = registered();
    const envelope = history.envelope(ALICE, BOB);
    const withMessages = (messages: Uint8Array): Cid => {
      const signed = signedBytesOf(headerHashOf(envelope), envelope.commitment, messages);
      const signature = ALICE.identity().signer.sign(signed);
      return history.put(withMembers(encodeEnvelope(envelope), { messages, signature }));
    };
    expect(outcomeOf(history, withMessages(new Uint8Array(144 + 16)))).to.equal("verified");
    for (const length of [16, 127 + 16, 145 + 16]) {
      expect(outcomeOf(history, withMessages(new Uint8Array(length))), String(length)).to.equal("ENVELOPE_MALFORMED");
    }
  });

  it("is SELF_ADDRESSED before the room is looked at", () => {
    expect(outcomeOf(...envelopeOf({ receiver: ALICE.address }))).to.equal("SELF_ADDRESSED");
  });

  it("is ROOM_MISMATCH for a room that sender and receiver do not have here, listed there or not", () => {
    const history = registered();
    const elsewhere = { ...DEPLOYMENT, chainId: 80002 };
    const cid = history.message(ALICE, BOB, { deployment: elsewhere });
    expect(outcomeOf(history, cid)).to.equal("ROOM_MISMATCH");
    expect(outcomeOf(...envelopeOf({ room: history.room(ALICE, CAROL) }))).to.equal("ROOM_MISMATCH");
    expect(outcomeOf(...envelopeOf({ sender: CAROL.address }))).to.equal("ROOM_MISMATCH");
    expect(outcomeOf(...envelopeOf({ receiver: CAROL.address }))).to.equal("ROOM_MISMATCH");
    const [other, wrong] = envelopeOf({ room: history.room(ALICE, CAROL) });
    expect(outcomeOf(other, wrong, other.room(ALICE, CAROL))).to.equal("ROOM_MISMATCH");
  });

  it("is FOREIGN_ROOM in a room that it does not claim, as often as it is listed, and leaves its own room alone", () => {
    const [history, cid] = envelopeOf();
    const foreign = history.room(ALICE, CAROL);
    expect(outcomeOf(history, cid, foreign)).to.equal("FOREIGN_ROOM");
    expect(outcomeOf(history, cid, foreign)).to.equal("FOREIGN_ROOM");
    expect(outcomeOf(history, cid)).to.equal("verified");
  });

  it("is DUPLICATE at every place but the first, in one anchor or in another", () => {
    const [history, cid] = envelopeOf();
    const room = history.room(ALICE, BOB);
    history.anchor(deltaOf([room, [cid, cid]]));
    history.anchor(deltaOf([room, [cid]]));
    expect(
      history
        .replay()
        .entries(room)
        .map(({ verdict }) => outcome(verdict)),
    ).to.deep.equal(["verified", "DUPLICATE", "DUPLICATE"]);
  });

  it("is no DUPLICATE of a place that was rejected for its key", () => {
    const history = new History();
    const room = history.room(ALICE, BOB);
    const cid = history.message(ALICE, BOB);
    history.anchor(deltaOf([room, [cid]]));
    history.register(ALICE);
    history.register(BOB);
    history.anchor(deltaOf([room, [cid]]));
    expect(
      history
        .replay()
        .entries(room)
        .map(({ verdict }) => outcome(verdict)),
    ).to.deep.equal(["KEY_UNKNOWN", "verified"]);
  });

  it("is what is wrong with the block, at every place, rather than DUPLICATE", () => {
    const [history, cid] = blockOf({ seq: undefined });
    expect(outcomeOf(history, cid)).to.equal("ENVELOPE_MALFORMED");
    expect(outcomeOf(history, cid)).to.equal("ENVELOPE_MALFORMED");
    expect(outcomeOf(history, UNREACHABLE)).to.equal("missing");
    expect(outcomeOf(history, UNREACHABLE)).to.equal("missing");
  });

  it("is KEY_UNKNOWN when the sender had not registered that version before the anchor", () => {
    expect(outcomeOf(...envelopeOf({ senderKeyVersion: 2 }))).to.equal("KEY_UNKNOWN");
    expect(outcomeOf(...envelopeOf({ senderKeyVersion: 0 }))).to.equal("KEY_UNKNOWN");
    expect(outcomeOf(...envelopeOf({ senderKeyVersion: 2, receiverKeyVersion: 2 }))).to.equal("KEY_UNKNOWN");
    const history = registered();
    history.revoke(ALICE);
    // Version 2 is the tombstone.
    expect(outcomeOf(history, history.message(ALICE, BOB, { senderKeyVersion: 2 }))).to.equal("KEY_UNKNOWN");
  });

  it("is KEY_REJECTED when the sender's key is not valid", () => {
    const history = new History();
    history.register(ALICE, { signature: new Uint8Array(0) });
    history.register(BOB);
    expect(outcomeOfKey(history)).to.equal("BINDING_INVALID");
    expect(outcomeOf(history, history.message(ALICE, BOB))).to.equal("KEY_REJECTED");
    const other = new History();
    other.register(ALICE, { signingKey: fromHex(`0x01${"00".repeat(31)}`) });
    other.register(BOB);
    expect(outcomeOfKey(other)).to.equal("KEY_INADMISSIBLE");
    expect(outcomeOf(other, other.message(ALICE, BOB))).to.equal("KEY_REJECTED");
  });

  it("is KEY_REVOKED when it was anchored after a tombstone, however early it was written", () => {
    const history = registered();
    const room = history.room(ALICE, BOB);
    const [before, after, late] = [1, 2, 3].map((seq) => history.message(ALICE, BOB, { seq })) as [Cid, Cid, Cid];
    history.anchor(deltaOf([room, [before]]));
    history.revoke(ALICE);
    history.anchor(deltaOf([room, [after]]));
    history.register(ALICE);
    history.anchor(deltaOf([room, [late, history.message(ALICE, BOB, { seq: 4, senderKeyVersion: 3 })]]));
    expect(
      history
        .replay()
        .entries(room)
        .map(({ verdict }) => outcome(verdict)),
    ).to.deep.equal(["verified", "KEY_REVOKED", "KEY_REVOKED", "verified"]);
  });

  it("is verified under an old key after a rotation", () => {
    const history = registered();
    history.register(ALICE);
    expect(outcomeOf(history, history.message(ALICE, BOB))).to.equal("verified");
    expect(outcomeOf(history, history.message(ALICE, BOB, { senderKeyVersion: 2 }))).to.equal("verified");
  });

  it("is RECEIVER_KEY_UNKNOWN when the receiver had no such version, and does not ask more of it", () => {
    expect(outcomeOf(...envelopeOf({ receiverKeyVersion: 2 }))).to.equal("RECEIVER_KEY_UNKNOWN");
    const unregistered = new History();
    unregistered.register(ALICE);
    expect(outcomeOf(unregistered, unregistered.message(ALICE, BOB))).to.equal("RECEIVER_KEY_UNKNOWN");
    const revoked = registered();
    revoked.revoke(BOB);
    expect(outcomeOf(revoked, revoked.message(ALICE, BOB))).to.equal("verified");
    const rejected = new History();
    rejected.register(ALICE);
    rejected.register(BOB, { signature: new Uint8Array(0) });
    expect(outcomeOf(rejected, rejected.message(ALICE, BOB))).to.equal("verified");
  });

  it("is SIGNATURE_INVALID when the sender's key did not sign it", () => {
    const history = registered();
    expect(outcomeOf(history, history.message(ALICE, BOB, { signer: BOB.identity() }))).to.equal("SIGNATURE_INVALID");
    expect(outcomeOf(...envelopeOf({ seq: 2 }))).to.equal("SIGNATURE_INVALID");
    expect(outcomeOf(...envelopeOf({ timestamp: 2 }))).to.equal("SIGNATURE_INVALID");
    expect(outcomeOf(...envelopeOf({ commitment: fixedBytes("other") }))).to.equal("SIGNATURE_INVALID");
    expect(outcomeOf(...envelopeOf({ messages: new Uint8Array(144) }))).to.equal("SIGNATURE_INVALID");
    expect(outcomeOf(...envelopeOf({ signature: new Uint8Array(64) }))).to.equal("SIGNATURE_INVALID");
    // Reflected: Bob's receiver side is bound into what Alice signed.
    const envelope = history.envelope(ALICE, BOB);
    const reflected = history.put(encodeEnvelope({ ...envelope, sender: BOB.address, receiver: ALICE.address }));
    expect(outcomeOf(history, reflected)).to.equal("SIGNATURE_INVALID");
  });

  it("does not ask for key documents", () => {
    const history = registered();
    for (const event of history.events) if (event.kind === "key") history.blocks.delete(cidOfDigest(event.document));
    expect(outcomeOf(history, history.message(ALICE, BOB))).to.equal("verified");
  });
});

describe("The verdict on an anchor", () => {
  const room = new History().room(ALICE, BOB);

  /** A history with one verified anchor, and the draft of a next one. */
  function prepared(): { history: History; draft: ManifestDraft } {
    const history = registered();
    history.anchor(deltaOf([room, [history.message(ALICE, BOB)]]));
    const draft = history.draft(deltaOf([room, [history.message(ALICE, BOB, { seq: 2 })]]));
    return { history, draft };
  }
  const last = (history: History): Outcome => outcome(history.replay().anchors.at(-1)!.verdict);
  const outcomeOf = (change: Partial<Manifest>, prepare?: (history: History) => Partial<Manifest>): Outcome => {
    const { history, draft } = prepared();
    history.anchorManifest({ ...draft.manifest, ...change, ...prepare?.(history) });
    return last(history);
  };
  const shardOf = (history: History, value: CborValue): Partial<Manifest> => ({ rooms: [history.put(encode(value))] });

  it("is verified for a first manifest and for one on an earlier anchor", () => {
    const { history, draft } = prepared();
    expect(last(history)).to.equal("verified");
    history.anchorText(draft.cid);
    expect(last(history)).to.equal("verified");
  });

  it("is CID_NOT_CANONICAL for every other text", () => {
    for (const text of ["hello", "", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "BAFY", "\ud800"]) {
      const { history } = prepared();
      history.anchorText(text);
      expect(last(history)).to.equal("CID_NOT_CANONICAL");
    }
  });

  it("is ANCHOR_REPEATED for a CID that was anchored before, valid there or not, reachable or not", () => {
    const { history, draft } = prepared();
    history.anchorText(draft.cid);
    history.anchorText(draft.cid);
    expect(last(history)).to.equal("ANCHOR_REPEATED");
    history.anchorText(UNREACHABLE);
    expect(last(history)).to.equal("missing");
    history.anchorText(UNREACHABLE);
    expect(last(history)).to.equal("ANCHOR_REPEATED");
    // Rejected as too early at its first place, it stays so at its second, where its base would exist.
    const early = prepared();
    const tooEarly = { ...early.draft.manifest, base: { index: 2, cid: early.draft.cid } };
    early.history.anchorManifest(tooEarly);
    early.history.anchorText(early.draft.cid);
    early.history.anchorManifest(tooEarly);
    expect(early.history.replay().anchors.map(({ verdict }) => outcome(verdict))).to.deep.equal([
      "verified",
      "BASE_IN_FUTURE",
      "verified",
      "ANCHOR_REPEATED",
    ]);
  });

  it("is BLOCK_NOT_CANONICAL, VERSION_UNSUPPORTED or MANIFEST_MALFORMED for other blocks", () => {
    const { history, draft } = prepared();
    const { bytes } = draft.blocks.at(-1)!;
    const blocks: [Uint8Array, Outcome][] = [
      [concat(bytes, Uint8Array.of(0)), "BLOCK_NOT_CANONICAL"],
      [withMembers(bytes, { v: 2, seq: undefined }), "VERSION_UNSUPPORTED"],
      [withMembers(bytes, { seq: undefined }), "MANIFEST_MALFORMED"],
      [encodeEnvelope(history.envelope(ALICE, BOB)), "MANIFEST_MALFORMED"],
      [encodeShards(deltaOf([room, [UNREACHABLE]]))[0]!, "MANIFEST_MALFORMED"],
    ];
    for (const [block, expected] of blocks) {
      history.anchorText(history.put(block));
      expect(last(history)).to.equal(expected);
    }
  });

  it("is BASE_IN_FUTURE for a base that is itself or later", () => {
    for (const index of [1, 2, 2 ** 53 - 1]) {
      expect(outcomeOf({ base: { index, cid: UNREACHABLE } })).to.equal("BASE_IN_FUTURE");
    }
  });

  it("is PREV_MISMATCH when another text was anchored at the base, before it matters whether that was valid", () => {
    expect(outcomeOf({ base: { index: 0, cid: UNREACHABLE } })).to.equal("PREV_MISMATCH");
    const { history, draft } = prepared();
    history.anchorText("hello");
    history.anchorManifest({ ...draft.manifest, base: { index: 1, cid: UNREACHABLE } });
    expect(last(history)).to.equal("PREV_MISMATCH");
  });

  it("is BASE_REJECTED on a base that was rejected, and missing on one that is missing", () => {
    const { history, draft } = prepared();
    const wrong = history.anchorManifest({ ...draft.manifest, count: 7 });
    history.anchorManifest({ ...draft.manifest, base: { index: wrong.index, cid: wrong.cid! } });
    expect(last(history)).to.equal("BASE_REJECTED");
    const unreachable = history.anchorText(UNREACHABLE);
    history.anchorManifest({ ...draft.manifest, base: { index: unreachable.index, cid: UNREACHABLE } });
    expect(last(history)).to.equal("missing");
    expect([...history.replay().missing()]).to.deep.equal([UNREACHABLE]);
  });

  it("is BASE_REJECTED on a repeated anchor, which adds nothing", () => {
    const { history, draft } = prepared();
    const [first] = history.replay().anchors;
    history.anchorText(first!.event.text);
    history.anchorManifest({ ...draft.manifest, base: { index: 1, cid: first!.event.cid! } });
    expect(last(history)).to.equal("BASE_REJECTED");
  });

  it("is SEQ_MISMATCH when the number is not its base's plus one, or not 0 for a first", () => {
    for (const seq of [0, 2, 2 ** 53 - 1]) expect(outcomeOf({ seq })).to.equal("SEQ_MISMATCH");
    expect(outcomeOf({ base: null, seq: 1 })).to.equal("SEQ_MISMATCH");
    // Before the shards are asked for.
    expect(outcomeOf({ seq: 2, rooms: [UNREACHABLE] })).to.equal("SEQ_MISMATCH");
  });

  it("is missing until all shards and heads are there, whatever is wrong with some", () => {
    expect(outcomeOf({ rooms: [UNREACHABLE] })).to.equal("missing");
    expect(outcomeOf({ heads: [UNREACHABLE] })).to.equal("missing");
    expect(outcomeOf({ count: 7, rooms: [UNREACHABLE] })).to.equal("missing");
    expect(outcomeOf({}, (history) => ({ rooms: [history.put(encode(7)), UNREACHABLE] }))).to.equal("missing");
    // Heads are needed only when all else is right.
    expect(outcomeOf({ count: 7, heads: [UNREACHABLE] })).to.equal("COUNT_MISMATCH");
  });

  it("is of the first shard or heads block that is wrong, shards first", () => {
    const nonCanonical = (history: History): Cid => history.put(Uint8Array.of(0x18, 1));
    expect(outcomeOf({}, (history) => shardOf(history, 7))).to.equal("SHARD_MALFORMED");
    expect(outcomeOf({}, (history) => ({ rooms: [nonCanonical(history)] }))).to.equal("BLOCK_NOT_CANONICAL");
    expect(outcomeOf({}, (history) => ({ rooms: [history.put(encode(7)), nonCanonical(history)] }))).to.equal(
      "SHARD_MALFORMED",
    );
    expect(outcomeOf({}, (history) => ({ rooms: [nonCanonical(history), history.put(encode(7))] }))).to.equal(
      "BLOCK_NOT_CANONICAL",
    );
    expect(outcomeOf({}, (history) => ({ heads: [history.put(encode(7))] }))).to.equal("HEADS_MALFORMED");
    expect(outcomeOf({}, (history) => ({ heads: [nonCanonical(history)] }))).to.equal("BLOCK_NOT_CANONICAL");
    expect(outcomeOf({}, (history) => ({ ...shardOf(history, 7), heads: [nonCanonical(history)] }))).to.equal(
      "SHARD_MALFORMED",
    );
    // Each shard is well-formed, their order is not; that comes before the heads.
    expect(
      outcomeOf({}, (history) => {
        const [higher, lower] = ["ff", "00"].map((byte) => new Map([[`0x${byte.repeat(32)}`, [linkTo(UNREACHABLE)]]]));
        return { rooms: [higher!, lower!].map((shard) => history.put(encode(shard))), heads: [nonCanonical(history)] };
      }),
    ).to.equal("SHARD_MALFORMED");
  });

  it("is SHARD_MALFORMED when rooms do not ascend over the shards, but for one that goes on in the next", () => {
    const [a, b, c] = ["11", "22", "33"].map((byte) => `0x${byte.repeat(32)}`) as [string, string, string];
    const over = (...shards: readonly (readonly string[])[]): Outcome =>
      outcomeOf({ count: shards.flat().length }, (history) => ({
        // Each with a CID of its own: no two shards are the same.
        rooms: shards.map((rooms, number) => {
          const cid = cidOfDigest(fixedBytes(`message ${number}`));
          return history.put(encode(new Map(rooms.map((room) => [room, [linkTo(cid)]]))));
        }),
      }));
    expect(over([a, b], [b, c])).to.equal("HEADS_MISMATCH");
    expect(over([a], [a], [a, b])).to.equal("HEADS_MISMATCH");
    expect(over([a, b], [c])).to.equal("HEADS_MISMATCH");
    expect(over([b], [a])).to.equal("SHARD_MALFORMED");
    expect(over([a, b], [a])).to.equal("SHARD_MALFORMED");
    expect(over([a, b], [a, b])).to.equal("SHARD_MALFORMED");
    expect(over([a, c], [b, c])).to.equal("SHARD_MALFORMED");
  });

  it("is COUNT_MISMATCH, then HEADS_MISMATCH, then STATE_MISMATCH for claims that its messages do not bear out", () => {
    const state = fixedBytes("another state");
    const wrongHeads = (change: Partial<Head>) => (history: History) => {
      const head: Head = { room, n: 2, lastIndex: 0, roomRoot: fixedBytes("root"), ...change };
      return { heads: encodeHeads([head]).map((block) => history.put(block)) };
    };
    expect(outcomeOf({ count: 2, state }, wrongHeads({}))).to.equal("COUNT_MISMATCH");
    expect(outcomeOf({ count: 0 })).to.equal("COUNT_MISMATCH");
    expect(outcomeOf({ state }, wrongHeads({}))).to.equal("HEADS_MISMATCH");
    expect(outcomeOf({ state })).to.equal("STATE_MISMATCH");
  });

  it("is HEADS_MISMATCH when any member of a head is wrong, or one is missing, too many, or in another order", () => {
    const { history, draft } = prepared();
    const right = decode(history.get(draft.manifest.heads[0]!)!) as readonly (readonly CborValue[])[];
    const [row] = right as [readonly CborValue[]];
    const [id, n, lastIndex, root] = row;
    expect([n, lastIndex]).to.deep.equal([2, 0]);
    const wrong: CborValue[] = [
      [[fixedBytes("room"), n!, lastIndex!, root!]],
      [[id!, 1, lastIndex!, root!]],
      [[id!, n!, null, root!]],
      [[id!, n!, 1, root!]],
      [[id!, n!, lastIndex!, fixedBytes("root")]],
      [row, [new Uint8Array(32).fill(0xff), 1, null, root!]],
    ];
    for (const rows of wrong) {
      history.anchorManifest({ ...draft.manifest, heads: [history.put(encode(rows))] });
      expect(last(history)).to.equal("HEADS_MISMATCH");
    }
    const twice = history.put(encode(wrong.at(-1)!));
    history.anchorManifest({ ...draft.manifest, heads: [...draft.manifest.heads, twice] });
    expect(last(history)).to.equal("HEADS_MISMATCH");
  });

  it("does not depend on how shards and heads are cut", () => {
    const history = registered();
    const rooms = deltaOf(
      [room, [1, 2, 3, 4].map((seq) => history.message(ALICE, BOB, { seq }))],
      [history.room(ALICE, CAROL), [history.message(ALICE, CAROL)]],
    );
    const draft = history.draft(rooms);
    const head = decode(history.get(draft.manifest.heads[0]!)!) as readonly CborValue[];
    history.anchorManifest({
      ...draft.manifest,
      rooms: encodeShards(rooms, 200).map((shard) => history.put(shard)),
      heads: head.map((row) => history.put(encode([row]))),
    });
    expect(history.replay().anchors[0]!.manifest!.rooms.length).to.be.greaterThan(2);
    expect(last(history)).to.equal("verified");
  });
});

describe("The table of verdict codes", () => {
  it("has been produced, every code that SPEC.md 9.1 to 9.3 lists and no other, by the tests above", () => {
    const spec = readFileSync(new URL("../../protocol/SPEC.md", import.meta.url), "utf8");
    const tables = spec.slice(spec.indexOf("### 9.1"), spec.indexOf("### 9.4"));
    const listed = new Set([...tables.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code = ""]) => code));
    expect(listed.size).to.equal(27);
    expect([...seen].filter((found) => found !== "verified" && found !== "missing").sort()).to.deep.equal(
      [...listed].sort(),
    );
  });

  it("does not swallow a defect of the software", () => {
    expect(() => rejectedBy(new TypeError("a defect"))).to.throw(TypeError);
    // Of integrity, too, and no verdict: what is damaged is the reader's own.
    for (const code of ["DATABASE_DAMAGED", "BLOCK_HASH_MISMATCH", "ANSWER_UNTRUE"] as const) {
      expect(
        codeOf(() => rejectedBy(new DmtpError(code, "what it is"))),
        code,
      ).to.equal(code);
    }
  });
});
