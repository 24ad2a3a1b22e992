/** Shards and heads blocks of anchors that are not done with, one row each. */
import type Database from "better-sqlite3";

import type { Cid } from "../../protocol/cid.ts";
import type { OpenPart } from "../../protocol/replay/store.ts";
import { Statements } from "./statements.ts";
import { verdictColumns, verdictOfRow, type VerdictRow } from "./verdict-columns.ts";
import { WaitingCids } from "./waiting-cids.ts";

interface PartRow extends Pick<VerdictRow, "code" | "reason"> {
  readonly anchorIndex: number;
  readonly part: number;
  readonly cid: Cid;
  readonly status: OpenPart["status"];
}

const COLUMNS = "anchor_index AS anchorIndex, part, cid, status, code, reason";

export class PartRows {
  private readonly statements: Statements;
  private readonly waiting: WaitingCids;

  constructor(database: Database.Database) {
    this.statements = new Statements(database);
    this.waiting = new WaitingCids(database, "SELECT cid FROM parts WHERE status = 'missing'");
  }

  /** False only when none is missing this block. */
  mayAwait(cid: Cid): boolean {
    return this.waiting.mayHave(cid);
  }

  set({ anchorIndex, part, cid, status, refusal }: OpenPart): void {
    const [, code, reason] = refusal === null ? [null, null, null] : verdictColumns(refusal);
    const sql = "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?)";
    this.statements.run(sql, anchorIndex, part, cid, status, code, reason);
    if (status === "missing") this.waiting.add(cid);
    else this.waiting.forget();
  }

  delete(anchorIndex: number, part: number): void {
    this.statements.run("DELETE FROM parts WHERE anchor_index = ? AND part = ?", anchorIndex, part);
    this.waiting.forget();
  }

  /** By ascending number. */
  ofAnchor(anchorIndex: number): OpenPart[] {
    const sql = `SELECT ${COLUMNS} FROM parts WHERE anchor_index = +? ORDER BY part`;
    return this.statements.prepare<PartRow>(sql).all(anchorIndex).map(toPart);
  }

  /** Those that are missing this block. */
  awaiting(cid: Cid, limit: number): OpenPart[] {
    const sql = `SELECT ${COLUMNS} FROM parts WHERE cid = ? AND status = 'missing' LIMIT ?`;
    return this.statements.prepare<PartRow>(sql).all(cid, limit).map(toPart);
  }

  /** Shards of which some entries are not listed yet. */
  listing(): OpenPart[] {
    const sql = `SELECT ${COLUMNS} FROM parts WHERE status = 'listing' ORDER BY anchor_index, part`;
    return this.statements.prepare<PartRow>(sql).all().map(toPart);
  }

  /** Takes out the parts of this anchor and all behind it. */
  truncate(fromAnchor: number): void {
    this.statements.run("DELETE FROM parts WHERE anchor_index >= ?", fromAnchor);
  }
}

function toPart({ code, reason, ...part }: PartRow): OpenPart {
  return { ...part, refusal: code === null ? null : verdictOfRow({ status: "rejected", code, reason }) };
}
