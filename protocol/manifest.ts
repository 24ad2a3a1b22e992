/** The manifest (SPEC 7.1): the small block that an anchor names, and how one is made from what is new. */
import { mapOf } from "./cbor.ts";
import { decode } from "./cbor-decoder.ts";
import { encodeBlock } from "./cbor-encoder.ts";
import { cidOf, isCid, type Cid } from "./cid.ts";
import { DmtpError } from "./error.ts";
import { encodeLink, Fields, requireBytes, requireLink, requireUint, type FormatVersion } from "./fields.ts";
import { encodeHeads, headsOf } from "./heads.ts";
import type { RoomId } from "./room.ts";
import { MAX_SHARD_ENTRIES, ShardPacker } from "./shard.ts";
import { State, type Delta, type RoomMessages } from "./state.ts";

export interface Manifest {
  /** How many manifests came before it in its line: 0 for a first. */
  readonly seq: number;
  /** The anchor it builds on; what lies between that and its own is not part of its line. Null for a first. */
  readonly base: { readonly index: number; readonly cid: Cid } | null;
  readonly rooms: readonly Cid[];
  readonly heads: readonly Cid[];
  /** New messages in its shards. */
  readonly count: number;
  /** The state root after it, 32 bytes. */
  readonly state: Uint8Array;
}

/** Where a line of manifests stands: what the next one builds on. */
export interface Tip {
  readonly index: number;
  readonly cid: Cid;
  readonly seq: number;
  readonly state: State;
}

export interface Block {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
}

export interface ManifestDraft {
  readonly cid: Cid;
  readonly manifest: Manifest;
  /** Shards and heads first, the manifest last: what is stored never links to what is not. */
  readonly blocks: readonly Block[];
  /** The state after it. Its anchor's index is not known yet; no hash depends on it. */
  readonly state: State;
  /** The rooms that it adds to, by ascending id. */
  readonly touched: readonly RoomId[];
}

/** At most this many shards, and as many heads blocks (SPEC 7.1). */
export const MAX_SHARDS = 32;
/** What a manifest lists at most, and what always fits into one, even with every message in a room of its own. */
export const MAX_MESSAGES = MAX_SHARDS * MAX_SHARD_ENTRIES;
/** The version of the manifest, which is that of its shards and heads blocks, too. */
const VERSION: FormatVersion = { v: 1 };
const CODE = "MANIFEST_MALFORMED";
const MEMBERS = ["seq", "base", "prev", "rooms", "heads", "count", "state"];

/** The manifest that adds `delta` to `tip`; the same input gives the same bytes. */
export function draftManifest(tip: Tip | null, delta: Delta): ManifestDraft {
  return draftRooms(
    tip,
    [...delta].sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** As {@link draftManifest}, of a delta that comes room by room, by ascending id: the messages are never in memory at once. */
export function draftRooms(tip: Tip | null, delta: Iterable<RoomMessages>): ManifestDraft {
  const before = tip?.state ?? State.EMPTY;
  const packer = new ShardPacker();
  const counts = new Map<RoomId, number>();
  let last = "";
  const packed = function* (): Generator<RoomMessages> {
    for (const [room, cids] of delta) {
      if (room <= last) throw new RangeError("the rooms of a delta do not ascend");
      last = room;
      counts.set(room, cids.length);
      packer.add(room, cids);
      yield [room, cids];
    }
  };
  const after = before.after(packed(), Number.NaN);
  const shards = packer.finish().map(toBlock);
  const heads = encodeHeads(headsOf(counts, before, after)).map(toBlock);
  if (shards.length === 0 || shards.length > MAX_SHARDS || heads.length > MAX_SHARDS) {
    throw new RangeError(`a manifest needs 1 to ${MAX_SHARDS} shards, this delta ${shards.length}`);
  }
  if (new Set(shards.map(({ cid }) => cid)).size < shards.length) throw new RangeError("two shards are the same");
  const manifest: Manifest = {
    seq: tip === null ? 0 : tip.seq + 1,
    base: tip === null ? null : { index: tip.index, cid: tip.cid },
    rooms: shards.map(({ cid }) => cid),
    heads: heads.map(({ cid }) => cid),
    count: [...counts.values()].reduce((sum, count) => sum + count, 0),
    state: after.root,
  };
  const block = toBlock(encodeManifest(manifest));
  const touched = [...counts.keys()];
  return { cid: block.cid, manifest, blocks: [...shards, ...heads, block], state: after, touched };
}

/** @throws MANIFEST_MALFORMED for what {@link decodeManifest} would refuse */
export function encodeManifest({ seq, base, rooms, heads, count, state }: Manifest): Uint8Array {
  if (base !== null && !isCid(base.cid)) throw new DmtpError(CODE, "prev is not a CID");
  for (const [name, links] of [
    ["rooms", rooms],
    ["heads", heads],
  ] as const)
    checkLinks(links, name);
  return encodeBlock(
    mapOf({
      ...VERSION,
      seq: requireUint(seq, Number.MAX_SAFE_INTEGER, CODE, "seq"),
      base: base === null ? null : requireUint(base.index, Number.MAX_SAFE_INTEGER, CODE, "base"),
      // A text, not a link: a link to the past would make every pin walk all history.
      prev: base === null ? null : base.cid,
      rooms: rooms.map((cid) => encodeLink(cid, CODE, "rooms")),
      heads: heads.map((cid) => encodeLink(cid, CODE, "heads")),
      count: requireUint(count, MAX_MESSAGES, CODE, "count"),
      state: requireBytes(state, 32, CODE, "state"),
    }),
  );
}

/** @throws MANIFEST_MALFORMED, VERSION_UNSUPPORTED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL */
export function decodeManifest(block: Uint8Array): Manifest {
  const fields = new Fields(decode(block), MEMBERS, CODE, VERSION);
  const index = fields.value("base");
  const prev = fields.value("prev");
  if ((index === null) !== (prev === null)) throw new DmtpError(CODE, "base and prev are not both null or both given");
  if (prev !== null && !isCid(prev)) throw new DmtpError(CODE, "prev is not a CID");
  return {
    seq: fields.uint("seq"),
    base: prev === null ? null : { index: requireUint(index, Number.MAX_SAFE_INTEGER, CODE, "base"), cid: prev },
    rooms: readLinks(fields, "rooms"),
    heads: readLinks(fields, "heads"),
    count: fields.uint("count", MAX_MESSAGES),
    state: fields.bytes("state", 32),
  };
}

/** As {@link decodeManifest}, of bytes that anybody may have anchored: null for what is no manifest, or is not there. */
export function manifestIn(block: Uint8Array | undefined): Manifest | null {
  try {
    return block === undefined ? null : decodeManifest(block);
  } catch {
    return null;
  }
}

function readLinks(fields: Fields, name: string): Cid[] {
  const cids = fields.array(name).map((link) => requireLink(link, CODE, name));
  checkLinks(cids, name);
  return cids;
}

function checkLinks(cids: readonly Cid[], name: string): void {
  if (cids.length < 1 || cids.length > MAX_SHARDS) {
    throw new DmtpError(CODE, `${name} has not 1 to ${MAX_SHARDS} links`);
  }
  // Otherwise one shard of 1 MiB, named 32 times, would be work for 32.
  if (new Set(cids).size < cids.length) throw new DmtpError(CODE, `${name} names a block twice`);
}

function toBlock(bytes: Uint8Array): Block {
  return { cid: cidOf(bytes), bytes };
}
