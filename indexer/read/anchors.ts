import type { z } from "zod";

import type { anchorDetailSchema, anchorSchema } from "../answer.ts";
import {
  countsByOwner,
  countsOf,
  verdictOf,
  type CountsAnswer,
  type ProvenanceColumns,
  type Slice,
  type Snapshot,
  type VerdictColumns,
} from "./snapshot.ts";

type AnchorAnswer = z.infer<typeof anchorSchema>;
type AnchorDetailAnswer = z.infer<typeof anchorDetailSchema>;

interface AnchorRow extends VerdictColumns, ProvenanceColumns {
  readonly anchor_index: number;
  readonly cid: string | null;
  readonly text: string;
  readonly manifest: string | null;
  readonly lacks: string;
}

/** Anchors by index, in chain order or backwards, behind `after`. */
export function readAnchors(
  snapshot: Snapshot,
  order: "asc" | "desc",
  after: number | null,
  limit: number,
): Slice<AnchorAnswer> {
  const [comparison, end] = order === "asc" ? [">", -1] : ["<", Number.MAX_SAFE_INTEGER];
  const { items, hasMore } = snapshot.slice<AnchorRow>(
    limit,
    `SELECT * FROM anchors WHERE anchor_index ${comparison} ? ORDER BY anchor_index ${order} LIMIT ?`,
    after ?? end,
  );
  const counts = countsOfAnchors(snapshot, items);
  const answers = items.map((row) => {
    const manifest = manifestOf(row);
    if (manifest === null) return { ...answerOf(snapshot, row, counts), manifest };
    const { rooms: _rooms, heads: _heads, ...header } = manifest;
    return { ...answerOf(snapshot, row, counts), manifest: header };
  });
  return { items: answers, hasMore };
}

/** Null for an index that the chain has not reached. */
export function readAnchor(snapshot: Snapshot, index: number): AnchorDetailAnswer | null {
  const row = snapshot.get<AnchorRow>("SELECT * FROM anchors WHERE anchor_index = ?", index);
  if (row === undefined) return null;
  const answer = answerOf(snapshot, row, countsOfAnchors(snapshot, [row]));
  return { ...answer, manifest: manifestOf(row), lacks: JSON.parse(row.lacks) as string[] };
}

function answerOf(
  snapshot: Snapshot,
  row: AnchorRow,
  counts: ReadonlyMap<number, CountsAnswer>,
): Omit<AnchorAnswer, "manifest"> {
  return {
    index: row.anchor_index,
    cid: row.cid,
    text: row.text,
    verdict: verdictOf(row),
    counts: counts.get(row.anchor_index) ?? countsOf([]),
    ...snapshot.provenance(row),
  };
}

function manifestOf({ manifest }: AnchorRow): AnchorDetailAnswer["manifest"] {
  return manifest === null ? null : (JSON.parse(manifest) as AnchorDetailAnswer["manifest"]);
}

function countsOfAnchors(snapshot: Snapshot, rows: readonly AnchorRow[]): Map<number, CountsAnswer> {
  return countsByOwner(
    snapshot.all<{ owner: number; status: string; n: number }>(
      `SELECT anchor_index AS owner, status, count(*) AS n FROM entries
       WHERE anchor_index IN (SELECT value FROM json_each(?)) GROUP BY anchor_index, status`,
      JSON.stringify(rows.map((row) => row.anchor_index)),
    ),
  );
}
