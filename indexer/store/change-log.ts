/**
 * What changed, in the order in which it was found out: what live updates are read from. Written in the transaction that
 * brings the change, so a position in it is good for as long as the index is, through any crash.
 *
 * It names what changed and holds no copy. Of one subject, each status comes once: an entry whose status its row does not
 * have any more is followed by a newer one. What a reorg takes back leaves the log, and the reorg itself is an entry.
 */
import { randomBytes } from "node:crypto";

import type Database from "better-sqlite3";

import type { BlockId } from "./block-log.ts";
import { Statements } from "./statements.ts";

/** Whose change: an anchor or a key event by its index, a message by its anchor's index and its ordinal there. */
export type Subject =
  | { readonly kind: "anchor" | "key"; readonly index: number }
  | { readonly kind: "message"; readonly index: number; readonly ordinal: number };

/** Why blocks were taken back: the chain changed, or a node had left something out, and they are read again. */
export type Cause = "reorg" | "gap";

export type Change = { readonly id: number } & (
  | (Subject & { readonly status: string })
  | { readonly kind: "reorg"; readonly cause: Cause; readonly ancestor: BlockId | null; readonly depth: number }
);

export interface ChangeRow {
  readonly id: number;
  readonly kind: Change["kind"];
  readonly subject: number;
  readonly ordinal: number | null;
  readonly status: string | null;
  readonly block_number: number;
  readonly block_hash: string | null;
}

/** Subjects one after the other, by index, or of one anchor by ordinal. */
interface Run {
  readonly kind: Subject["kind"];
  readonly index: number;
  readonly ordinal: number | null;
  readonly status: string;
  readonly blockNumber: number;
  count: number;
}

/** The rows of a run; NULL stays what it is. */
const RUN = `INSERT INTO changes
  WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
  SELECT NULL, ?, ? + i * ?, ? + i, ?, ?, NULL FROM n`;

/** Who is further behind than this reads the lists again, which costs less. Reorgs are kept for ever. */
const KEPT = 100_000;

export class ChangeLog {
  /** Of this log among all that there ever were: a position in another one says nothing here. */
  readonly name: string;
  private readonly statements: Statements;
  /** Recorded, and not written: most subjects change with those next to them, and one statement does for all. */
  private run: Run | null = null;

  constructor(database: Database.Database) {
    this.statements = new Statements(database);
    const fresh = "INSERT INTO change_log SELECT ? WHERE NOT EXISTS (SELECT 1 FROM change_log)";
    this.statements.prepare(fresh).run(randomBytes(8).toString("hex"));
    this.name = this.statements.prepare<{ name: string }>("SELECT name FROM change_log").get()?.name ?? "";
  }

  /** The position behind the newest entry. */
  get end(): number {
    return this.statements.prepare<{ id: number | null }>("SELECT max(id) AS id FROM changes").get()?.id ?? 0;
  }

  /** Whether everything behind this position is still in the log. */
  reaches(position: number): boolean {
    const { end } = this;
    return position <= end && position >= end - KEPT;
  }

  read(after: number, limit: number): Change[] {
    return this.statements
      .prepare<ChangeRow>("SELECT * FROM changes WHERE id > ? ORDER BY id LIMIT ?")
      .all(after, limit)
      .map(changeOf);
  }

  /** How deep each reorg of the chain went. */
  reorgDepths(): number[] {
    return this.statements
      .prepare<{ depth: number }>("SELECT subject AS depth FROM changes WHERE kind = 'reorg' AND status = 'reorg'")
      .all()
      .map(({ depth }) => depth);
  }

  /** @param blockNumber of the event that brought the subject */
  record(subject: Subject, status: string, blockNumber: number): void {
    const { kind, index } = subject;
    const ordinal = subject.kind === "message" ? subject.ordinal : null;
    const { run } = this;
    const goesOn =
      run?.kind === kind &&
      run.status === status &&
      run.blockNumber === blockNumber &&
      (ordinal === null
        ? index === run.index + run.count
        : index === run.index && ordinal === (run.ordinal ?? 0) + run.count);
    if (goesOn) run.count += 1;
    else {
      this.write();
      this.run = { kind, index, ordinal, status, blockNumber, count: 1 };
    }
  }

  /** Forgets what was recorded in a transaction that failed. */
  discard(): void {
    this.run = null;
  }

  /** The chain above `ancestor` (null: all of it) was taken back: `depth` blocks of it had been read. */
  recordReorg(cause: Cause, ancestor: BlockId | null, depth: number): void {
    this.write();
    // The newest entries may go; their numbers must not come again, or a client that has seen them would miss this one.
    const id = this.end + 1;
    const number = ancestor?.number ?? -1;
    this.statements.prepare("DELETE FROM changes WHERE block_number > ? AND kind <> 'reorg'").run(number);
    this.insert(id, "reorg", depth, null, cause, number, ancestor?.hash ?? null);
  }

  /** Writes what was recorded, and drops what is too old: the last that a transaction does. */
  prune(): void {
    this.write();
    this.statements.prepare("DELETE FROM changes WHERE id <= ? AND kind <> 'reorg'").run(this.end - KEPT);
  }

  private write(): void {
    const { run } = this;
    this.run = null;
    if (run === null) return;
    const { kind, index, ordinal, status, blockNumber, count } = run;
    if (count === 1) this.insert(null, kind, index, ordinal, status, blockNumber, null);
    else this.statements.run(RUN, count, kind, index, ordinal === null ? 1 : 0, ordinal, status, blockNumber);
  }

  private insert(...row: [id: number | null, ...(string | number | null)[]]): void {
    this.statements.prepare("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?)").run(...row);
  }
}

export function changeOf({ id, kind, subject, ordinal, status, block_number, block_hash }: ChangeRow): Change {
  if (kind === "reorg") {
    const ancestor = block_hash === null ? null : { number: block_number, hash: block_hash as BlockId["hash"] };
    return { id, kind, cause: status === "gap" ? "gap" : "reorg", ancestor, depth: subject };
  }
  if (kind === "message") return { id, kind, index: subject, ordinal: ordinal ?? 0, status: status ?? "" };
  return { id, kind, index: subject, status: status ?? "" };
}
