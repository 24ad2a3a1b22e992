import { expect } from "chai";
import fc from "fast-check";

import type { Address } from "../../protocol/address.ts";
import { decodeArchive, decodeEvents, encodeArchive, encodeEvents, type Archive } from "../../protocol/archive.ts";
import { toHex } from "../../protocol/bytes.ts";
import { Float, Link, type CborValue } from "../../protocol/cbor.ts";
import { decode } from "../../protocol/cbor-decoder.ts";
import { encodeBlock } from "../../protocol/cbor-encoder.ts";
import { cidOfDigest, type Cid } from "../../protocol/cid.ts";
import { decodeContent, encodeContent, type Content } from "../../protocol/content.ts";
import { decodeEnvelope, encodeEnvelope, type Envelope } from "../../protocol/envelope.ts";
import { DmtpError, type ErrorCode } from "../../protocol/error.ts";
import type { KeyEvent } from "../../protocol/event.ts";
import { decodeHeads, encodeHeads, type Head } from "../../protocol/heads.ts";
import { decodeKeyDocument, encodeKeyDocument, type KeyDocument } from "../../protocol/key-document.ts";
import { decodeManifest, encodeManifest, type Manifest } from "../../protocol/manifest.ts";
import type { RoomId } from "../../protocol/room.ts";
import { decodeShard, encodeShards } from "../../protocol/shard.ts";
import type { Delta } from "../../protocol/state.ts";

/** Values of the right type, of which some are what the formats allow and some are not. */
const bytes = (...sizes: number[]) =>
  fc.constantFrom(...sizes).chain((size) => fc.uint8Array({ minLength: size, maxLength: size }));
const uint = fc.oneof(
  { weight: 6, arbitrary: fc.nat(9) },
  { weight: 2, arbitrary: fc.maxSafeNat() },
  fc.constantFrom(-1, -0, 0.5, 2 ** 32, 2 ** 53, NaN, Infinity, 262_145),
);
const hex = <T extends string>(size: number) =>
  fc.oneof(
    { weight: 9, arbitrary: bytes(size).map((each) => toHex(each) as string as T) },
    fc
      .constantFrom("0x", `0x${"AB".repeat(size)}`, `0x${"zz".repeat(size)}`, `0x${"00".repeat(size + 1)}`)
      .map((text) => text as T),
  );
const cid = fc.oneof(
  { weight: 30, arbitrary: bytes(32).map(cidOfDigest) },
  fc.constantFrom("", "bafyrei", "x".repeat(59)).map((text) => text as Cid),
);
const address = hex<Address>(20);
const room = hex<RoomId>(32);
const sized = (size: number) =>
  fc.oneof({ weight: 20, arbitrary: bytes(size) }, { weight: 1, arbitrary: bytes(0, size - 1, size + 1) });

const envelopes: fc.Arbitrary<Envelope> = fc.record({
  v: fc.constant(1 as const),
  room,
  sender: address,
  receiver: address,
  senderKeyVersion: uint,
  receiverKeyVersion: uint,
  seq: uint,
  seen: fc.array(sized(32), { maxLength: 3 }),
  timestamp: uint,
  nonce: sized(32),
  commitment: sized(32),
  messages: fc.oneof({ weight: 5, arbitrary: bytes(144, 160, 272) }, bytes(0, 16, 143, 161)),
  signature: sized(64),
});
const sealed: fc.Arbitrary<KeyDocument["sealed"]> = fc.oneof(
  fc.record({ method: fc.constant("wallet" as const), salt: sized(32), ciphertext: sized(48) }),
  fc.record({
    method: fc.constant("passphrase" as const),
    salt: sized(32),
    scrypt: fc.record({ N: fc.constantFrom(1, 2, 3, 2 ** 17, 2 ** 21), r: uint, p: uint }),
    ciphertext: sized(48),
  }),
);
const documents: fc.Arbitrary<KeyDocument> = fc.record({
  chainId: uint,
  keyRegistry: address,
  wallet: address,
  version: uint,
  encryptionKey: sized(32),
  signingKey: sized(32),
  sealed,
});
const links = fc.oneof({ weight: 9, arbitrary: fc.array(cid, { minLength: 1, maxLength: 3 }) }, fc.constant([]));
const manifests: fc.Arbitrary<Manifest> = fc.record({
  seq: uint,
  base: fc.option(fc.record({ index: uint, cid })),
  rooms: links,
  heads: links,
  count: uint,
  state: sized(32),
});
const heads: fc.Arbitrary<Head[]> = fc
  .array(fc.record({ room, n: uint, lastIndex: fc.option(uint), roomRoot: sized(32) }), { minLength: 1, maxLength: 3 })
  .chain((rows) =>
    fc.constantFrom(
      rows,
      rows.toSorted((a, b) => (a.room < b.room ? -1 : 1)),
    ),
  );
const deltas: fc.Arbitrary<Delta> = fc
  .array(
    fc.tuple(
      room,
      fc.oneof(
        { weight: 9, arbitrary: fc.array(bytes(32).map(cidOfDigest), { minLength: 1, maxLength: 3 }) },
        fc.constant([]),
      ),
    ),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  .map((rooms) => new Map(rooms.toSorted(([a], [b]) => (a < b ? -1 : 1))));
const archives: fc.Arbitrary<Archive> = fc.record({
  deployment: fc.record({ chainId: uint, cidStore: address, keyRegistry: address }),
  scope: fc.record({ room: fc.option(room), wallet: fc.option(address), since: uint }),
  events: links,
  missing: uint,
});
const events: fc.Arbitrary<KeyEvent> = fc.record({
  kind: fc.constant("key" as const),
  index: fc.constant(0),
  blockNumber: uint,
  logIndex: uint,
  blockHash: room,
  transactionHash: room,
  wallet: address,
  version: uint,
  encryptionKey: sized(32),
  signingKey: sized(32),
  document: sized(32),
  deadline: fc.constantFrom(0n, 5n, 2n ** 256n - 1n, 2n ** 256n, -1n),
  signature: bytes(0, 65, 1_024),
  hasCode: fc.boolean(),
});
const contents: fc.Arbitrary<Content> = fc.record({
  type: fc.constantFrom("text/plain", "a/b", "Text/plain", "text", "text/plain;x", "é/b", ""),
  body: bytes(0, 1, 40),
});
const values: fc.Arbitrary<CborValue> = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<CborValue>(
      null,
      true,
      0,
      -0,
      1.5,
      NaN,
      2 ** 53,
      -(2 ** 53),
      5n,
      2n ** 53n,
      2n ** 64n,
      -(2n ** 64n),
      -(2n ** 64n) - 1n,
    ),
    fc.constantFrom("", "text", "half \ud83d", "\udc00"),
    fc.constantFrom(new Float(1), new Float(NaN), new Float(-Infinity), new Float(-0)),
    fc.constantFrom(new Link(new Uint8Array(36)), new Link(new Uint8Array(0))),
    fc.uint8Array({ maxLength: 3 }),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "bb", "\ud83d"), tie("value")).map((map) => new Map(Object.entries(map))),
  ),
})).value;

/** Says how many were written and how many refused, since a check of which either never happens shows nothing. */
function check<T>(
  any: fc.Arbitrary<T>,
  codes: readonly ErrorCode[],
  encode: (value: T) => Uint8Array,
  decodeAgain: (block: Uint8Array) => T,
): void {
  const counts = { written: 0, refused: 0 };
  fc.assert(
    fc.property(any, (value) => {
      let block: Uint8Array;
      try {
        block = encode(value);
      } catch (error) {
        if (!(error instanceof DmtpError)) throw error;
        expect(codes).to.include(error.code);
        counts.refused += 1;
        return;
      }
      expect(decodeAgain(block)).to.deep.equal(value);
      counts.written += 1;
    }),
    { numRuns: 1_500 },
  );
  expect(counts.written, "written").to.be.greaterThan(20);
  expect(counts.refused, "refused").to.be.greaterThan(20);
}

function only<T>([first, ...rest]: readonly T[]): T {
  if (first === undefined || rest.length > 0) throw new Error("not one block");
  return first;
}

describe("What is written is read again as the same, or refused with the reader's code:", () => {
  it("an envelope", () => {
    check(envelopes, ["ENVELOPE_MALFORMED"], encodeEnvelope, decodeEnvelope);
  });
  it("a key document", () => {
    check(documents, ["KEY_DOCUMENT_MALFORMED"], encodeKeyDocument, decodeKeyDocument);
  });
  it("a manifest", () => {
    check(manifests, ["MANIFEST_MALFORMED"], encodeManifest, decodeManifest);
  });
  it("a shard", () => {
    check(deltas, ["SHARD_MALFORMED"], (delta) => only(encodeShards(delta)), decodeShard);
  });
  it("heads", () => {
    check(heads, ["HEADS_MALFORMED"], (rows) => only(encodeHeads(rows)), decodeHeads);
  });
  it("content", () => {
    check(contents, ["CONTENT_MALFORMED"], encodeContent, decodeContent);
  });
  it("an archive block", () => {
    check(archives, ["ARCHIVE_MALFORMED"], (archive) => encodeArchive(archive).bytes, decodeArchive);
  });
  it("an event of an archive", () => {
    const encode = (event: KeyEvent): Uint8Array => only([...encodeEvents([event])]).bytes;
    check(events, ["ARCHIVE_MALFORMED"], encode, (block) => only([...decodeEvents([block])]) as KeyEvent);
  });
  it("a value", () => {
    check(values, ["BLOCK_NOT_CANONICAL"], encodeBlock, (block) => decode(block));
  });

  it("a block of more than 1 MiB, more than 16 levels or more than 65,536 parts", () => {
    const refusal = (value: CborValue): string | null => {
      try {
        encodeBlock(value);
        return null;
      } catch (error) {
        return error instanceof DmtpError ? error.code : "another error";
      }
    };
    const nested = (levels: number): CborValue => (levels === 1 ? 0 : [nested(levels - 1)]);
    expect(refusal(new Uint8Array(1_048_576 - 5))).to.equal(null);
    expect(refusal(new Uint8Array(1_048_576 - 4))).to.equal("BLOCK_TOO_LARGE");
    expect(refusal(nested(16))).to.equal(null);
    expect(refusal(nested(17))).to.equal("BLOCK_NOT_CANONICAL");
    expect(refusal(Array.from({ length: 65_535 }, () => []))).to.equal(null);
    expect(refusal(Array.from({ length: 65_536 }, () => []))).to.equal("BLOCK_NOT_CANONICAL");
  });
});
