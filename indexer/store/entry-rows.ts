/** The places of all rooms' histories, one row each. */
import type Database from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import { concat } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { Entry, MessageSummary } from "../../protocol/entry.ts";
import { roomIdOf, type Deployment, type RoomId } from "../../protocol/room.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { OF_ROOM } from "./schema.ts";
import { Statements } from "./statements.ts";
import type { Tally } from "./tally.ts";
import { verdictColumns, verdictOfRow, type Status, type VerdictRow } from "./verdict-columns.ts";

/** Where an entry stands, and what is known of it. */
export interface PlacedEntry {
  readonly anchorIndex: number;
  readonly ordinal: number;
  readonly room: RoomId;
  readonly cid: Cid;
  /** By which its row names its room and its message. */
  readonly roomNumber: number;
  readonly cidId: number;
  readonly status: Status;
}

interface MessageRow extends VerdictRow {
  readonly cid: Cid;
  readonly sender: Address | null;
  readonly receiver: Address;
  readonly sender_key_version: number;
  readonly receiver_key_version: number;
  readonly seq: number;
  readonly timestamp: number;
  readonly size_bytes: number;
  readonly seen: Uint8Array;
}

/** Rooms of which that is kept in mind. */
const MAX_KEPT = 100_000;
const DIGEST_BYTES = 32;
const PLACED = `SELECT anchor_index AS anchorIndex, ordinal, rooms.id AS room, cid, room_number AS roomNumber, cid_id AS cidId, status
  FROM entries JOIN rooms ON number = room_number JOIN cids ON cids.id = cid_id`;

export class EntryRows {
  private readonly deployment: Deployment;
  private readonly statements: Statements;
  private readonly tally: Tally;
  /** Rooms whose members are known to be there. */
  private readonly withMembers = new Set<RoomId>();

  constructor(database: Database.Database, deployment: Deployment, tally: Tally) {
    this.deployment = deployment;
    this.statements = new Statements(database);
    this.tally = tally;
  }

  /** A new place, with what is known of it. */
  add(place: PlacedEntry, verdict: Verdict, message: MessageSummary | null): void {
    const { anchorIndex, ordinal, room, roomNumber, cidId } = place;
    this.statements.run(
      "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      anchorIndex,
      ordinal,
      roomNumber,
      cidId,
      ...verdictColumns(verdict),
      ...messageColumns(message),
    );
    this.tally.countMessage(roomNumber, anchorIndex, verdict.status, 1);
    if (message !== null) this.addMembers(room, message);
  }

  /** What became of a place that was missing. */
  decide(place: PlacedEntry, verdict: Verdict, message: MessageSummary | null): void {
    const { anchorIndex, ordinal, room } = place;
    this.statements.run(
      `UPDATE entries SET status = ?, code = ?, reason = ?,
         sender = ?, receiver = ?, sender_key_version = ?, receiver_key_version = ?, seq = ?, timestamp = ?,
         size_bytes = ?, seen = ?
       WHERE anchor_index = ? AND ordinal = ?`,
      ...verdictColumns(verdict),
      ...messageColumns(message),
      anchorIndex,
      ordinal,
    );
    this.recount(place, verdict.status);
    if (message !== null) this.addMembers(room, message);
  }

  /** Another verdict on a place that was decided. */
  revise(place: PlacedEntry, verdict: Verdict): void {
    this.statements.run(
      "UPDATE entries SET status = ?, code = ?, reason = ? WHERE anchor_index = ? AND ordinal = ?",
      ...verdictColumns(verdict),
      place.anchorIndex,
      place.ordinal,
    );
    this.recount(place, verdict.status);
  }

  /** Every place of this message, in chain order. */
  placesOf(cid: Cid): PlacedEntry[] {
    return this.statements
      .prepare<PlacedEntry>(
        `${PLACED} WHERE cid_id = (SELECT id FROM cids WHERE cid = ?) ORDER BY anchor_index, ordinal`,
      )
      .all(cid);
  }

  /** A room's places in chain order, as the replay would have them. */
  *entries(room: RoomId): Generator<Pick<Entry, "cid" | "verdict" | "message">> {
    const rows = this.statements.prepare<MessageRow>(
      `SELECT cid, status, code, reason, sender, receiver, sender_key_version, receiver_key_version, seq, timestamp,
         size_bytes, seen
       FROM entries JOIN cids ON cids.id = cid_id WHERE ${OF_ROOM} ORDER BY anchor_index, ordinal`,
    );
    for (const row of rows.iterate(room)) {
      yield { cid: row.cid, verdict: verdictOfRow(row), message: messageOf(row) };
    }
  }

  /** The messages that no source has had so far, with an anchor that lists each. */
  missing(): { readonly cid: Cid; readonly anchorIndex: number }[] {
    return this.statements
      .prepare<{ cid: Cid; anchorIndex: number }>(
        `SELECT cids.cid AS cid, min(anchor_index) AS anchorIndex
         FROM anchors CROSS JOIN entries USING (anchor_index) CROSS JOIN cids ON cids.id = cid_id
         WHERE anchors.missing > 0 AND entries.status = 'missing' GROUP BY cid_id`,
      )
      .all();
  }

  /** Takes out what this anchor and all behind it list; who was known as a member by these alone is none any more. @returns the rooms */
  truncate(fromAnchor: number): ReadonlySet<RoomId> {
    const touched = new Set<RoomId>();
    const rows = this.statements.prepare<PlacedEntry>(`${PLACED} WHERE anchor_index >= ?`).all(fromAnchor);
    for (const { room, roomNumber, anchorIndex, status } of rows) {
      touched.add(room);
      this.tally.countMessage(roomNumber, anchorIndex, status, -1);
    }
    this.statements.run("DELETE FROM entries WHERE anchor_index >= ?", fromAnchor);
    for (const room of touched) {
      this.withMembers.delete(room);
      this.statements.run("DELETE FROM room_members WHERE room = ?", room);
      const pairs = this.statements.prepare<Pick<MessageSummary, "sender" | "receiver">>(
        `SELECT DISTINCT sender, receiver FROM entries WHERE ${OF_ROOM} AND sender IS NOT NULL`,
      );
      for (const pair of pairs.all(room)) this.addMembers(room, pair);
    }
    return touched;
  }

  /** A room id is a hash of its two wallets: whoever names the right two has told the truth, signed or not. */
  private addMembers(room: RoomId, { sender, receiver }: Pick<MessageSummary, "sender" | "receiver">): void {
    if (this.withMembers.has(room)) return;
    if (sender === receiver || roomIdOf(this.deployment, sender, receiver) !== room) return;
    for (const wallet of [sender, receiver])
      this.statements.run("INSERT OR IGNORE INTO room_members VALUES (?, ?)", wallet, room);
    if (this.withMembers.size >= MAX_KEPT) this.withMembers.clear();
    this.withMembers.add(room);
  }

  private recount({ roomNumber, anchorIndex, status }: PlacedEntry, to: Status): void {
    this.tally.countMessage(roomNumber, anchorIndex, status, -1);
    this.tally.countMessage(roomNumber, anchorIndex, to, 1);
  }
}

type MessageColumns = [
  sender: Address | null,
  receiver: Address | null,
  senderKeyVersion: number | null,
  receiverKeyVersion: number | null,
  seq: number | null,
  timestamp: number | null,
  sizeBytes: number | null,
  seen: Uint8Array | null,
];

function messageColumns(message: MessageSummary | null): MessageColumns {
  if (message === null) return [null, null, null, null, null, null, null, null];
  const { sender, receiver, senderKeyVersion, receiverKeyVersion, seq, timestamp, sizeBytes, seen } = message;
  return [sender, receiver, senderKeyVersion, receiverKeyVersion, seq, timestamp, sizeBytes, concat(...seen)];
}

function messageOf(row: MessageRow): MessageSummary | null {
  const { sender, receiver, seq, timestamp, seen } = row;
  if (sender === null) return null;
  const count = seen.length / DIGEST_BYTES;
  const digests = Array.from(
    { length: count },
    (_, i) => new Uint8Array(seen.subarray(DIGEST_BYTES * i, DIGEST_BYTES * (i + 1))),
  );
  return {
    sender,
    receiver,
    senderKeyVersion: row.sender_key_version,
    receiverKeyVersion: row.receiver_key_version,
    seq,
    timestamp,
    sizeBytes: row.size_bytes,
    seen: digests,
  };
}
