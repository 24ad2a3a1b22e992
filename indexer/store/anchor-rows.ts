/** The anchors with the verdicts on them, one row each. */
import type Database from "better-sqlite3";

import type { AnchorFinding } from "../../protocol/anchor.ts";
import { toHex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { AnchorEvent, Position } from "../../protocol/event.ts";
import type { Manifest } from "../../protocol/manifest.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { HAD_MANIFEST } from "./schema.ts";
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
    const { index, cid, text, blockNumber, logIndex, blockHash, transactionHash } = event;
    const { status } = finding.verdict;
    this.statements.run(
      `INSERT INTO anchors (anchor_index, cid, text, status, block_number, log_index, block_hash, transaction_hash)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      index,
      cid,
      cid === null ? text : null,
      status,
      blockNumber,
      logIndex,
      blockHash,
      transactionHash,
    );
    if (status !== "missing" || finding.manifest !== null) this.writeFinding(index, finding);
    this.tally.countAnchor(status, 1);
  }

  /** What is known now of an anchor that was undecided. */
  write(index: number, finding: Pick<AnchorFinding, "verdict" | "manifest" | "wants">): void {
    this.writeFinding(index, finding);
    this.tally.countAnchor("missing", -1);
    this.tally.countAnchor(finding.verdict.status, 1);
  }

  /** Fewer blocks than before are lacking of an undecided anchor. */
  writeLacks(index: number, lacks: Iterable<Cid>): void {
    this.statements.run("UPDATE anchors SET lacks = ? WHERE anchor_index = ?", JSON.stringify([...lacks]), index);
  }

  /** Whether an anchor before this one, whose manifest was here, has the same CID. */
  isRepeated(cid: Cid, index: number): boolean {
    const sql = `SELECT 1 FROM anchors INDEXED BY anchors_by_cid WHERE cid = ? AND ${HAD_MANIFEST} AND anchor_index < ? LIMIT 1`;
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
      .prepare<LacksRow & { readonly index: number; readonly cid: Cid }>(
        `SELECT anchor_index AS "index", cid, status, manifest, lacks FROM anchors WHERE status = 'missing' ORDER BY anchor_index`,
      )
      .all()
      .map((row) => ({
        index: row.index,
        cid: row.cid,
        manifest: row.manifest === null ? null : (JSON.parse(row.manifest) as ManifestLinks),
        lacks: lacksOf(row),
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

  private writeFinding(
    index: number,
    { verdict, manifest, wants }: Pick<AnchorFinding, "verdict" | "manifest" | "wants">,
  ): void {
    this.statements.run(
      `UPDATE anchors SET status = ?, code = ?, reason = ?, manifest = ?, base = ?, lacks = ? WHERE anchor_index = ?`,
      ...verdictColumns(verdict),
      manifest === null ? null : encodeManifestRow(manifest),
      manifest?.base?.index ?? null,
      wants.length === 0 ? null : JSON.stringify([...new Set(wants)]),
      index,
    );
  }
}

/** The columns that say which of its own blocks an anchor lacks. */
export interface LacksRow {
  readonly cid: string | null;
  readonly status: Status;
  readonly manifest: string | null;
  readonly lacks: string | null;
}

/** An anchor's own blocks that are not there. */
export function lacksOf({ cid, status, manifest, lacks }: LacksRow): Cid[] {
  if (lacks !== null) return JSON.parse(lacks) as Cid[];
  return status === "missing" && manifest === null ? [cid as Cid] : [];
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
