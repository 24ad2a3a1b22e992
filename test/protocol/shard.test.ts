import { expect } from "chai";
import fc from "fast-check";

import { utf8 } from "../../protocol/bytes.ts";
import { Link, type CborValue } from "../../protocol/cbor.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOfDigest, linkTo, type Cid } from "../../protocol/cid.ts";
import { portable } from "../../protocol/crypto/portable.ts";
import type { RoomId } from "../../protocol/room.ts";
import { decodeShard, encodeShards, MAX_SHARD_ENTRIES } from "../../protocol/shard.ts";
import type { Delta } from "../../protocol/state.ts";
import { codeOf } from "../fixtures/refusal.ts";

function idOf(byte: number): RoomId {
  return `0x${byte.toString(16).padStart(2, "0").repeat(32)}` as RoomId;
}

function cidsOf(count: number, name = "message"): Cid[] {
  return Array.from({ length: count }, (_, i) => cidOfDigest(portable.sha256(utf8(`${name} ${i}`))));
}

/** What shards list, one after the other. */
function join(shards: readonly Uint8Array[]): Map<RoomId, Cid[]> {
  const joined = new Map<RoomId, Cid[]>();
  for (const [room, cids] of shards.flatMap((shard) => [...decodeShard(shard)])) {
    joined.set(room, [...(joined.get(room) ?? []), ...cids]);
  }
  return joined;
}

const anyDelta: fc.Arbitrary<Delta> = fc
  .uniqueArray(fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 40 })), {
    minLength: 1,
    maxLength: 12,
    selector: ([byte]) => byte,
  })
  .map((rooms) => new Map(rooms.map(([byte, count]) => [idOf(byte), cidsOf(count, `room ${byte}`)])));

describe("Shards", () => {
  it("come back as the delta they were made of, whatever size they may have", () => {
    fc.assert(
      fc.property(anyDelta, fc.integer({ min: 119, max: 3000 }), (delta, maxBytes) => {
        const shards = encodeShards(delta, maxBytes);
        for (const shard of shards) expect(shard.length).to.be.at.most(maxBytes);
        const joined = join(shards);
        expect([...joined]).to.deep.equal([...delta].sort(([a], [b]) => (a < b ? -1 : 1)));
      }),
    );
  });

  it("are what the encoder gives for a map of lists of links", () => {
    fc.assert(
      fc.property(anyDelta, fc.integer({ min: 119, max: 3000 }), (delta, maxBytes) => {
        for (const shard of encodeShards(delta, maxBytes)) {
          const rooms = [...decodeShard(shard)].map(([room, cids]) => [room, cids.map(linkTo)] as const);
          expect(shard).to.deep.equal(encode(new Map<string, CborValue>(rooms.toReversed())));
        }
      }),
    );
  });

  it("are as few as one where everything fits", () => {
    expect(
      encodeShards(
        new Map([
          [idOf(1), cidsOf(3)],
          [idOf(0), cidsOf(2)],
        ]),
      ),
    ).to.have.length(1);
    expect(encodeShards(new Map())).to.have.length(0);
  });

  it("let a room go on over several of them, filled to the limit", () => {
    const shards = encodeShards(new Map([[idOf(7), cidsOf(100)]]), 1000);
    expect(shards).to.have.length(5);
    for (const shard of shards.slice(0, -1)) expect(shard.length).to.be.greaterThan(1000 - 41 - 10);
    expect(join(shards).get(idOf(7))).to.deep.equal(cidsOf(100));
  });

  it("list 8,192 messages at most, whatever their rooms", () => {
    const links = cidsOf(MAX_SHARD_ENTRIES + 1).map(linkTo);
    const shardOf = (rooms: readonly (readonly [RoomId, readonly Link[]])[]): Uint8Array => encode(new Map(rooms));
    const oneRoom = (count: number): Uint8Array => shardOf([[idOf(1), links.slice(0, count)]]);
    expect(decodeShard(oneRoom(8_192)).get(idOf(1))).to.have.length(8_192);
    expect(codeOf(() => decodeShard(oneRoom(8_193)))).to.equal("SHARD_MALFORMED");
    const rooms = links.map((link, i) => [`0x${i.toString(16).padStart(64, "0")}` as RoomId, [link]] as const);
    expect(decodeShard(shardOf(rooms.slice(1))).size).to.equal(8_192);
    expect(codeOf(() => decodeShard(shardOf(rooms)))).to.equal("SHARD_MALFORMED");
  });

  it("are cut at 8,192 messages by whoever makes them, and a full one fits a block however many rooms it has", () => {
    const cids = cidsOf(MAX_SHARD_ENTRIES + 1);
    const countsOf = (delta: Delta): number[] =>
      encodeShards(delta).map((shard) => [...decodeShard(shard).values()].reduce((sum, list) => sum + list.length, 0));
    expect(countsOf(new Map([[idOf(1), cids.slice(1)]]))).to.deep.equal([8_192]);
    expect(countsOf(new Map([[idOf(1), cids]]))).to.deep.equal([8_192, 1]);
    const rooms = cids.map((cid, i) => [`0x${i.toString(16).padStart(64, "0")}` as RoomId, [cid]] as const);
    expect(countsOf(new Map(rooms))).to.deep.equal([8_192, 1]);
  });

  it("are refused when they are anything but maps of rooms to links", () => {
    const [cid] = cidsOf(1) as [Cid];
    const link = linkTo(cid);
    const room = idOf(1);
    const refused: CborValue[] = [
      null,
      [],
      "x",
      new Map(),
      new Map([[room, null]]),
      new Map([[room, []]]),
      new Map([[room, link]]),
      new Map([[room, [cid]]]),
      new Map([[room, [link.bytes]]]),
      new Map([[room, [link, 7]]]),
      new Map([[room, [new Link(Uint8Array.of(1, 0x55, 0x12, 0x20, ...new Uint8Array(32)))]]]),
      new Map([[room, [new Link(link.bytes.subarray(0, 35))]]]),
      new Map([[room.toUpperCase(), [link]]]),
      new Map([[room.slice(2), [link]]]),
      new Map<string, CborValue>([
        [room, [link]],
        ["v", 1],
      ]),
    ];
    for (const value of refused) expect(codeOf(() => decodeShard(encode(value)))).to.equal("SHARD_MALFORMED");
  });

  it("may name a message twice: that is for the replay to judge", () => {
    const [cid] = cidsOf(1) as [Cid];
    const shard = encode(new Map([[idOf(1), [linkTo(cid), linkTo(cid)]]]));
    expect(decodeShard(shard).get(idOf(1))).to.deep.equal([cid, cid]);
  });
});
