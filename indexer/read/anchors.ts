import type { z } from "zod";

import type { RoomId } from "../../protocol/room.ts";
import type { anchorDetailSchema, anchorSchema } from "../answer.ts";
import { lacksOf, type LacksRow } from "../store/anchor-rows.ts";
import { OF_ROOM } from "../store/schema.ts";
import { verdictOfRow, type VerdictRow } from "../store/verdict-columns.ts";
import type { CountsAnswer, ProvenanceColumns, Slice, Snapshot } from "./snapshot.ts";

export type AnchorAnswer = z.infer<typeof anchorSchema>;
type AnchorDetailAnswer = z.infer<typeof anchorDetailSchema>;

interface AnchorRow extends VerdictRow, ProvenanceColumns, CountsAnswer, LacksRow {
  readonly log_index: number;
  readonly anchor_index: number;
  readonly text: string | null;
}

/**
 * Whether nothing about the anchor can change any more: its block is final, everything of it is decided, and no earlier anchor
 * is left that could make duplicates of its messages (SPEC 8.4).
 */
export function isSettled(snapshot: Snapshot, { index, final, verdict, counts }: AnchorAnswer): boolean {
  if (!final || verdict.status === "missing" || counts.missing > 0) return false;
  return (
    snapshot.get("SELECT 1 FROM anchors WHERE status = 'missing' AND anchor_index < ? LIMIT 1", index) === undefined
  );
}

export interface AnchorsQuery {
  readonly order: "asc" | "desc";
  readonly after: number | null;
  /** Only this anchor and later ones. */
  readonly since: number | null;
  readonly verdict: "verified" | "rejected" | "missing" | null;
  /** Only verified anchors that list messages of this room. */
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
  return { ...answerOf(snapshot, row), manifest: manifestOf(row), lacks: lacksOf(row) };
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
  // What lists messages is verified.
  if (verdict !== null && verdict !== "verified") return { items: [], hasMore: false };
  const lowest = since ?? 0;
  const [pick, comparison, end] =
    order === "asc" ? ["min", ">", lowest - 1] : (["max", "<", Number.MAX_SAFE_INTEGER] as const);
  const next = `SELECT ${pick}(anchor_index) FROM entries WHERE ${OF_ROOM} AND anchor_index >= ? AND anchor_index ${comparison}`;
  const start = after === null ? end : order === "asc" ? Math.max(after, end) : after;
  return snapshot.slice<AnchorRow>(
    limit,
    `WITH RECURSIVE touching (i) AS (
       SELECT (${next} ?) UNION ALL SELECT (${next} i) FROM touching WHERE i IS NOT NULL
     ) SELECT anchors.* FROM touching JOIN anchors ON anchor_index = i LIMIT ?`,
    room,
    lowest,
    start,
    room,
    lowest,
  );
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
