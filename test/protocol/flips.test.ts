/** Blocks that were changed in a bit, or written in another way: none of them passes for what it was. */
import { expect } from "chai";

import { concat, fromHex, toHex, utf8 } from "../../protocol/bytes.ts";
import { Link, type CborMap, type CborValue } from "../../protocol/cbor.ts";
import { decode } from "../../protocol/cbor-decoder.ts";
import { cidOf, digestOfCid, linkTo, verifyBlock, type Cid } from "../../protocol/cid.ts";
import { decodeEnvelope } from "../../protocol/envelope.ts";
import type { AnchorEvent, ChainEvent, KeyEvent } from "../../protocol/event.ts";
import { decodeHeads } from "../../protocol/heads.ts";
import { checkKeyDocument, decodeKeyDocument } from "../../protocol/key-document.ts";
import { verifyKey } from "../../protocol/keys.ts";
import { decodeManifest, encodeManifest, type ManifestDraft } from "../../protocol/manifest.ts";
import { type Replay } from "../../protocol/replay/replay.ts";
import { decodeShard } from "../../protocol/shard.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { ALICE, BOB, CAROL, DEPLOYMENT, deltaOf, History } from "../fixtures/history.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { flipBit } from "./crypto/implementations.ts";

function outcome(verdict: Verdict): string {
  return verdict.status === "rejected" ? verdict.code : verdict.status;
}

const history = new History();
const registration: KeyEvent = history.register(ALICE);
for (const person of [BOB, CAROL]) history.register(person);
const ROOM = history.room(ALICE, BOB);
const first = history.message(ALICE, BOB, { text: "The first." });
history.anchor(deltaOf([ROOM, [first]], [history.room(ALICE, CAROL), [history.message(ALICE, CAROL)]]));
const MESSAGE = history.message(BOB, ALICE, { text: "The second, 🚀.", seen: [first] });
const DRAFT: ManifestDraft = history.draft(
  deltaOf(
    [ROOM, [MESSAGE]],
    [history.room(BOB, CAROL), [1, 2, 3, 4, 5].map((seq) => history.message(CAROL, BOB, { seq }))],
  ),
);
const [SHARD, HEADS] = [DRAFT.manifest.rooms[0]!, DRAFT.manifest.heads[0]!];
const DOCUMENT = cidOf(history.get(documentOf(registration))!);

/** One real block of each kind. */
const BLOCKS: Record<string, Cid> = {
  "an envelope": MESSAGE,
  "a key document": DOCUMENT,
  "a manifest header": DRAFT.cid,
  "a shard": SHARD,
  "a heads block": HEADS,
};
const DECODERS: Record<string, (block: Uint8Array) => unknown> = {
  "an envelope": decodeEnvelope,
  "a key document": decodeKeyDocument,
  "a manifest header": decodeManifest,
  "a shard": decodeShard,
  "a heads block": decodeHeads,
};

function documentOf(event: KeyEvent): Cid {
  const cid = [...history.blocks.keys()].find((candidate) => toHex(digestOfCid(candidate)) === toHex(event.document));
  if (cid === undefined) throw new Error("a registration without its document");
  return cid;
}

function* flipsOf(block: Uint8Array): Generator<Uint8Array> {
  for (let bit = 0; bit < block.length * 8; bit++) yield flipBit(block, bit);
}

let replayed = replayHistory();

function replayHistory(): Replay {
  return history.replay();
}

/** The verdict on an anchor of `cid` after the history's own, with these blocks besides its own. */
function anchored(cid: Cid, blocks: readonly Uint8Array[]): string {
  // A verdict depends on nothing that was anchored besides, but for a CID that comes a second time.
  if (replayed.anchors.some(({ event }) => event.cid === cid)) replayed = replayHistory();
  const index = replayed.anchors.length;
  const event: AnchorEvent = { ...history.events.findLast(isAnchor)!, index, blockNumber: 1e6 + index, cid, text: cid };
  const extra = new Map(blocks.map((bytes) => [cidOf(bytes), bytes]));
  replayed.add(event);
  replayed.settle((asked) => extra.get(asked) ?? history.get(asked));
  return outcome(replayed.anchors[index]!.verdict);
}

function isAnchor(event: ChainEvent): event is AnchorEvent {
  return event.kind === "anchor";
}

describe("A block with one bit flipped", () => {
  let flips = 0;

  for (const [kind, cid] of Object.entries(BLOCKS)) {
    it(`is refused under its CID: every bit of ${kind}`, () => {
      const block = history.get(cid)!;
      expect(verifyBlock(cid, block)).to.equal(block);
      for (const flipped of flipsOf(block)) {
        if (codeOf(() => verifyBlock(cid, flipped)) !== "BLOCK_HASH_MISMATCH") expect.fail(toHex(flipped));
        flips += 1;
      }
    });
  }

  it("is refused under a CID of its own: every bit of an envelope", () => {
    const twins = [...flipsOf(history.get(MESSAGE)!)].map((block) => history.put(block));
    const other = new History();
    other.events.push(...history.events.filter(({ kind }) => kind === "key"));
    for (const [cid, bytes] of history.blocks) other.blocks.set(cid, bytes);
    other.anchorText(other.draft(deltaOf([ROOM, [...twins, MESSAGE]]), null).cid);
    const entries = other.replay().entries(ROOM);
    expect(entries).to.have.length(twins.length + 1);
    expect(outcome(entries.at(-1)!.verdict)).to.equal("verified");
    const codes = new Set<string>();
    for (const { verdict } of entries.slice(0, -1)) {
      codes.add(outcome(verdict));
      flips += 1;
    }
    expect([...codes].sort()).to.deep.equal([
      "BLOCK_NOT_CANONICAL",
      "ENVELOPE_MALFORMED",
      "KEY_UNKNOWN",
      "RECEIVER_KEY_UNKNOWN",
      "ROOM_MISMATCH",
      "SIGNATURE_INVALID",
      "SUITE_UNSUPPORTED",
      "VERSION_UNSUPPORTED",
    ]);
  }).timeout(60_000);

  it("is refused under a CID of its own: every bit of a key document", () => {
    const codes = new Set<string>();
    let unbound = 0;
    for (const block of flipsOf(history.get(DOCUMENT)!)) {
      flips += 1;
      const code = codeOf(() => checkKeyDocument(decodeKeyDocument(block), DEPLOYMENT, registration));
      if (code !== null) {
        codes.add(code);
        continue;
      }
      // In the seal or its salt: the document is well-formed, and is not the one that the wallet signed.
      unbound += 1;
      const twin = verifyKey(DEPLOYMENT, { ...registration, document: digestOfCid(cidOf(block)) }, false);
      if (outcome(twin.verdict) !== "BINDING_INVALID") expect.fail(toHex(block));
    }
    expect(unbound).to.equal((32 + 48) * 8);
    expect([...codes].sort()).to.deep.equal([
      "BLOCK_NOT_CANONICAL",
      "KEY_DOCUMENT_MALFORMED",
      "KEY_DOCUMENT_MISMATCH",
      "SUITE_UNSUPPORTED",
      "VERSION_UNSUPPORTED",
    ]);
  }).timeout(60_000);

  it("is refused under a CID of its own: every bit of a manifest header", () => {
    expect(anchored(DRAFT.cid, [])).to.equal("verified");
    const codes = new Set<string>();
    let missing = 0;
    for (const block of flipsOf(history.get(DRAFT.cid)!)) {
      flips += 1;
      const found = anchored(cidOf(block), [block]);
      if (found === "missing") missing += 1;
      else codes.add(found);
    }
    // A flip in the digest of a link asks for another block, which nobody has and nobody can make.
    expect(missing).to.equal(2 * 32 * 8);
    expect([...codes].sort()).to.deep.equal([
      "BLOCK_NOT_CANONICAL",
      "COUNT_MISMATCH",
      "MANIFEST_MALFORMED",
      "PREV_MISMATCH",
      "SEQ_MISMATCH",
      "STATE_MISMATCH",
      "VERSION_UNSUPPORTED",
    ]);
  }).timeout(60_000);

  it("is refused under a CID of its own: every bit of a shard, its manifest made anew", () => {
    const codes = new Set<string>();
    for (const block of flipsOf(history.get(SHARD)!)) {
      flips += 1;
      const header = encodeManifest({ ...DRAFT.manifest, rooms: [cidOf(block)] });
      codes.add(anchored(cidOf(header), [block, header]));
    }
    expect([...codes].sort()).to.deep.equal(["BLOCK_NOT_CANONICAL", "HEADS_MISMATCH", "SHARD_MALFORMED"]);
  }).timeout(60_000);

  it("is refused under a CID of its own: every bit of a heads block, its manifest made anew", () => {
    const codes = new Set<string>();
    for (const block of flipsOf(history.get(HEADS)!)) {
      flips += 1;
      const header = encodeManifest({ ...DRAFT.manifest, heads: [cidOf(block)] });
      codes.add(anchored(cidOf(header), [block, header]));
    }
    expect([...codes].sort()).to.deep.equal(["BLOCK_NOT_CANONICAL", "HEADS_MALFORMED", "HEADS_MISMATCH"]);
  }).timeout(60_000);

  after(() => {
    expect(flips).to.be.greaterThan(10_000);
  });
});

/** How a careless encoder differs from the canonical one. */
type Habit = "canonical" | "unsorted" | "float16" | "indefinite" | "invalid UTF-8" | "extra member";

/** CBOR by another encoder, which has this habit in the outermost value (unsorted: everywhere). */
function looselyEncoded(value: CborValue, habit: Habit, outermost = true): Uint8Array {
  const inner = (item: CborValue): Uint8Array =>
    looselyEncoded(item, habit === "unsorted" ? habit : "canonical", false);
  if (value instanceof Map) {
    const entries = [...(value as CborMap)].map(([key, item]) => concat(looselyEncoded(key, "canonical"), inner(item)));
    if (habit === "unsorted") entries.reverse();
    if (habit === "float16") entries.unshift(concat(fromHex("0x60"), fromHex("0xf93c00")));
    if (habit === "invalid UTF-8") entries.unshift(concat(fromHex("0x61ff"), fromHex("0x00")));
    if (habit === "extra member") entries.unshift(concat(fromHex("0x60"), fromHex("0x00")));
    return framed(5, entries, habit === "indefinite");
  }
  if (Array.isArray(value)) {
    const items = value.map((item) => inner(item as CborValue));
    if (outermost && habit === "unsorted") items.reverse();
    if (habit === "float16") items.unshift(fromHex("0xf93c00"));
    if (habit === "invalid UTF-8") items.unshift(fromHex("0x61ff"));
    if (habit === "extra member") items.unshift(fromHex("0x00"));
    return framed(4, items, habit === "indefinite");
  }
  if (value instanceof Link)
    return concat(fromHex("0xd82a"), looselyEncoded(concat(Uint8Array.of(0), value.bytes), "canonical"));
  if (value instanceof Uint8Array) return concat(head(2, value.length), value);
  if (typeof value === "string") return concat(head(3, utf8(value).length), utf8(value));
  if (typeof value === "number") return head(0, value);
  if (value === null) return fromHex("0xf6");
  throw new Error("not in any block of DMTP");
}

function framed(major: number, parts: readonly Uint8Array[], indefinite: boolean): Uint8Array {
  if (indefinite) return concat(Uint8Array.of((major << 5) | 31), ...parts, Uint8Array.of(0xff));
  return concat(head(major, parts.length), ...parts);
}

function head(major: number, argument: number): Uint8Array {
  if (argument < 24) return Uint8Array.of((major << 5) | argument);
  const size = argument < 0x100 ? 1 : argument < 0x1_0000 ? 2 : argument < 0x1_0000_0000 ? 4 : 8;
  const digits = argument.toString(16).padStart(size * 2, "0");
  return concat(Uint8Array.of((major << 5) | (24 + Math.log2(size))), fromHex(`0x${digits}`));
}

describe("A block written in another way", () => {
  const MALFORMED: Record<string, string> = {
    "an envelope": "ENVELOPE_MALFORMED",
    "a key document": "KEY_DOCUMENT_MALFORMED",
    "a manifest header": "MANIFEST_MALFORMED",
    "a shard": "SHARD_MALFORMED",
    "a heads block": "HEADS_MALFORMED",
  };
  const HABITS: Habit[] = ["unsorted", "float16", "indefinite", "invalid UTF-8", "extra member"];

  for (const [kind, cid] of Object.entries(BLOCKS)) {
    it(`is refused: ${kind} with ${HABITS.join(", ")}`, () => {
      const block = history.get(cid)!;
      const value = decode(block);
      expect(toHex(looselyEncoded(value, "canonical"))).to.equal(toHex(block));
      for (const habit of HABITS) {
        const twin = looselyEncoded(value, habit);
        // Rows in another order are canonical CBOR: it is the heads block that they do not make.
        const wellFormed = habit === "extra member" || (habit === "unsorted" && kind === "a heads block");
        const expected = wellFormed ? MALFORMED[kind]! : "BLOCK_NOT_CANONICAL";
        expect(
          codeOf(() => DECODERS[kind]!(twin)),
          habit,
        ).to.equal(expected);
        expect(
          codeOf(() => verifyBlock(cid, twin)),
          habit,
        ).to.equal("BLOCK_HASH_MISMATCH");
      }
    });
  }

  it("is rejected by the replay for the same reason, under a CID of its own", () => {
    for (const habit of HABITS) {
      const twin = looselyEncoded(decode(history.get(DRAFT.cid)!), habit);
      expect(anchored(cidOf(twin), [twin])).to.equal(
        habit === "extra member" ? "MANIFEST_MALFORMED" : "BLOCK_NOT_CANONICAL",
      );
      const message = looselyEncoded(decode(history.get(MESSAGE)!), habit);
      const other = new History();
      other.events.push(...history.events.filter(({ kind }) => kind === "key"));
      other.anchor(deltaOf([ROOM, [other.put(message)]]));
      const [entry] = other.replay().entries(ROOM);
      expect(outcome(entry!.verdict)).to.equal(habit === "extra member" ? "ENVELOPE_MALFORMED" : "BLOCK_NOT_CANONICAL");
    }
  });

  it("is refused when a link in it is of another kind", () => {
    const raw = new Link(Uint8Array.of(1, 0x55, ...linkTo(MESSAGE).bytes.subarray(2)));
    const shard = looselyEncoded(new Map([[ROOM, [raw]]]), "canonical");
    expect(codeOf(() => decodeShard(shard))).to.equal("SHARD_MALFORMED");
  });
});
