/** The places of all rooms' histories, one row each. */
import type Database from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import { concat } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { Binding } from "../../protocol/keys.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { MessageSummary } from "../../protocol/entry.ts";
import type { Place, PlacedEntry } from "../../protocol/replay/store.ts";
import type { Deployment, RoomId } from "../../protocol/room.ts";
import { RoomPolicy } from "../../protocol/room-policy.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { OF_ROOM } from "./schema.ts";
import { Statements } from "./statements.ts";
import type { Tally } from "./tally.ts";
import { verdictColumns, type Status } from "./verdict-columns.ts";

/** A new entry, with the numbers by which its row names its room and its message. */
export interface NumberedEntry extends PlacedEntry {
  readonly roomNumber: number;
  readonly cidId: number;
}

/** Size limit of `withMembers`. */
const MAX_KEPT = 100_000;
const PLACED = `SELECT anchor_index AS anchorIndex, ordinal, rooms.id AS room, cid
  FROM entries JOIN rooms ON number = room_number JOIN cids ON cids.id = cid_id`;

export class EntryRows {
  private readonly policy: RoomPolicy;
  private readonly statements: Statements;
  private readonly tally: Tally;
  /** Rooms whose members are known to be there. */
  private readonly withMembers = new Set<RoomId>();

  constructor(database: Database.Database, deployment: Deployment, tally: Tally) {
    this.policy = new RoomPolicy(deployment);
    this.statements = new Statements(database);
    this.tally = tally;
  }

  /** A new place, with what is known of it. */
  add(place: NumberedEntry, verdict: Verdict, message: MessageSummary | null): void {
    const { anchorIndex, ordinal, room, roomNumber, cidId } = place;
    this.statements.run(
      "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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

  /** What became of an entry that was missing. */
  decide(place: PlacedEntry, roomNumber: number, verdict: Verdict, message: MessageSummary | null): void {
    const { anchorIndex, ordinal, room } = place;
    this.statements.run(
      `UPDATE entries SET status = ?, code = ?, reason = ?,
         sender = ?, receiver = ?, sender_key_version = ?, receiver_key_version = ?, seq = ?, timestamp = ?, size_bytes = ?, seen = ?,
         binding = ?
       WHERE anchor_index = ? AND ordinal = ?`,
      ...verdictColumns(verdict),
      ...messageColumns(message),
      anchorIndex,
      ordinal,
    );
    this.recount(anchorIndex, roomNumber, "missing", verdict.status);
    if (message !== null) this.addMembers(room, message);
  }

  /** Another verdict on an entry that was verified. */
  revise({ anchorIndex, ordinal }: Place, verdict: Verdict): void {
    const sql = "SELECT room_number AS number FROM entries WHERE anchor_index = ? AND ordinal = ?";
    const room = this.statements.prepare<{ number: number }>(sql).get(anchorIndex, ordinal);
    if (room === undefined) throw new DmtpError("INTERNAL", "an entry that is not there was revised");
    this.statements.run(
      "UPDATE entries SET status = ?, code = ?, reason = ? WHERE anchor_index = ? AND ordinal = ?",
      ...verdictColumns(verdict),
      anchorIndex,
      ordinal,
    );
    this.recount(anchorIndex, room.number, "verified", verdict.status);
  }

  /** Entries of a message that are missing, in the order of the history. */
  missingOf(cidId: number, cid: Cid, limit: number): PlacedEntry[] {
    const sql = `SELECT anchor_index AS anchorIndex, ordinal, rooms.id AS room
      FROM entries INDEXED BY entries_by_cid JOIN rooms ON number = room_number
      WHERE cid_id = +? AND status = 'missing' ORDER BY anchor_index, ordinal LIMIT +?`;
    const rows = this.statements.prepare<Omit<PlacedEntry, "cid">>(sql).all(cidId, limit);
    return rows.map((row) => ({ ...row, cid }));
  }

  /** The verified entry of a message. */
  verifiedOf(cidId: number): Place | undefined {
    const sql = `SELECT anchor_index AS anchorIndex, ordinal FROM entries INDEXED BY entries_by_cid
      WHERE cid_id = ? AND status = 'verified'`;
    return this.statements.prepare<Place>(sql).get(cidId);
  }

  /** The entry of a message that is verified in a room. */
  verifiedIn(cidId: number, roomNumber: number): Place | undefined {
    const sql = `SELECT anchor_index AS anchorIndex, ordinal FROM entries INDEXED BY entries_by_cid
      WHERE cid_id = ? AND status = 'verified' AND room_number = ?`;
    return this.statements.prepare<Place>(sql).get(cidId, roomNumber);
  }

  /** How many entries of an anchor have an ordinal from `from` up to, but not, `to`. */
  countBetween(anchorIndex: number, from: number, to: number): number {
    const sql = "SELECT count(*) AS n FROM entries WHERE anchor_index = ? AND ordinal >= ? AND ordinal < ?";
    return this.statements.prepare<{ n: number }>(sql).get(anchorIndex, from, to)?.n ?? 0;
  }

  /** An anchor's entries with ordinals from `from` on, ascending. */
  listing(anchorIndex: number, from: number, limit: number): PlacedEntry[] {
    const sql = `${PLACED} WHERE anchor_index = +? AND ordinal >= +? ORDER BY ordinal LIMIT +?`;
    return this.statements.prepare<PlacedEntry>(sql).all(anchorIndex, from, limit);
  }

  /** Takes out what this anchor and all behind it list; who was known as a member by these alone is none any more. @returns the rooms */
  truncate(fromAnchor: number): ReadonlySet<RoomId> {
    const touched = new Set<RoomId>();
    const counts = this.statements.prepare<{
      room: RoomId;
      roomNumber: number;
      anchorIndex: number;
      status: Status;
      n: number;
    }>(
      `SELECT rooms.id AS room, room_number AS roomNumber, anchor_index AS anchorIndex, status, count(*) AS n
       FROM entries JOIN rooms ON number = room_number WHERE anchor_index >= ? GROUP BY room_number, anchor_index, status`,
    );
    for (const { room, roomNumber, anchorIndex, status, n } of counts.all(fromAnchor)) {
      touched.add(room);
      this.tally.countMessage(roomNumber, anchorIndex, status, -n);
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

  private addMembers(room: RoomId, { sender, receiver }: Pick<MessageSummary, "sender" | "receiver">): void {
    if (this.withMembers.has(room)) return;
    const members = this.policy.listMembers(room, { sender, receiver });
    if (members.length === 0) return;
    for (const wallet of members) this.statements.run("INSERT OR IGNORE INTO room_members VALUES (?, ?)", wallet, room);
    if (this.withMembers.size >= MAX_KEPT) this.withMembers.clear();
    this.withMembers.add(room);
  }

  private recount(anchorIndex: number, roomNumber: number, from: Status, to: Status): void {
    this.tally.countMessage(roomNumber, anchorIndex, from, -1);
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
  binding: Binding | null,
];

function messageColumns(message: MessageSummary | null): MessageColumns {
  if (message === null) return [null, null, null, null, null, null, null, null, null];
  const { sender, receiver, senderKeyVersion, receiverKeyVersion, seq, timestamp, sizeBytes, seen, binding } = message;
  return [sender, receiver, senderKeyVersion, receiverKeyVersion, seq, timestamp, sizeBytes, concat(...seen), binding];
}
