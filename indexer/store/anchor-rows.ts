/** The anchors with the verdicts on them, one row each. */
import type Database from "better-sqlite3";

import type { AnchorFinding } from "../../protocol/anchor.ts";
import { toHex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { AnchorEvent, Position } from "../../protocol/event.ts";
import type { Manifest } from "../../protocol/manifest.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { Statements } from "./statements.ts";
import type { Tally } from "./tally.ts";
import { verdictColumns, verdictOfRow, type Status, type VerdictRow } from "./verdict-columns.ts";

/** An anchor as those that build on it need it. */
export interface JudgedAnchor {
  readonly cid: Cid | null;
  readonly verdict: Verdict;
  readonly seq: number | null;
}

/** What of a manifest says what its anchor waits for. */
export interface ManifestLinks {
  readonly base: number | null;
  readonly rooms: readonly Cid[];
  readonly heads: readonly Cid[];
}

/** An anchor that waits for something. */
export interface UndecidedRow {
  readonly index: number;
  readonly cid: Cid;
  /** Null while the manifest itself is lacking. */
  readonly manifest: ManifestLinks | null;
  readonly lacks: readonly Cid[];
}

export class AnchorRows {
  private readonly statements: Statements;
  private readonly tally: Tally;

  constructor(database: Database.Database, tally: Tally) {
    this.statements = new Statements(database);
    this.tally = tally;
  }

  add(event: AnchorEvent, finding: Pick<AnchorFinding, "verdict" | "manifest" | "wants">): void {
    this.statements.run(
      "INSERT INTO anchors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?, ?, ?)",
      event.index,
      event.cid,
      event.text,
      ...findingColumns(finding),
      event.blockNumber,
      event.logIndex,
      event.blockHash,
      event.transactionHash,
    );
    this.tally.countAnchor(finding.verdict.status, 1);
  }

  /** What is known now of an anchor that was undecided. */
  write(index: number, finding: Pick<AnchorFinding, "verdict" | "manifest" | "wants">): void {
    this.statements.run(
      `UPDATE anchors SET status = ?, code = ?, reason = ?, manifest = ?, base = ?, lacks = ? WHERE anchor_index = ?`,
      ...findingColumns(finding),
      index,
    );
    this.tally.countAnchor("missing", -1);
    this.tally.countAnchor(finding.verdict.status, 1);
  }

  /** Fewer blocks than before are lacking of an undecided anchor. */
  writeLacks(index: number, lacks: Iterable<Cid>): void {
    this.statements.run("UPDATE anchors SET lacks = ? WHERE anchor_index = ?", JSON.stringify([...lacks]), index);
  }

  /** Whether an anchor before this one has the same CID. */
  isRepeated(cid: Cid, index: number): boolean {
    const sql = "SELECT 1 FROM anchors WHERE cid = ? AND anchor_index < ? LIMIT 1";
    return this.statements.prepare(sql).get(cid, index) !== undefined;
  }

  judged(index: number): JudgedAnchor | undefined {
    const row = this.statements
      .prepare<VerdictRow & { cid: Cid | null; seq: number | null }>(
        "SELECT cid, status, code, reason, manifest ->> 'seq' AS seq FROM anchors WHERE anchor_index = ?",
      )
      .get(index);
    return row && { cid: row.cid, verdict: verdictOfRow(row), seq: row.seq };
  }

  position(index: number): Position | undefined {
    return this.statements
      .prepare<Position>(
        "SELECT block_number AS blockNumber, log_index AS logIndex FROM anchors WHERE anchor_index = ?",
      )
      .get(index);
  }

  /** By ascending index. */
  undecided(): UndecidedRow[] {
    return this.statements
      .prepare<{ index: number; cid: Cid; manifest: string | null; lacks: string }>(
        `SELECT anchor_index AS "index", cid, manifest, lacks FROM anchors WHERE status = 'missing' ORDER BY anchor_index`,
      )
      .all()
      .map(({ index, cid, manifest, lacks }) => ({
        index,
        cid,
        manifest: manifest === null ? null : (JSON.parse(manifest) as ManifestLinks),
        lacks: JSON.parse(lacks) as Cid[],
      }));
  }

  /** The verified manifest with the highest index below `end`; null without one. */
  newestVerified(end: number): number | null {
    return (
      this.statements
        .prepare<{ index: number | null }>(
          `SELECT max(anchor_index) AS "index" FROM anchors WHERE status = 'verified' AND anchor_index < ?`,
        )
        .get(end)?.index ?? null
    );
  }

  /** Takes out this anchor and all behind it. */
  truncate(fromIndex: number): void {
    const counts = this.statements
      .prepare<{ status: Status; n: number }>(
        "SELECT status, count(*) AS n FROM anchors WHERE anchor_index >= ? GROUP BY status",
      )
      .all(fromIndex);
    for (const { status, n } of counts) this.tally.countAnchor(status, -n);
    this.statements.run("DELETE FROM anchors WHERE anchor_index >= ?", fromIndex);
  }
}

function findingColumns({ verdict, manifest, wants }: Pick<AnchorFinding, "verdict" | "manifest" | "wants">) {
  return [
    ...verdictColumns(verdict),
    manifest === null ? null : encodeManifestRow(manifest),
    manifest?.base?.index ?? null,
    JSON.stringify([...new Set(wants)]),
  ] as const;
}

function encodeManifestRow({ seq, base, rooms, heads, count, state }: Manifest): string {
  return JSON.stringify({
    seq,
    base: base?.index ?? null,
    prev: base?.cid ?? null,
    rooms,
    heads,
    count,
    state: toHex(state),
  });
}
