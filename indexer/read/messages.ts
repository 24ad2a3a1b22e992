import type { z } from "zod";

import type { Cid } from "../../protocol/cid.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { messageSchema } from "../answer.ts";
import { verdictOf, type ProvenanceColumns, type Slice, type Snapshot, type VerdictColumns } from "./snapshot.ts";

type MessageAnswer = z.infer<typeof messageSchema>;

/** A message's place in the history of all rooms. */
export type Place = readonly [anchorIndex: number, ordinal: number];

interface MessageRow extends VerdictColumns, ProvenanceColumns {
  readonly anchor_index: number;
  readonly ordinal: number;
  readonly room: string;
  readonly cid: Cid;
  readonly sender: string | null;
  readonly receiver: string | null;
  readonly seq: number | null;
  readonly timestamp: number | null;
  readonly size_bytes: number | null;
}

export interface MessagesQuery {
  readonly room: RoomId;
  readonly order: "asc" | "desc";
  /** The place behind which to begin, in that order. */
  readonly after: Place | null;
  readonly limit: number;
  readonly withBlocks: boolean;
}

const SELECT = `SELECT e.*, block_number, block_hash, transaction_hash FROM entries AS e JOIN anchors USING (anchor_index)`;

const FIRST: Place = [-1, -1];
const LAST: Place = [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];

/** A room's messages, in chain order or backwards. */
export function readMessages(snapshot: Snapshot, query: MessagesQuery): Slice<MessageAnswer> {
  const { room, order, limit, withBlocks } = query;
  const [comparison, end] = order === "asc" ? [">", FIRST] : ["<", LAST];
  const { items, hasMore } = snapshot.slice<MessageRow>(
    limit,
    `${SELECT} WHERE room = ? AND (e.anchor_index, ordinal) ${comparison} (?, ?)
     ORDER BY e.anchor_index ${order}, ordinal ${order} LIMIT ?`,
    room,
    ...(query.after ?? end),
  );
  return { items: items.map((row) => answerOf(snapshot, row, withBlocks)), hasMore };
}

/** Every place where the history has this message, in chain order. */
export function readPlacesOf(snapshot: Snapshot, cid: Cid, limit: number, withBlocks: boolean): MessageAnswer[] {
  return snapshot
    .all<MessageRow>(`${SELECT} WHERE e.cid = ? ORDER BY e.anchor_index, ordinal LIMIT ?`, cid, limit)
    .map((row) => answerOf(snapshot, row, withBlocks));
}

function answerOf(snapshot: Snapshot, row: MessageRow, withBlocks: boolean): MessageAnswer {
  const answer: MessageAnswer = {
    cid: row.cid,
    room: row.room,
    sender: row.sender,
    receiver: row.receiver,
    seq: row.seq,
    timestamp: row.timestamp,
    sizeBytes: row.size_bytes,
    verdict: verdictOf(row),
    anchorIndex: row.anchor_index,
    ordinal: row.ordinal,
    ...snapshot.provenance(row),
  };
  if (!withBlocks) return answer;
  const bytes = snapshot.history.block(row.cid);
  return { ...answer, block: bytes === undefined ? null : Buffer.from(bytes).toString("base64") };
}
