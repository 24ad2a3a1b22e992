import { expect } from "chai";
import fc from "fast-check";

import { concat, fromHex, toHex, utf8 } from "../../protocol/bytes.ts";
import { Float, type CborValue } from "../../protocol/cbor.ts";
import { decode } from "../../protocol/cbor-decoder.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { linkTo, cidOf } from "../../protocol/cid.ts";
import { portable } from "../../protocol/crypto/portable.ts";
import { decodeEnvelope, encodeEnvelope, headerHashOf, signedBytesOf, type Envelope } from "../../protocol/envelope.ts";
import { ALICE, BOB, DEPLOYMENT } from "../fixtures/history.ts";
import { padmeLength } from "../../protocol/padding.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";
import { roomIdOf, type RoomId } from "../../protocol/room.ts";
import { addressOfBytes } from "../../protocol/address.ts";

const ENVELOPE: Envelope = {
  v: 1,
  room: roomIdOf(DEPLOYMENT, ALICE.address, BOB.address),
  sender: ALICE.address,
  receiver: BOB.address,
  senderKeyVersion: 1,
  receiverKeyVersion: 2,
  seq: 3,
  seen: [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)],
  timestamp: 1_700_000_000_000,
  nonce: fixedBytes("nonce"),
  commitment: fixedBytes("commitment"),
  messages: new Uint8Array(144).fill(9),
  signature: new Uint8Array(64).fill(8),
};
const BLOCK = encodeEnvelope(ENVELOPE);

function refusal(change: Record<string, CborValue | undefined>): string | null {
  const map = new Map(decode(BLOCK) as ReadonlyMap<string, CborValue>);
  for (const [name, value] of Object.entries(change)) {
    if (value === undefined) map.delete(name);
    else map.set(name, value);
  }
  return codeOf(() => decodeEnvelope(encode(map)));
}

const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
const anyEnvelope: fc.Arbitrary<Envelope> = fc.record({
  v: fc.constant(1 as const),
  room: bytes(32).map((room) => toHex(room) as RoomId),
  sender: bytes(20).map(addressOfBytes),
  receiver: bytes(20).map(addressOfBytes),
  senderKeyVersion: fc.nat(2 ** 32 - 1),
  receiverKeyVersion: fc.nat(2 ** 32 - 1),
  seq: fc.maxSafeNat(),
  seen: fc
    .uniqueArray(bytes(32), { maxLength: 16, selector: toHex })
    .map((digests) => digests.sort((a, b) => Buffer.compare(a, b))),
  timestamp: fc.maxSafeNat(),
  nonce: bytes(32),
  commitment: bytes(32),
  messages: fc.nat(300).map((length) => new Uint8Array(padmeLength(length) + 16).fill(length)),
  signature: bytes(64),
});

describe("An envelope", () => {
  it("comes back as it was", () => {
    fc.assert(
      fc.property(anyEnvelope, (envelope) => {
        expect(decodeEnvelope(encodeEnvelope(envelope))).to.deep.equal(envelope);
      }),
    );
  });

  it("has exactly the members that the specification names", () => {
    const names = [...(decode(BLOCK) as ReadonlyMap<string, CborValue>).keys()];
    expect(names).to.deep.equal([
      "v",
      "seq",
      "keys",
      "room",
      "seen",
      "nonce",
      "suite",
      "sender",
      "messages",
      "receiver",
      "signature",
      "timestamp",
      "commitment",
    ]);
  });

  it("of another version or suite is told apart from damage, even when its members are others", () => {
    expect(refusal({ v: 2 })).to.equal("VERSION_UNSUPPORTED");
    expect(refusal({ v: 2, suite: 7, room: undefined, extra: 1 })).to.equal("VERSION_UNSUPPORTED");
    expect(refusal({ suite: 2 })).to.equal("SUITE_UNSUPPORTED");
    expect(refusal({ suite: 2, signature: undefined })).to.equal("SUITE_UNSUPPORTED");
    expect(refusal({ v: new Float(2) })).to.equal("ENVELOPE_MALFORMED");
    expect(refusal({ v: undefined })).to.equal("ENVELOPE_MALFORMED");
    expect(refusal({ suite: undefined })).to.equal("ENVELOPE_MALFORMED");
  });

  it("with a member too many, too few or of another type is malformed", () => {
    const names = [
      "room",
      "sender",
      "receiver",
      "keys",
      "seq",
      "seen",
      "timestamp",
      "nonce",
      "commitment",
      "messages",
      "signature",
    ];
    const wrong: (CborValue | undefined)[] = [
      undefined,
      null,
      true,
      "x",
      -1,
      2n ** 53n,
      new Float(1),
      new Uint8Array(15),
      [1],
      [1, -1],
      linkTo(cidOf(BLOCK)),
    ];
    for (const name of names) {
      for (const value of wrong) expect(refusal({ [name]: value }), name).to.equal("ENVELOPE_MALFORMED");
    }
    expect(refusal({ extra: null })).to.equal("ENVELOPE_MALFORMED");
    expect(refusal({ __proto__x: 1 })).to.equal("ENVELOPE_MALFORMED");
    for (const value of [null, 7, [], "x", new Uint8Array(0)]) {
      expect(codeOf(() => decodeEnvelope(encode(value)))).to.equal("ENVELOPE_MALFORMED");
    }
  });

  it("takes integers up to their limits, and none beyond", () => {
    expect(refusal({ keys: [2 ** 32 - 1, 0] })).to.equal(null);
    expect(refusal({ keys: [2 ** 32, 1] })).to.equal("ENVELOPE_MALFORMED");
    expect(refusal({ keys: [1, 2 ** 32] })).to.equal("ENVELOPE_MALFORMED");
    expect(refusal({ keys: [1, 1, 1] })).to.equal("ENVELOPE_MALFORMED");
    expect(refusal({ seq: 2 ** 53 - 1, timestamp: 0 })).to.equal(null);
  });

  it("names at most 16 messages that its sender had seen, ascending, none twice", () => {
    const digest = (byte: number) => new Uint8Array(32).fill(byte);
    expect(refusal({ seen: [] })).to.equal(null);
    expect(refusal({ seen: Array.from({ length: 16 }, (_, i) => digest(i)) })).to.equal(null);
    expect(refusal({ seen: Array.from({ length: 17 }, (_, i) => digest(i)) })).to.equal("ENVELOPE_MALFORMED");
    expect(refusal({ seen: [digest(2), digest(1)] })).to.equal("ENVELOPE_MALFORMED");
    expect(refusal({ seen: [digest(1), digest(1)] })).to.equal("ENVELOPE_MALFORMED");
    expect(refusal({ seen: [digest(1).subarray(1)] })).to.equal("ENVELOPE_MALFORMED");
  });

  it("has a ciphertext of a padded plaintext and a tag, and no other length, read or written", () => {
    const padded = new Set(Array.from({ length: 5_000 }, (_, length) => padmeLength(length)));
    for (let length = 0; length < 3_000; length++) {
      const expected = padded.has(length - 16) ? null : "ENVELOPE_MALFORMED";
      const messages = new Uint8Array(length);
      expect(refusal({ messages }), String(length)).to.equal(expected);
      expect(
        codeOf(() => encodeEnvelope({ ...ENVELOPE, messages })),
        String(length),
      ).to.equal(expected);
    }
  });

  it("is signed over the hash of its header, its commitment and the hash of its ciphertext", () => {
    const map = new Map(decode(BLOCK) as ReadonlyMap<string, CborValue>);
    for (const name of ["commitment", "messages", "signature"]) map.delete(name);
    const headerHash = portable.sha256(concat(utf8("DMTP/1 header\0"), encode(map)));
    expect(headerHashOf(ENVELOPE)).to.deep.equal(headerHash);
    expect(signedBytesOf(headerHash, ENVELOPE.commitment, ENVELOPE.messages)).to.deep.equal(
      concat(utf8("DMTP/1 envelope\0"), headerHash, ENVELOPE.commitment, portable.sha256(ENVELOPE.messages)),
    );
  });

  it("has another header hash for every other header", () => {
    const hashes = new Set<string>();
    const changes: Partial<Envelope>[] = [
      {},
      { room: `0x${"00".repeat(32)}` as RoomId },
      { sender: BOB.address },
      { receiver: ALICE.address },
      { senderKeyVersion: 2 },
      { receiverKeyVersion: 1 },
      { seq: 4 },
      { seen: [] },
      { timestamp: 0 },
      { nonce: fromHex(`0x${"00".repeat(32)}`) },
    ];
    for (const change of changes) hashes.add(toHex(headerHashOf({ ...ENVELOPE, ...change })));
    expect(hashes.size).to.equal(changes.length);
  });
});
