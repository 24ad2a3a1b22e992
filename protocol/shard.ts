/** A shard (SPEC 7.2): a block that is exactly `{ROOM_ID: [CID, …]}`, with an anchor's new messages. */
import { concat } from "./bytes.ts";
import { MAX_BLOCK_BYTES, type CborValue } from "./cbor.ts";
import { decode } from "./cbor-decoder.ts";
import { Writer } from "./cbor-encoder.ts";
import { bytesOfCid, type Cid } from "./cid.ts";
import { DmtpError } from "./error.ts";
import { encodeHex, requireArray, requireLink } from "./fields.ts";
import { isRoomId, type RoomId } from "./room.ts";
import type { Delta } from "./state.ts";
import { finish } from "./steps.ts";

/** Messages that a shard lists at most, whatever their rooms: the work of one anchor rests on it (SPEC 11). */
export const MAX_SHARD_ENTRIES = 8_192;
/** Messages that one step reads. */
const STEP_ENTRIES = 1_024;
const CODE = "SHARD_MALFORMED";
/** A room id as a map key: a 2-byte head and 66 characters; an array head takes up to 5 more. */
const ROOM_BYTES = 2 + 66 + 5;
/** A tag 42 head, a byte string head, the identity prefix and 36 bytes of CID. */
const LINK_BYTES = 2 + 2 + 1 + 36;
const MAP_HEAD_BYTES = 5;

/** Packs a delta into as few shards of at most `maxBytes` as its order allows; a long room goes on in the next. */
export function encodeShards(delta: Delta, maxBytes = MAX_BLOCK_BYTES): Uint8Array[] {
  const packer = new ShardPacker(maxBytes);
  for (const [room, cids] of [...delta].sort(([a], [b]) => (a < b ? -1 : 1))) packer.add(room, cids);
  return packer.finish();
}

/**
 * Packs a delta that comes room by room, by ascending id. It writes what `encode` gives for a map of lists of links, without
 * keeping a value of each of 262,144 messages: keys of one length are in canonical order when they ascend.
 */
export class ShardPacker {
  private readonly maxBytes: number;
  private readonly shards: Uint8Array[] = [];
  /** The entries of the shard that is being packed; how many there are goes before them. */
  private readonly entries = new Writer();
  private lastRoom = "";
  private rooms = 0;
  private listed = 0;
  private sizeBytes = MAP_HEAD_BYTES;

  constructor(maxBytes = MAX_BLOCK_BYTES) {
    this.maxBytes = maxBytes;
  }

  /** @throws SHARD_MALFORMED for what {@link decodeShard} would refuse */
  add(room: RoomId, cids: readonly Cid[]): void {
    encodeHex(room, 32, CODE, "a room");
    if (room <= this.lastRoom) throw new DmtpError(CODE, "rooms that do not ascend");
    if (cids.length === 0) throw new DmtpError(CODE, "a room without messages");
    this.lastRoom = room;
    for (let start = 0; start < cids.length;) {
      const fits = Math.min(
        MAX_SHARD_ENTRIES - this.listed,
        Math.floor((this.maxBytes - this.sizeBytes - ROOM_BYTES) / LINK_BYTES),
      );
      if (fits < 1) {
        this.flush();
        continue;
      }
      const end = Math.min(cids.length, start + fits);
      this.entries.value(room);
      this.entries.head(4, end - start);
      for (const cid of cids.slice(start, end)) this.entries.link(bytesOfCid(cid));
      this.rooms += 1;
      this.listed += end - start;
      this.sizeBytes += ROOM_BYTES + (end - start) * LINK_BYTES;
      start = end;
    }
  }

  finish(): Uint8Array[] {
    if (this.rooms > 0) this.flush();
    return this.shards;
  }

  private flush(): void {
    const head = new Writer();
    head.head(5, this.rooms);
    this.shards.push(concat(head.bytes(), this.entries.bytes()));
    this.entries.clear();
    this.rooms = 0;
    this.listed = 0;
    this.sizeBytes = MAP_HEAD_BYTES;
  }
}

/** @throws SHARD_MALFORMED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL */
export function decodeShard(block: Uint8Array): Delta {
  return finish(decodeShardSteps(block));
}

/** As {@link decodeShard}, of bytes that anybody may have named: null for what is no shard, which lists nothing. */
export function shardIn(block: Uint8Array | undefined): Delta | null {
  try {
    return block === undefined ? null : decodeShard(block);
  } catch {
    return null;
  }
}

/** As {@link decodeShard}. */
export function* decodeShardSteps(block: Uint8Array): Generator<undefined, Delta> {
  const value = decode(block);
  if (!(value instanceof Map) || value.size === 0) throw new DmtpError(CODE, "not a map of rooms");
  yield;
  const delta = new Map<RoomId, Cid[]>();
  let listed = 0;
  for (const [room, links] of value as ReadonlyMap<string, CborValue>) {
    if (!isRoomId(room)) throw new DmtpError(CODE, "a key that is not a room id");
    const cids: Cid[] = [];
    for (const link of requireArray(links, CODE, "a room")) {
      cids.push(requireLink(link, CODE, "a message"));
      if (++listed > MAX_SHARD_ENTRIES) throw new DmtpError(CODE, `more than ${MAX_SHARD_ENTRIES} messages`);
      if (listed % STEP_ENTRIES === 0) yield;
    }
    if (cids.length === 0) throw new DmtpError(CODE, "a room without messages");
    delta.set(room, cids);
  }
  return delta;
}
