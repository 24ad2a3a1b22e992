/** One consistent look at the index: what is read inside `read` is all of one height, which it names. */
import type Database from "better-sqlite3";
import type { countsSchema, heightSchema } from "../../client/api/values.ts";
import type { Plain } from "../../client/api/schema.ts";
import type { Deployment } from "../../protocol/room.ts";
import type { Cursor } from "../store/block-log.ts";
import { Statements } from "../store/statements.ts";
import { IndexReader } from "./index-reader.ts";

export type CountsAnswer = Plain<typeof countsSchema>;
export type HeightAnswer = Plain<typeof heightSchema>;

/** A part of a list, and whether there is more behind it. */
export interface Slice<Item> {
  readonly items: Item[];
  readonly hasMore: boolean;
  /** The last one that was looked at, when there is more behind it than behind the last item. */
  readonly lookedAt?: Item;
}

/** An event of a contract: its index among them, and its block. */
export interface EventId {
  readonly index: number;
  readonly blockNumber: number;
  readonly blockHash: string;
}

export interface ProvenanceColumns {
  readonly block_number: number;
  readonly block_hash: string;
  readonly transaction_hash: string;
}

/** Rows that one page looks at when most of them may not fit. */
const MAX_LOOKED_AT = 2_000;

export class Snapshots {
  readonly index: IndexReader;
  /** Made once: it compiles its own statements. */
  private readonly transaction: (work: () => void) => void;
  private readonly statements: Statements;

  constructor(database: Database.Database, deployment: Deployment) {
    this.transaction = database.transaction((work: () => void) => work());
    this.index = new IndexReader(database, deployment);
    this.statements = new Statements(database);
  }

  read<Result>(work: (snapshot: Snapshot) => Result): Result {
    let result: { readonly of: Result } | undefined;
    this.transaction(() => {
      result = { of: work(new Snapshot(this.index, this.statements)) };
    });
    if (result === undefined) throw new RangeError("a transaction that did not run its work");
    return result.of;
  }
}

export class Snapshot {
  readonly index: IndexReader;
  readonly at: HeightAnswer;
  private readonly finalized: number;
  private readonly statements: Statements;

  constructor(index: IndexReader, statements: Statements) {
    this.index = index;
    this.statements = statements;
    // As BlockLog writes them, by statements that stay compiled: every answer begins with this.
    const meta = this.all<{ name: string; value: string }>(
      "SELECT name, value FROM meta WHERE name IN ('cursor', 'finalized')",
    );
    const value = (name: string): string | undefined => meta.find((row) => row.name === name)?.value;
    const cursor = JSON.parse(value("cursor") ?? "null") as Cursor | null;
    this.at = cursor === null ? null : { block: cursor.number, hash: cursor.hash };
    this.finalized = Number(value("finalized") ?? -1);
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

  /**
   * As {@link slice}, of the rows that fit, where most may not: what is rare must not cost a look at all. It may find fewer than `limit`
   * and have more behind them.
   */
  sliceOfThose<Row>(limit: number, fits: (row: Row) => boolean, sql: string, ...values: unknown[]): Slice<Row> {
    const items: Row[] = [];
    let count = 0;
    for (const row of this.statements.prepare<Row>(sql).iterate(...values, MAX_LOOKED_AT)) {
      const isFitting = fits(row);
      if (isFitting && items.length === limit) return { items, hasMore: true };
      if (isFitting) items.push(row);
      count += 1;
      if (count === MAX_LOOKED_AT) return { items, hasMore: true, lookedAt: row };
    }
    return { items, hasMore: false };
  }

  /** Null when the contract has no such event on the chain as it is known. */
  event(contract: "anchors" | "keys", index: number | "newest"): EventId | null {
    const column = contract === "anchors" ? "anchor_index" : "key_index";
    const which = index === "newest" ? `ORDER BY ${column} DESC LIMIT 1` : `WHERE ${column} = ?`;
    const row = this.get<EventId>(
      `SELECT ${column} AS "index", block_number AS blockNumber, block_hash AS blockHash FROM ${contract} ${which}`,
      ...(index === "newest" ? [] : [index]),
    );
    return row ?? null;
  }

  isFinal(blockNumber: number): boolean {
    return blockNumber <= this.finalized;
  }

  provenance({ block_number, block_hash, transaction_hash }: ProvenanceColumns) {
    const final = this.isFinal(block_number);
    return { blockNumber: block_number, blockHash: block_hash, transactionHash: transaction_hash, final };
  }
}
