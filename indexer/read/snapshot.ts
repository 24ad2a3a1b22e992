/** One consistent look at the index: what is read inside `read` is all of one height, which it names. */
import type Database from "better-sqlite3";
import type { z } from "zod";

import type { countsSchema, heightSchema, verdictSchema } from "../answer.ts";
import type { History } from "../history.ts";
import { Statements } from "../store/statements.ts";

export type VerdictAnswer = z.infer<typeof verdictSchema>;
export type CountsAnswer = z.infer<typeof countsSchema>;
export type HeightAnswer = z.infer<typeof heightSchema>;

/** A part of a list, and whether there is more behind it. */
export interface Slice<Item> {
  readonly items: Item[];
  readonly hasMore: boolean;
}

export interface VerdictColumns {
  readonly status: string;
  readonly code: string | null;
  readonly reason: string | null;
}

export interface ProvenanceColumns {
  readonly block_number: number;
  readonly block_hash: string;
  readonly transaction_hash: string;
}

/** Reads rows, and what only the replay knows. Both change in the same step of this one thread, so they always fit. */
export class Snapshots {
  readonly history: History;
  private readonly database: Database.Database;
  private readonly statements: Statements;

  constructor(database: Database.Database, history: History) {
    this.database = database;
    this.history = history;
    this.statements = new Statements(database);
  }

  read<Result>(work: (snapshot: Snapshot) => Result): Result {
    return this.database.transaction(() => work(new Snapshot(this.history, this.statements)))();
  }
}

export class Snapshot {
  readonly history: History;
  readonly at: HeightAnswer;
  private readonly finalized: number;
  private readonly statements: Statements;

  constructor(history: History, statements: Statements) {
    this.history = history;
    this.statements = statements;
    const { cursor, finalized } = history.log;
    this.at = cursor === null ? null : { block: cursor.number, hash: cursor.hash };
    this.finalized = finalized;
  }

  /** The row type is what the caller's SQL selects. */
  all<Row>(sql: string, ...values: unknown[]): Row[] {
    return this.statements.prepare<Row>(sql).all(...values);
  }

  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as in all(): the caller names the row
  get<Row>(sql: string, ...values: unknown[]): Row | undefined {
    return this.statements.prepare<Row>(sql).get(...values);
  }

  /** Reads up to `limit` rows by a statement that ends in `LIMIT ?`. */
  slice<Row>(limit: number, sql: string, ...values: unknown[]): Slice<Row> {
    const rows = this.all<Row>(sql, ...values, limit + 1);
    return { items: rows.slice(0, limit), hasMore: rows.length > limit };
  }

  provenance({ block_number, block_hash, transaction_hash }: ProvenanceColumns) {
    const final = block_number <= this.finalized;
    return { blockNumber: block_number, blockHash: block_hash, transactionHash: transaction_hash, final };
  }
}

export function verdictOf({ status, code, reason }: VerdictColumns): VerdictAnswer {
  if (status === "rejected") return { status, code: code ?? "INTERNAL", reason: reason ?? "" };
  return { status: status as "verified" | "missing" };
}

/** Rows of (status, n) as counts by verdict. */
export function countsOf(rows: Iterable<{ readonly status: string; readonly n: number }>): CountsAnswer {
  const counts: CountsAnswer = { verified: 0, rejected: 0, missing: 0 };
  for (const { status, n } of rows) counts[status as keyof CountsAnswer] += n;
  return counts;
}

/** Such rows of several owners, by owner. */
export function countsByOwner<Owner>(
  rows: Iterable<{ owner: Owner; status: string; n: number }>,
): Map<Owner, CountsAnswer> {
  const grouped = Map.groupBy(rows, ({ owner }) => owner);
  return new Map([...grouped].map(([owner, group]) => [owner, countsOf(group)]));
}
