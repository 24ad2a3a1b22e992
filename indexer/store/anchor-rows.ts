/** The anchors with the verdicts on them, one row each. */
import type Database from "better-sqlite3";

import { fromHex, toHex, type Hex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { AnchorEvent, Position } from "../../protocol/event.ts";
import type { Manifest, Tip } from "../../protocol/manifest.ts";
import type { StoredAnchor } from "../../protocol/replay/store.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { Statements } from "./statements.ts";
import type { Tally } from "./tally.ts";
import { verdictColumns, verdictOfRow, type Status, type VerdictRow } from "./verdict-columns.ts";
import { WaitingCids } from "./waiting-cids.ts";

/** As it is kept of a manifest. */
interface ManifestJson {
  readonly seq: number;
  readonly base: number | null;
  readonly prev: Cid | null;
  readonly rooms: readonly Cid[];
  readonly heads: readonly Cid[];
  readonly count: number;
  readonly state: Hex;
}

interface StoredRow extends VerdictRow {
  readonly cid: Cid | null;
  readonly blockNumber: number;
  readonly logIndex: number;
  readonly manifest: string | null;
}

export class AnchorRows {
  private readonly statements: Statements;
  private readonly tally: Tally;
  /** Of anchors whose manifest is not here. */
  private readonly waiting: WaitingCids;

  constructor(database: Database.Database, tally: Tally) {
    this.statements = new Statements(database);
    const sql = "SELECT cid FROM anchors WHERE status = 'missing' AND manifest IS NULL AND cid IS NOT NULL";
    this.waiting = new WaitingCids(database, sql);
    this.tally = tally;
  }

  add(event: AnchorEvent, verdict: Verdict): void {
    const { index, cid, text, blockNumber, logIndex, blockHash, transactionHash } = event;
    this.statements.run(
      `INSERT INTO anchors (anchor_index, cid, text, status, code, reason, block_number, log_index, block_hash, transaction_hash)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      index,
      cid,
      cid === null ? text : null,
      ...verdictColumns(verdict),
      blockNumber,
      logIndex,
      blockHash,
      transactionHash,
    );
    this.tally.countAnchor(verdict.status, 1);
    if (verdict.status === "missing" && cid !== null) this.waiting.add(cid);
  }

  /** False only when no anchor waits for this block as its manifest. */
  mayAwait(cid: Cid): boolean {
    return this.waiting.mayHave(cid);
  }

  get(index: number): StoredAnchor | undefined {
    const sql = `SELECT cid, status, code, reason, block_number AS blockNumber, log_index AS logIndex, manifest
      FROM anchors WHERE anchor_index = ?`;
    const row = this.statements.prepare<StoredRow>(sql).get(index);
    if (row === undefined) return undefined;
    const { cid, blockNumber, logIndex, manifest } = row;
    const verdict = verdictOfRow(row);
    return {
      index,
      cid,
      position: { blockNumber, logIndex },
      verdict,
      manifest: manifest === null ? null : decodeManifestRow(manifest),
    };
  }

  /** The lowest index with this CID. */
  firstWith(cid: Cid): number | undefined {
    const sql = `SELECT min(anchor_index) AS "index" FROM anchors WHERE cid = +?`;
    return this.statements.prepare<{ index: number | null }>(sql).get(cid)?.index ?? undefined;
  }

  setManifest(index: number, manifest: Manifest): void {
    const sql = "UPDATE anchors SET manifest = ?, base = ? WHERE anchor_index = ?";
    this.statements.run(sql, encodeManifestRow(manifest), manifest.base?.index ?? null, index);
    this.waiting.forget();
  }

  /** The verdict on an anchor that had none. */
  decide(index: number, verdict: Verdict): void {
    const sql = "UPDATE anchors SET status = ?, code = ?, reason = ? WHERE anchor_index = ?";
    this.statements.run(sql, ...verdictColumns(verdict), index);
    this.tally.countAnchor("missing", -1);
    this.tally.countAnchor(verdict.status, 1);
  }

  /** Where the line of a verified anchor stands. */
  tip(index: number): Pick<Tip, "index" | "cid" | "seq"> | null {
    const anchor = this.get(index);
    if (anchor === undefined || anchor.cid === null || anchor.manifest === null) return null;
    return { index, cid: anchor.cid, seq: anchor.manifest.seq };
  }

  /** Undecided anchors whose manifest builds on this one; ascending, behind `after`. */
  waitingFor(base: number, after: number, limit: number): number[] {
    const sql = `SELECT anchor_index AS "index" FROM anchors INDEXED BY anchors_that_wait
      WHERE status = 'missing' AND base = ? AND anchor_index > ? ORDER BY anchor_index LIMIT ?`;
    return this.statements
      .prepare<{ index: number }>(sql)
      .all(base, after, limit)
      .map(({ index }) => index);
  }

  position(index: number): Position | undefined {
    return this.statements
      .prepare<Position>(
        "SELECT block_number AS blockNumber, log_index AS logIndex FROM anchors WHERE anchor_index = ?",
      )
      .get(index);
  }

  /** Undecided anchors whose manifest is here; ascending. */
  undecided(): number[] {
    const sql = `SELECT anchor_index AS "index" FROM anchors WHERE status = 'missing' AND manifest IS NOT NULL ORDER BY anchor_index`;
    return this.statements
      .prepare<{ index: number }>(sql)
      .all()
      .map(({ index }) => index);
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

function encodeManifestRow({ seq, base, rooms, heads, count, state }: Manifest): string {
  const row: ManifestJson = {
    seq,
    base: base?.index ?? null,
    prev: base?.cid ?? null,
    rooms,
    heads,
    count,
    state: toHex(state),
  };
  return JSON.stringify(row);
}

function decodeManifestRow(text: string): Manifest {
  const { base, prev, state, ...row } = JSON.parse(text) as ManifestJson;
  return { ...row, base: base === null || prev === null ? null : { index: base, cid: prev }, state: fromHex(state) };
}
