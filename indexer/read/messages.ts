import type { messageSchema } from "../../client/api/rooms.ts";
import type { Plain } from "../../client/api/schema.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { Binding } from "../../protocol/keys.ts";
import type { RoomId } from "../../protocol/room.ts";
import { NOT_VERIFIED, OF_ROOM } from "../store/schema.ts";
import { verdictOfRow, type VerdictRow } from "../store/verdict-columns.ts";
import type { ProvenanceColumns, Slice, Snapshot } from "./snapshot.ts";

export type MessageAnswer = Plain<typeof messageSchema>;

/** A message's place in the history of all rooms. */
export type Place = [anchorIndex: number, ordinal: number];

interface MessageRow extends VerdictRow, ProvenanceColumns {
  readonly anchor_index: number;
  readonly ordinal: number;
  readonly room: string;
  readonly cid: Cid;
  readonly sender: string | null;
  readonly receiver: string | null;
  readonly sender_key_version: number | null;
  readonly receiver_key_version: number | null;
  readonly seq: number | null;
  readonly timestamp: number | null;
  readonly size_bytes: number | null;
  readonly binding: Binding | null;
  readonly accounted: number;
}

export interface MessagesQuery {
  readonly room: RoomId;
  readonly order: "asc" | "desc";
  /** The place behind which to begin, in that order. */
  readonly after: Place | null;
  /** Only what this anchor and later ones list. */
  readonly since: number | null;
  readonly verdict: "verified" | "rejected" | "missing" | null;
  readonly limit: number;
  readonly withBlocks: boolean;
}

const select = (index = ""): string =>
  `SELECT e.*, anchors.status = 'verified' AS accounted, rooms.id AS room, cids.cid AS cid, block_number, block_hash, transaction_hash
   FROM entries AS e ${index} JOIN anchors USING (anchor_index)
   JOIN rooms ON rooms.number = room_number JOIN cids ON cids.id = cid_id`;

/** Of base64 in one page: the page ends behind the message that exceeds it. Two hundred of the largest would be 140 MB. */
const MAX_BLOCK_BYTES = 4 * 1024 * 1024;

const FIRST: Place = [-1, -1];
const LAST: Place = [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];

/** A room's messages, in chain order or backwards. */
export function readMessages(snapshot: Snapshot, query: MessagesQuery): Slice<MessageAnswer> {
  const { items, hasMore, lookedAt } = rowsOf(snapshot, query);
  const answers: MessageAnswer[] = [];
  let blockBytes = 0;
  for (const row of items) {
    if (blockBytes > MAX_BLOCK_BYTES) return { items: answers, hasMore: true };
    const answer = answerOf(snapshot, row);
    if (query.withBlocks) answer.block = readBlock(snapshot, row.cid);
    blockBytes += answer.block?.length ?? 0;
    answers.push(answer);
  }
  return { items: answers, hasMore, ...(lookedAt !== undefined && { lookedAt: answerOf(snapshot, lookedAt) }) };
}

function rowsOf(snapshot: Snapshot, { room, order, after, since, verdict, limit }: MessagesQuery): Slice<MessageRow> {
  const [comparison, end] = order === "asc" ? [">", FIRST] : ["<", LAST];
  const values = [room, ...(after ?? end), ...(since === null ? [] : [since])];
  const sqlOf = (index: string, condition: string): string => `${select(index)}
    WHERE ${OF_ROOM} AND (e.anchor_index, ordinal) ${comparison} (?, ?)
    ${since === null ? "" : "AND e.anchor_index >= ?"} ${condition}
    ORDER BY e.anchor_index ${order}, ordinal ${order} LIMIT ?`;
  if (verdict === null) return snapshot.slice(limit, sqlOf("", ""), ...values);
  // The verified are in no index by verdict.
  if (verdict === "verified") {
    const isVerified = ({ status }: MessageRow): boolean => status === verdict;
    return snapshot.sliceOfThose(limit, isVerified, sqlOf("", ""), ...values);
  }
  // Left alone, SQLite would take the other index with `since`.
  const sql = sqlOf("INDEXED BY entries_not_verified", `AND e.${NOT_VERIFIED} AND e.status = ?`);
  return snapshot.slice(limit, sql, ...values, verdict);
}

/** Every place where the history has this message, in chain order. */
export function readPlacesOf(snapshot: Snapshot, cid: Cid, limit: number): MessageAnswer[] {
  return snapshot
    .all<MessageRow>(
      `${select()} WHERE cid_id = (SELECT id FROM cids WHERE cid = ?) ORDER BY e.anchor_index, ordinal LIMIT ?`,
      cid,
      limit,
    )
    .map((row) => answerOf(snapshot, row));
}

/** The place where this message counts; null while there is none. */
export function readVerifiedPlaceOf(snapshot: Snapshot, cid: Cid): MessageAnswer | null {
  const row = snapshot.get<MessageRow>(
    `${select()} WHERE cid_id = (SELECT id FROM cids WHERE cid = ?) AND e.status = 'verified' LIMIT 1`,
    cid,
  );
  return row === undefined ? null : answerOf(snapshot, row);
}

/** Null for a place that the history does not have. */
export function readMessageAt(snapshot: Snapshot, [anchorIndex, ordinal]: Place): MessageAnswer | null {
  const row = snapshot.get<MessageRow>(`${select()} WHERE e.anchor_index = ? AND ordinal = ?`, anchorIndex, ordinal);
  return row === undefined ? null : answerOf(snapshot, row);
}

/** In base64; null while missing. */
export function readBlock(snapshot: Snapshot, cid: Cid): string | null {
  const bytes = snapshot.index.block(cid);
  return bytes === undefined ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

function answerOf(snapshot: Snapshot, row: MessageRow): MessageAnswer {
  return {
    cid: row.cid,
    room: row.room,
    sender: row.sender,
    receiver: row.receiver,
    senderKeyVersion: row.sender_key_version,
    receiverKeyVersion: row.receiver_key_version,
    seq: row.seq,
    timestamp: row.timestamp,
    sizeBytes: row.size_bytes,
    binding: row.binding,
    verdict: verdictOfRow(row),
    accounted: row.accounted === 1,
    anchorIndex: row.anchor_index,
    ordinal: row.ordinal,
    // Not spread: of a page, half of what is not SQLite would be that.
    blockNumber: row.block_number,
    blockHash: row.block_hash,
    transactionHash: row.transaction_hash,
    final: snapshot.isFinal(row.block_number),
  };
}
