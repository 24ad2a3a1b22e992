import type { anchorDetailSchema, anchorSchema } from "../../client/api/chain.ts";
import type { Plain } from "../../client/api/schema.ts";
import type { RoomId } from "../../protocol/room.ts";
import { OF_ROOM } from "../store/schema.ts";
import { verdictOfRow, type VerdictRow } from "../store/verdict-columns.ts";
import type { CountsAnswer, ProvenanceColumns, Slice, Snapshot } from "./snapshot.ts";

export type AnchorAnswer = Plain<typeof anchorSchema>;
type AnchorDetailAnswer = Plain<typeof anchorDetailSchema>;

interface AnchorRow extends VerdictRow, ProvenanceColumns, CountsAnswer {
  readonly cid: string | null;
  readonly manifest: string | null;
  readonly log_index: number;
  readonly anchor_index: number;
  readonly text: string | null;
}

/**
 * Whether nothing about the anchor can change any more: its block is final, everything of it is decided, and all that earlier anchors
 * list is known, so that nothing can make duplicates of its messages (SPEC 8.4).
 */
export function isSettled(snapshot: Snapshot, { index, final, verdict, counts }: AnchorAnswer): boolean {
  if (!final || verdict.status === "missing" || counts.missing > 0) return false;
  const unread = `SELECT 1 WHERE EXISTS (SELECT 1 FROM parts WHERE anchor_index <= ?)
    OR EXISTS (SELECT 1 FROM anchors WHERE status = 'missing' AND manifest IS NULL AND anchor_index < ?)`;
  return snapshot.get(unread, index, index) === undefined;
}

export interface AnchorsQuery {
  readonly order: "asc" | "desc";
  readonly after: number | null;
  /** Only this anchor and later ones. */
  readonly since: number | null;
  readonly verdict: "verified" | "rejected" | "missing" | null;
  /** Only anchors that list messages of this room. */
  readonly room: RoomId | null;
  readonly limit: number;
}

/** Anchors by index, in chain order or backwards, behind `after`. */
export function readAnchors(snapshot: Snapshot, query: AnchorsQuery): Slice<AnchorAnswer> {
  const { items, hasMore } =
    query.room === null ? readRange(snapshot, query) : readTouching(snapshot, query, query.room);
  return { items: items.map((row) => withoutLinks(answerOf(snapshot, row), row)), hasMore };
}

/** One as in a list; null for an index that the chain has not reached. */
export function readAnchorItem(snapshot: Snapshot, index: number): AnchorAnswer | null {
  const row = snapshot.get<AnchorRow>("SELECT * FROM anchors WHERE anchor_index = ?", index);
  return row === undefined ? null : withoutLinks(answerOf(snapshot, row), row);
}

/** Null for an index that the chain has not reached. */
export function readAnchor(snapshot: Snapshot, index: number): AnchorDetailAnswer | null {
  const row = snapshot.get<AnchorRow>("SELECT * FROM anchors WHERE anchor_index = ?", index);
  if (row === undefined) return null;
  return { ...answerOf(snapshot, row), manifest: manifestOf(row), lacks: readLacks(snapshot, row) };
}

function readRange(snapshot: Snapshot, { order, after, since, verdict, limit }: AnchorsQuery): Slice<AnchorRow> {
  const [comparison, end] = order === "asc" ? [">", -1] : ["<", Number.MAX_SAFE_INTEGER];
  return snapshot.slice<AnchorRow>(
    limit,
    `SELECT * FROM anchors WHERE anchor_index ${comparison} ? AND anchor_index >= ?
     ${verdict === null ? "" : "AND status = ?"} ORDER BY anchor_index ${order} LIMIT ?`,
    after ?? end,
    since ?? 0,
    ...(verdict === null ? [] : [verdict]),
  );
}

/** Goes from one anchor of the room to the next by the index, past however many messages each of them lists. */
function readTouching(snapshot: Snapshot, query: AnchorsQuery, room: RoomId): Slice<AnchorRow> {
  const { order, after, since, verdict, limit } = query;
  const lowest = since ?? 0;
  const [pick, comparison, end] =
    order === "asc" ? ["min", ">", lowest - 1] : (["max", "<", Number.MAX_SAFE_INTEGER] as const);
  const next = `SELECT ${pick}(anchor_index) FROM entries WHERE ${OF_ROOM} AND anchor_index >= ? AND anchor_index ${comparison}`;
  const start = after === null ? end : order === "asc" ? Math.max(after, end) : after;
  return snapshot.slice<AnchorRow>(
    limit,
    `WITH RECURSIVE touching (i) AS (
       SELECT (${next} ?) UNION ALL SELECT (${next} i) FROM touching WHERE i IS NOT NULL
     ) SELECT anchors.* FROM touching JOIN anchors ON anchor_index = i WHERE status = coalesce(?, status) LIMIT ?`,
    room,
    lowest,
    start,
    room,
    lowest,
    verdict,
  );
}

/** Its manifest, or shards that are not listed, or heads that its account needs now. */
function readLacks(snapshot: Snapshot, { anchor_index, cid, manifest, status }: AnchorRow): string[] {
  if (manifest === null) return status === "missing" && cid !== null ? [cid] : [];
  const sql = "SELECT cid FROM parts WHERE anchor_index = ? AND status = 'missing' ORDER BY part";
  return snapshot.all<{ cid: string }>(sql, anchor_index).map((part) => part.cid);
}

function answerOf(snapshot: Snapshot, row: AnchorRow): Omit<AnchorAnswer, "manifest"> {
  const { verified, rejected, missing } = row;
  return {
    index: row.anchor_index,
    cid: row.cid,
    text: row.text ?? row.cid ?? "",
    verdict: verdictOfRow(row),
    counts: { verified, rejected, missing },
    ...snapshot.provenance(row),
    logIndex: row.log_index,
  };
}

function withoutLinks(answer: Omit<AnchorAnswer, "manifest">, row: AnchorRow): AnchorAnswer {
  const manifest = manifestOf(row);
  if (manifest === null) return { ...answer, manifest };
  const { rooms: _rooms, heads: _heads, ...header } = manifest;
  return { ...answer, manifest: header };
}

function manifestOf({ manifest }: AnchorRow): AnchorDetailAnswer["manifest"] {
  return manifest === null ? null : (JSON.parse(manifest) as AnchorDetailAnswer["manifest"]);
}
