import { expect } from "chai";
import fc from "fast-check";

import { decodeArchive, decodeEvents, encodeArchive, encodeEvent, encodeEvents } from "../../protocol/archive.ts";
import { addressOfBytes } from "../../protocol/address.ts";
import { toHex, utf8 } from "../../protocol/bytes.ts";
import { Link, MAX_BLOCK_BYTES, type CborValue } from "../../protocol/cbor.ts";
import { decode } from "../../protocol/cbor-decoder.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, cidOfDigest } from "../../protocol/cid.ts";
import { decodeEntryText, encodeEntryText, type ChainEvent } from "../../protocol/event.ts";
import type { RoomId } from "../../protocol/room.ts";
import { DEPLOYMENT } from "../fixtures/history.ts";
import { codeOf } from "../fixtures/refusal.ts";

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
const place = fc.record({
  blockNumber: fc.maxSafeNat(),
  logIndex: fc.nat(),
  blockHash: digest.map(toHex),
  transactionHash: digest.map(toHex),
});
const wallet = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(addressOfBytes);
const entry = fc.oneof(
  digest.map(cidOfDigest).map((cid) => ({ cid, text: cid })),
  fc.string({ unit: "binary", maxLength: 60 }).map((text) => ({ cid: null, text })),
);
const key = fc.record({
  wallet,
  version: fc.maxSafeNat(),
  encryptionKey: digest,
  signingKey: digest,
  document: digest,
  deadline: fc.bigInt(0n, 2n ** 256n - 1n),
  signature: fc.uint8Array({ maxLength: 100 }),
  hasCode: fc.boolean(),
});
const kinds = fc.array(
  fc.oneof(
    fc.tuple(place, entry).map(([at, said]) => ({ kind: "anchor" as const, ...at, ...said })),
    fc.tuple(place, key).map(([at, said]) => ({ kind: "key" as const, ...at, ...said })),
    fc.tuple(place, wallet, fc.maxSafeNat()).map(([at, who, version]) => {
      return { kind: "revocation" as const, ...at, wallet: who, version };
    }),
  ),
  { maxLength: 40 },
);

/** Indices count each contract's events. */
function numbered(events: readonly object[]): ChainEvent[] {
  const counts = { anchors: 0, keys: 0 };
  return (events as ChainEvent[]).map((event) => {
    return { ...event, index: event.kind === "anchor" ? counts.anchors++ : counts.keys++ };
  });
}

describe("What an archive says of the chain", () => {
  it("is what the chain logged", () => {
    fc.assert(
      fc.property(kinds, (events) => {
        const expected = numbered(events);
        const blocks = [...encodeEvents(expected)].map(({ bytes }) => bytes);
        expect([...decodeEvents(blocks)]).to.deep.equal(expected);
      }),
    );
  });

  it("keeps the bytes of an entry that is not UTF-8, also where a text is cut in the middle of a character", () => {
    const [at] = fc.sample(place, { numRuns: 1, seed: 1 }) as [object];
    for (const bytes of [Uint8Array.of(0x63, 0xff, 0x64), Uint8Array.of(0xc3), utf8("a" + "é".repeat(600))]) {
      const said = { kind: "anchor", ...at, cid: null, ...decodeEntryText(bytes) };
      const [event] = [...decodeEvents([...encodeEvents(numbered([said]))].map((block) => block.bytes))];
      if (event?.kind !== "anchor") throw new Error("not an anchor");
      expect(encodeEntryText(event)).to.deep.equal(bytes.slice(0, 1_024));
    }
  });

  it("has 240 events a block, however long they are, and is cut where no verdict can tell", () => {
    const [at] = fc.sample(place, { numRuns: 1, seed: 1 }) as [object];
    const [said] = fc.sample(key, { numRuns: 1, seed: 1 }) as [object];
    const long = { kind: "key", ...at, ...said, signature: new Uint8Array(2_000_000).fill(7) };
    const text = { kind: "anchor", ...at, cid: null, text: "🎉".repeat(500_000) };
    // To cut a megabyte takes its time, so the others are only much longer than they may be.
    const others = [
      { ...long, signature: long.signature.subarray(0, 20_000) },
      { ...text, text: "🎉".repeat(5_000) },
    ] as const;
    const events = numbered(
      Array.from({ length: 3_000 }, (_, i) => [...[long, text], ...others][i < 2 || i > 2_997 ? i % 2 : 2 + (i % 2)]!),
    );
    const blocks = [...encodeEvents(events)];
    expect(blocks.map(({ bytes }) => (decode(bytes) as CborValue[]).length)).to.deep.equal([
      ...Array.from({ length: 12 }, () => 240),
      120,
    ]);
    for (const { bytes } of blocks) expect(bytes.length).to.be.at.most(MAX_BLOCK_BYTES / 3);
    const read = [...decodeEvents(blocks.map(({ bytes }) => bytes))];
    expect(read.length).to.equal(3_000);
    expect(read[0]).to.have.property("signature").of.length(1_024);
    expect(read[1]).to.have.property("text", "🎉".repeat(256));
    expect(encodeEvent(events[2_999]!)).to.deep.equal(encodeEvent(read[2_999]!));
    expect([...encodeEvents(read)]).to.deep.equal(blocks);
  });

  it("is refused when it is anything else", () => {
    const drawn = fc.sample(kinds, { numRuns: 50, seed: 5 });
    const events = numbered(drawn.find((some) => new Set(some.map(({ kind }) => kind)).size === 3)!);
    const rows = decode([...encodeEvents(events)][0]!.bytes) as readonly (readonly CborValue[])[];
    const refused = (value: CborValue): string | null => codeOf(() => [...decodeEvents([encode(value)])]);
    for (const value of [7, null, [7], [[]], new Map<string, CborValue>()])
      expect(refused(value)).to.equal("ARCHIVE_MALFORMED");
    expect(refused([])).to.equal("ARCHIVE_MALFORMED");
    expect(refused(Array<CborValue>(240).fill(rows[0]!))).to.equal(null);
    expect(refused(Array<CborValue>(241).fill(rows[0]!))).to.equal("ARCHIVE_MALFORMED");
    for (const row of rows) {
      expect(refused([row])).to.equal(null);
      expect(refused([row.slice(0, -1)])).to.equal("ARCHIVE_MALFORMED");
      expect(refused([[...row, 1]])).to.equal("ARCHIVE_MALFORMED");
      row.forEach((_, i) =>
        expect(refused([row.with(i, -1)]), `${row[0] as number}: ${i}`).to.equal("ARCHIVE_MALFORMED"),
      );
      expect(refused([row.with(0, 4)])).to.equal("ARCHIVE_MALFORMED");
      if (row.length === 13) expect(refused([row.with(11, new Uint8Array(1_025))])).to.equal("ARCHIVE_MALFORMED");
      if (row[0] === 3) expect(refused([row.with(5, new Uint8Array(1_025))])).to.equal("ARCHIVE_MALFORMED");
    }
  });
});

describe("An archive block", () => {
  const archive = {
    deployment: DEPLOYMENT,
    scope: { room: `0x${"12".repeat(32)}` as RoomId, wallet: null, since: 3 },
    events: [cidOf(Uint8Array.of(1)), cidOf(Uint8Array.of(2))],
    missing: 5,
  };
  const members = (): Map<string, CborValue> => {
    return new Map(decode(encodeArchive(archive).bytes) as ReadonlyMap<string, CborValue>);
  };
  const refusal = (name: string, value: CborValue | undefined): string | null => {
    const map = members();
    if (value === undefined) map.delete(name);
    else map.set(name, value);
    return codeOf(() => decodeArchive(encode(map)));
  };

  it("is read as it was written, for a room, a wallet and everything", () => {
    for (const scope of [
      archive.scope,
      { room: null, wallet: DEPLOYMENT.cidStore, since: 0 },
      { room: null, wallet: null, since: 0 },
    ]) {
      const { cid, bytes } = encodeArchive({ ...archive, scope });
      expect(cid).to.equal(cidOf(bytes));
      expect(decodeArchive(bytes)).to.deep.equal({ ...archive, scope });
    }
  });

  it("is refused with a member too many, too few or of another type", () => {
    for (const name of members().keys()) {
      for (const value of [undefined, -1, "x", new Uint8Array(7), [7], new Link(new Uint8Array(36))]) {
        expect(refusal(name, value), name).to.equal("ARCHIVE_MALFORMED");
      }
    }
    const [link] = members().get("events") as readonly CborValue[];
    expect(refusal("events", [link!])).to.equal(null);
    expect(refusal("events", [link!, link!]), "a block of events twice").to.equal("ARCHIVE_MALFORMED");
    expect(refusal("more", 1)).to.equal("ARCHIVE_MALFORMED");
    expect(refusal("wallet", new Uint8Array(20))).to.equal("ARCHIVE_MALFORMED");
    expect(refusal("v", 2)).to.equal("VERSION_UNSUPPORTED");
  });
});
