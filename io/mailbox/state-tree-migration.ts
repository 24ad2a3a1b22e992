/**
 * Version 2 of the mailbox: the branches of the rooms' state tree are kept, so that a command reads only what it touches; and
 * what an anchor builds on has checksums, because no later check would find a wrong byte before the anchor is paid for.
 */
import type { Database } from "better-sqlite3";

import { equal } from "../../protocol/bytes.ts";
import { isCid } from "../../protocol/cid.ts";
import { isRoomId, type RoomId } from "../../protocol/room.ts";
import type { RoomState } from "../../protocol/state-tree.ts";
import { State } from "../../protocol/state.ts";
import { encodeBranch, splitHashes } from "../state-codec.ts";
import { checksumOfLine, rowOf, type LineRecord } from "./line.ts";
import { checksumOfRoom, isCount } from "./rooms.ts";

const TABLES = `
  -- The tip of the line of manifests, null where there is none; and what of CIDStore is accounted for. One row at most.
  CREATE TABLE line (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    tip_index INTEGER,
    tip_cid TEXT,
    tip_seq INTEGER,
    tip_state BLOB,
    anchor_count INTEGER NOT NULL,
    anchor_head BLOB NOT NULL,
    is_settled INTEGER NOT NULL,
    checksum BLOB NOT NULL
  ) STRICT;

  -- The branches of the state tree, four levels in a row: "prefix" is the hexadecimal digits that the ids of all rooms under it
  -- begin with, "ways" where the next digit leads: the digit, plus 16 when one room is there, and the hash. A subtree with one
  -- room is its row in "rooms".
  CREATE TABLE branches (prefix TEXT PRIMARY KEY, ways BLOB NOT NULL) STRICT, WITHOUT ROWID;
  ALTER TABLE rooms ADD COLUMN checksum BLOB NOT NULL DEFAULT x'';
`;
const OLD_NAMES = ["tip_index", "tip_cid", "tip_seq", "tip_state", "anchor_count", "anchor_head", "is_settled"];

interface RoomRow {
  readonly room: RoomId;
  readonly size: number;
  readonly hashes: Uint8Array;
  readonly lastIndex: number;
}

export function saveStateTree(database: Database): void {
  database.exec(TABLES);
  const get = database.prepare<[string]>("SELECT value FROM meta WHERE name = ?").pluck();
  const values = OLD_NAMES.map((name) => get.get(name));
  const forget = database.prepare("DELETE FROM meta WHERE name = ?");
  for (const name of OLD_NAMES) forget.run(name);
  if (values.every((value) => value === undefined)) return;

  const insert = database.prepare("INSERT INTO line VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)");
  const state = stateOf(database);
  const record = state === null ? null : recordOf(values, state.root);
  if (state === null || record === null) {
    // A record with the checksum of no row: it was damaged before, and still is. The chain is read again, which puts it right.
    insert.run(null, null, null, null, 0, new Uint8Array(0), 0, new Uint8Array(0));
    return;
  }
  const row = rowOf(record);
  insert.run(...row, checksumOfLine(row));
  const setBranch = database.prepare("INSERT INTO branches VALUES (?, ?)");
  const setChecksum = database.prepare("UPDATE rooms SET checksum = ? WHERE room = ?");
  for (const node of state.unsaved()) {
    if ("room" in node) setChecksum.run(checksumOfRoom(node.room), node.room.id);
    else setBranch.run(node.prefix, encodeBranch(node.branch));
  }
}

/** Null when the values are not what a mailbox with these rooms has written. */
function recordOf(values: readonly unknown[], stateRoot: Uint8Array): LineRecord | null {
  const [index, cid, seq, root, count, head, isSettled] = values;
  if (!isCount(count) || !(head instanceof Uint8Array)) return null;
  const accounted = { count, head, isSettled: isSettled === 1 };
  if (index === undefined) return { tip: null, accounted };
  if (!isCount(index) || !isCid(cid) || !isCount(seq)) return null;
  return root instanceof Uint8Array && equal(root, stateRoot) ? { tip: { index, cid, seq, root }, accounted } : null;
}

/** Null when a row cannot be a room. */
function stateOf(database: Database): State | null {
  const rows = database
    .prepare<[], RoomRow>("SELECT room, size, hashes, last_index AS lastIndex FROM rooms ORDER BY room")
    .all();
  const rooms: RoomState[] = [];
  for (const { room, size, hashes, lastIndex } of rows) {
    if (!isRoomId(room) || !(hashes instanceof Uint8Array) || !isCount(size) || !isCount(lastIndex)) return null;
    rooms.push({ id: room, range: { size, hashes: splitHashes(hashes) }, lastIndex });
  }
  return State.of(rooms);
}
