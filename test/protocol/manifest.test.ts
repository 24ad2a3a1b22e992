import { expect } from "chai";
import fc from "fast-check";

import { toHex } from "../../protocol/bytes.ts";
import { Link, type CborValue } from "../../protocol/cbor.ts";
import { decode } from "../../protocol/cbor-decoder.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, cidOfDigest, linkTo, verifyBlock } from "../../protocol/cid.ts";
import {
  decodeManifest,
  draftManifest,
  draftRooms,
  encodeManifest,
  MAX_MESSAGES,
  MAX_SHARDS,
} from "../../protocol/manifest.ts";
import { ALICE, BOB, CAROL, deltaOf, History } from "../fixtures/history.ts";
import { codeOf } from "../fixtures/refusal.ts";

const history = new History();
history.register(ALICE);
history.register(BOB);
const ROOM = history.room(ALICE, BOB);
const FIRST = history.draft(deltaOf([ROOM, [history.message(ALICE, BOB)]]));
history.anchorText(FIRST.cid);
const SECOND = history.draft(
  deltaOf([ROOM, [history.message(BOB, ALICE)]], [history.room(ALICE, CAROL), [history.message(ALICE, CAROL)]]),
);

function refusal(change: Record<string, CborValue | undefined>, of = SECOND): string | null {
  const map = new Map(decode(encodeManifest(of.manifest)) as ReadonlyMap<string, CborValue>);
  for (const [name, value] of Object.entries(change)) {
    if (value === undefined) map.delete(name);
    else map.set(name, value);
  }
  return codeOf(() => decodeManifest(encode(map)));
}

describe("A manifest", () => {
  it("comes back as it was", () => {
    for (const { manifest } of [FIRST, SECOND])
      expect(decodeManifest(encodeManifest(manifest))).to.deep.equal(manifest);
  });

  it("is the same bytes for the same input", () => {
    const { tip } = history.replay();
    const delta = deltaOf([ROOM, [FIRST.cid, SECOND.cid]]);
    expect(draftManifest(tip, delta)).to.deep.equal(draftManifest(history.replay().tip, delta));
  });

  it("names its base by index and by a text that is no link", () => {
    const map = decode(encodeManifest(SECOND.manifest)) as ReadonlyMap<string, CborValue>;
    expect(map.get("base")).to.equal(0);
    expect(map.get("prev")).to.equal(FIRST.cid);
    expect(map.get("seq")).to.equal(1);
    const first = decode(encodeManifest(FIRST.manifest)) as ReadonlyMap<string, CborValue>;
    expect([first.get("base"), first.get("prev"), first.get("seq")]).to.deep.equal([null, null, 0]);
  });

  it("comes with all blocks that it links to, before itself", () => {
    expect(SECOND.blocks.map(({ cid }) => cid)).to.deep.equal([
      ...SECOND.manifest.rooms,
      ...SECOND.manifest.heads,
      SECOND.cid,
    ]);
    for (const { cid, bytes } of SECOND.blocks) verifyBlock(cid, bytes);
  });

  it("is the same of a delta that comes room by room, which has to ascend", () => {
    const { tip } = history.replay();
    const rooms = [
      [ROOM, [FIRST.cid]],
      [history.room(ALICE, CAROL), [SECOND.cid, FIRST.cid]],
    ] as const;
    const ascending = rooms.toSorted(([a], [b]) => (a < b ? -1 : 1));
    const expected = draftManifest(tip, deltaOf(...rooms));
    expect(draftRooms(tip, ascending[Symbol.iterator]())).to.deep.equal(expected);
    expect(() => draftRooms(tip, ascending.toReversed())).to.throw(RangeError);
    expect(() => draftRooms(tip, [ascending[0]!, ascending[0]!])).to.throw(RangeError);
  });

  it("is refused without messages", () => {
    expect(() => draftManifest(null, new Map())).to.throw(RangeError);
  });

  it("of another version is told apart from damage, even when its members are others", () => {
    expect(refusal({ v: 2 })).to.equal("VERSION_UNSUPPORTED");
    expect(refusal({ v: 2, seq: undefined, suite: 1 })).to.equal("VERSION_UNSUPPORTED");
    expect(refusal({ v: undefined })).to.equal("MANIFEST_MALFORMED");
    expect(refusal({ v: "2" })).to.equal("MANIFEST_MALFORMED");
    // A manifest has no suite.
    expect(refusal({ suite: 2 })).to.equal("MANIFEST_MALFORMED");
  });

  it("with a member too many, too few or of another type is malformed", () => {
    for (const name of ["seq", "rooms", "heads", "count", "state"]) {
      for (const value of [
        undefined,
        null,
        "x",
        -1,
        2n ** 53n,
        new Uint8Array(31),
        [],
        [7],
        [FIRST.cid],
        linkTo(FIRST.cid),
      ]) {
        expect(refusal({ [name]: value }), name).to.equal("MANIFEST_MALFORMED");
      }
    }
    expect(refusal({ extra: null })).to.equal("MANIFEST_MALFORMED");
  });

  it("has base and prev both or neither, an index and a canonical CID", () => {
    expect(refusal({ base: null, prev: null })).to.equal(null);
    expect(refusal({ base: null })).to.equal("MANIFEST_MALFORMED");
    expect(refusal({ prev: null })).to.equal("MANIFEST_MALFORMED");
    for (const base of [undefined, -1, "0", 2n ** 53n]) expect(refusal({ base })).to.equal("MANIFEST_MALFORMED");
    for (const prev of [undefined, 7, "x", FIRST.cid.toUpperCase(), linkTo(FIRST.cid), `${FIRST.cid}a`]) {
      expect(refusal({ prev })).to.equal("MANIFEST_MALFORMED");
    }
  });

  it("links to 1 to 32 shards and as many heads blocks, all of them dag-cbor", () => {
    const link = linkTo(FIRST.cid);
    const raw = new Link(Uint8Array.of(1, 0x55, ...link.bytes.subarray(2)));
    for (const name of ["rooms", "heads"]) {
      const links = Array.from({ length: MAX_SHARDS + 1 }, (_, i) => linkTo(cidOf(Uint8Array.of(i % 256, i >> 8))));
      expect(links.slice(1)).to.have.length(32);
      expect(refusal({ [name]: links.slice(1) })).to.equal(null);
      expect(refusal({ [name]: links })).to.equal("MANIFEST_MALFORMED");
      expect(refusal({ [name]: [link, links[0]!, link] }), "one twice").to.equal("MANIFEST_MALFORMED");
      expect(refusal({ [name]: [raw] })).to.equal("MANIFEST_MALFORMED");
    }
  });

  it("counts at most the 262,144 messages that its shards can list", () => {
    expect(refusal({ count: 262_144 })).to.equal(null);
    expect(refusal({ count: 262_145 })).to.equal("MANIFEST_MALFORMED");
  });

  it("takes 262,144 messages, in 32 full shards, and not one more", () => {
    const digest = new Uint8Array(32);
    const cids = Array.from({ length: MAX_MESSAGES + 1 }, (_, i) => {
      new DataView(digest.buffer).setUint32(0, i);
      return cidOfDigest(digest);
    });
    const { manifest } = draftManifest(null, deltaOf([ROOM, cids.slice(1)]));
    expect([manifest.count, manifest.rooms.length]).to.deep.equal([262_144, 32]);
    expect(() => draftManifest(null, deltaOf([ROOM, cids]))).to.throw(RangeError);
  }).timeout(20_000);

  it("ends with the 32 bytes of its state root, whatever else it says: a verifier on chain rests on it", () => {
    const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const cids = fc.uniqueArray(digest.map(cidOfDigest), { minLength: 1, maxLength: MAX_SHARDS });
    const manifests = fc.record({
      seq: fc.maxSafeNat(),
      base: fc.option(fc.record({ index: fc.maxSafeNat(), cid: digest.map(cidOfDigest) })),
      rooms: cids,
      heads: cids,
      count: fc.nat(MAX_MESSAGES),
      state: digest,
    });
    fc.assert(
      fc.property(manifests, (manifest) => {
        const block = encodeManifest(manifest);
        expect(decodeManifest(block)).to.deep.equal(manifest);
        expect(block.slice(-32)).to.deep.equal(manifest.state);
      }),
    );
  });

  it("has a CID that is the hash of its bytes", () => {
    const { bytes } = SECOND.blocks.at(-1)!;
    expect(cidOf(bytes)).to.equal(SECOND.cid);
    expect(toHex(bytes)).to.equal(toHex(encodeManifest(SECOND.manifest)));
  });
});
