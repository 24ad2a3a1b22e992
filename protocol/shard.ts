/** A shard (SPEC 7.2): a block that is exactly `{ROOM_ID: [CID, …]}`, with an anchor's new messages. */
import { MAX_BLOCK_BYTES, type CborValue } from "./cbor.ts";
import { decode } from "./cbor-decoder.ts";
import { encode } from "./cbor-encoder.ts";
import { linkTo, type Cid } from "./cid.ts";
import { DmtpError } from "./error.ts";
import { readArray, readLink } from "./fields.ts";
import { isRoomId, type RoomId } from "./room.ts";
import type { Delta } from "./state.ts";

const CODE = "SHARD_MALFORMED";
/** A room id as a map key: a 2-byte head and 66 characters; an array head takes up to 5 more. */
const ROOM_BYTES = 2 + 66 + 5;
/** A tag 42 head, a byte string head, the identity prefix and 36 bytes of CID. */
const LINK_BYTES = 2 + 2 + 1 + 36;
const MAP_HEAD_BYTES = 5;

/** Packs a delta into as few blocks of at most `maxBytes` as its order allows; a long room goes on in the next. */
export function encodeShards(delta: Delta, maxBytes = MAX_BLOCK_BYTES): Uint8Array[] {
  const shards: Uint8Array[] = [];
  let shard = new Map<string, CborValue>();
  let size = MAP_HEAD_BYTES;
  const flush = (): void => {
    shards.push(encode(shard));
    shard = new Map();
    size = MAP_HEAD_BYTES;
  };
  for (const [room, cids] of [...delta].sort(([a], [b]) => (a < b ? -1 : 1))) {
    for (let start = 0; start < cids.length;) {
      const fits = Math.floor((maxBytes - size - ROOM_BYTES) / LINK_BYTES);
      if (fits < 1) {
        flush();
        continue;
      }
      const part = cids.slice(start, start + fits);
      shard.set(room, part.map(linkTo));
      size += ROOM_BYTES + part.length * LINK_BYTES;
      start += part.length;
    }
  }
  if (shard.size > 0) flush();
  return shards;
}

/** @throws SHARD_MALFORMED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL */
export function decodeShard(block: Uint8Array): Delta {
  const value = decode(block);
  if (!(value instanceof Map) || value.size === 0) throw new DmtpError(CODE, "not a map of rooms");
  const delta = new Map<RoomId, readonly Cid[]>();
  for (const [room, links] of value as ReadonlyMap<string, CborValue>) {
    if (!isRoomId(room)) throw new DmtpError(CODE, "a key that is not a room id");
    const cids = readArray(links, CODE, "a room").map((link) => readLink(link, CODE, "a message"));
    if (cids.length === 0) throw new DmtpError(CODE, "a room without messages");
    delta.set(room, cids);
  }
  return delta;
}

/**
 * One delta from an anchor's shards: room ids ascend, and only the last room of a shard may go on as the first of the next.
 * @throws SHARD_MALFORMED
 */
export function joinShards(shards: readonly Delta[]): Delta {
  const joined = new Map<RoomId, readonly Cid[]>();
  let last: RoomId | undefined;
  for (const shard of shards) {
    let first = true;
    for (const [room, cids] of shard) {
      const goesOn = first && room === last;
      if (last !== undefined && room <= last && !goesOn) throw new DmtpError(CODE, "rooms out of order between shards");
      joined.set(room, goesOn ? [...(joined.get(room) ?? []), ...cids] : cids);
      last = room;
      first = false;
    }
  }
  return joined;
}
