/**
 * A heads block (SPEC 7.3): `[[room, n, lastIndex, roomRoot], …]` of the rooms that an anchor touched, ascending. It lets a
 * reader of one room hop from anchor to anchor, and check the room's root, without reading what lies between.
 */
import { toHex } from "./bytes.ts";
import { MAX_BLOCK_BYTES, type CborArray, type CborValue } from "./cbor.ts";
import { decode } from "./cbor-decoder.ts";
import { encodeBlock } from "./cbor-encoder.ts";
import { DmtpError } from "./error.ts";
import { encodeHex, requireArray, requireBytes, requireUint } from "./fields.ts";
import type { RoomId } from "./room.ts";
import type { Delta, State } from "./state.ts";
import { finish } from "./steps.ts";

export interface Head {
  readonly room: RoomId;
  /** How many messages the room has after this anchor. */
  readonly n: number;
  /** The anchor that touched the room before this one; null for the room's first. */
  readonly lastIndex: number | null;
  /** RFC 9162 root over the room's messages after this anchor, 32 bytes. */
  readonly roomRoot: Uint8Array;
}

/** Rows of a heads block at most (SPEC 7.3). */
export const MAX_HEADS_ROWS = 8_192;
/** Rows that one step reads. */
const STEP_ROWS = 1_024;
const CODE = "HEADS_MALFORMED";
/** An array head, two byte strings of 32 with their heads, two integers of at most 9 bytes. */
const HEAD_BYTES = 1 + 34 + 9 + 9 + 34;

/** The heads of the rooms in `delta`, which led from `before` to `after`. */
export function headsOf(delta: Pick<Delta, "keys">, before: State, after: State): Head[] {
  return [...delta.keys()].sort().map((room) => {
    const state = after.room(room);
    if (state === undefined) throw new RangeError("the state after a delta lacks one of its rooms");
    return {
      room,
      n: state.range.size,
      lastIndex: before.room(room)?.lastIndex ?? null,
      roomRoot: state.root,
    };
  });
}

/** @throws HEADS_MALFORMED for what {@link decodeHeads} would refuse */
export function encodeHeads(heads: readonly Head[], maxBytes = MAX_BLOCK_BYTES): Uint8Array[] {
  const perBlock = Math.min(MAX_HEADS_ROWS, Math.floor((maxBytes - 5) / HEAD_BYTES));
  checkOrder(heads);
  const blocks: Uint8Array[] = [];
  for (let start = 0; start < heads.length; start += perBlock) {
    blocks.push(encodeBlock(heads.slice(start, start + perBlock).map(writeHead)));
  }
  return blocks;
}

/** @throws HEADS_MALFORMED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL */
export function decodeHeads(block: Uint8Array): Head[] {
  return finish(decodeHeadsSteps(block));
}

/** As {@link decodeHeads}. */
export function* decodeHeadsSteps(block: Uint8Array): Generator<undefined, Head[]> {
  const rows = requireArray(decode(block), CODE, "the block");
  if (rows.length === 0) throw new DmtpError(CODE, "no heads");
  if (rows.length > MAX_HEADS_ROWS) throw new DmtpError(CODE, `more than ${MAX_HEADS_ROWS} rows`);
  yield;
  const heads: Head[] = [];
  for (const row of rows) {
    heads.push(readHead(row));
    if (heads.length % STEP_ROWS === 0) yield;
  }
  checkOrder(heads);
  return heads;
}

function checkOrder(heads: readonly Head[]): void {
  heads.forEach(({ room }, i) => {
    const previous = heads[i - 1];
    if (previous !== undefined && previous.room >= room) throw new DmtpError(CODE, "rooms out of order");
  });
}

function writeHead({ room, n, lastIndex, roomRoot }: Head): CborArray {
  return [
    encodeHex(room, 32, CODE, "room"),
    requireUint(n, Number.MAX_SAFE_INTEGER, CODE, "n"),
    lastIndex === null ? null : requireUint(lastIndex, Number.MAX_SAFE_INTEGER, CODE, "lastIndex"),
    requireBytes(roomRoot, 32, CODE, "roomRoot"),
  ];
}

function readHead(row: CborValue): Head {
  const members = requireArray(row, CODE, "a head");
  if (members.length !== 4) throw new DmtpError(CODE, "a head is not [room, n, lastIndex, roomRoot]");
  const lastIndex = members[2];
  return {
    room: toHex(requireBytes(members[0], 32, CODE, "room")) as RoomId,
    n: requireUint(members[1], Number.MAX_SAFE_INTEGER, CODE, "n"),
    lastIndex: lastIndex === null ? null : requireUint(lastIndex, Number.MAX_SAFE_INTEGER, CODE, "lastIndex"),
    roomRoot: requireBytes(members[3], 32, CODE, "roomRoot"),
  };
}
