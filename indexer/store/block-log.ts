/** The chain as it was read: hashes of blocks that were seen, the cursor, what is final, and what was taken back. */
import type Database from "better-sqlite3";

import type { Hex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { ChainEvent, Contract, EventCounts } from "../../protocol/event.ts";
import { readMeta, writeMeta } from "./meta.ts";
import { Statements } from "./statements.ts";

/** A block by number and hash. */
export interface BlockId {
  readonly number: number;
  readonly hash: Hex;
}

/** How far the chain has been read. */
export interface Cursor extends BlockId {
  /** In Unix seconds; null after a step back. */
  readonly timestamp: number | null;
  /** Whether the contracts count as many events there as were read; false after a step back. */
  readonly isProved: boolean;
}

/** An event that a reorg took out of the chain, or a step back for a gap. */
export interface Orphan extends BlockId {
  readonly logIndex: number;
  readonly contract: Contract;
}

/** The events' rows are the other tables' (schema.ts): here are their indices, and what of them an orphan keeps. */
const EVENTS = {
  anchors: {
    index: "anchor_index",
    body: "'index', anchor_index, 'text', coalesce(text, cid), 'transactionHash', transaction_hash",
  },
  keys: {
    index: "key_index",
    body: `'index', key_index, 'kind', kind, 'wallet', wallet, 'version', version, 'encryptionKey', encryption_key,
      'signingKey', signing_key, 'document', document, 'deadline', deadline, 'signature', signature, 'hasCode', has_code,
      'transactionHash', transaction_hash`,
  },
} as const;
const CONTRACTS = ["anchors", "keys"] as const;

export class BlockLog {
  private readonly database: Database.Database;
  private readonly statements: Statements;

  constructor(database: Database.Database) {
    this.database = database;
    this.statements = new Statements(database);
  }

  get cursor(): Cursor | null {
    const text = readMeta(this.database, "cursor");
    return text === null ? null : (JSON.parse(text) as Cursor);
  }

  set cursor(cursor: Cursor | null) {
    writeMeta(this.database, "cursor", cursor === null ? null : JSON.stringify(cursor));
    if (cursor !== null) this.see(cursor, 0);
  }

  /** The highest block that is final; −1 while none is known to be. */
  get finalized(): number {
    return Number(readMeta(this.database, "finalized") ?? -1);
  }

  set finalized(number: number) {
    writeMeta(this.database, "finalized", String(number));
  }

  /** What made finality doubtful: a final block changed its hash. Null while nothing did. */
  get alarm(): string | null {
    return readMeta(this.database, "alarm");
  }

  set alarm(reason: string | null) {
    writeMeta(this.database, "alarm", reason);
  }

  /** The first block that was read while most of the nodes did not say the same; null for none. */
  get unconfirmedFrom(): number | null {
    const text = readMeta(this.database, "unconfirmed");
    return text === null ? null : Number(text);
  }

  set unconfirmedFrom(number: number | null) {
    writeMeta(this.database, "unconfirmed", number === null ? null : String(number));
  }

  /** CIDStore's last entry; null without one. */
  get lastAnchor(): { readonly cid: Cid | null; readonly text: string } | null {
    const sql = "SELECT cid, coalesce(text, cid) AS text FROM anchors ORDER BY anchor_index DESC LIMIT 1";
    return this.statements.prepare<{ cid: Cid | null; text: string }>(sql).get() ?? null;
  }

  get counts(): EventCounts {
    return { anchors: this.countUpTo("anchors", null), keys: this.countUpTo("keys", null) };
  }

  /** Sees the blocks of these events. */
  append(events: readonly ChainEvent[]): void {
    let seen = -1;
    for (const { blockNumber, blockHash } of events) {
      if (blockNumber !== seen) this.see({ number: blockNumber, hash: blockHash }, 1);
      seen = blockNumber;
    }
  }

  /** The block of a contract's last event, or null without one. */
  lastBlockOf(contract: Contract): number | null {
    const sql = `SELECT block_number AS number FROM ${contract} ORDER BY ${EVENTS[contract].index} DESC LIMIT 1`;
    return this.statements.prepare<{ number: number }>(sql).get()?.number ?? null;
  }

  /** The highest seen block up to this number. */
  seenAt(number: number): BlockId | null {
    const statement = this.statements.prepare<BlockId>(
      "SELECT number, hash FROM seen_blocks WHERE number <= ? ORDER BY number DESC LIMIT 1",
    );
    return statement.get(number) ?? null;
  }

  /** Seen blocks up to this number, highest first. */
  seenUpTo(number: number): BlockId[] {
    return this.statements
      .prepare<BlockId>("SELECT number, hash FROM seen_blocks WHERE number <= ? ORDER BY number DESC")
      .all(number);
  }

  /**
   * Takes what lies above a seen block (null: everything) out of the chain: its events are kept apart, for when one of these
   * blocks is read again, it has to have the same. Their rows are still to be taken out.
   * @returns how many events of each contract are left
   */
  truncate(ancestor: BlockId | null): EventCounts {
    const number = ancestor?.number ?? -1;
    this.statements.prepare("DELETE FROM seen_blocks WHERE number > ?").run(number);
    const left = { anchors: this.countUpTo("anchors", number), keys: this.countUpTo("keys", number) };
    for (const contract of CONTRACTS) {
      const { index, body } = EVENTS[contract];
      this.statements
        .prepare(
          `INSERT OR REPLACE INTO orphans
           SELECT block_hash, log_index, block_number, '${contract}', json_object(${body}) FROM ${contract} WHERE ${index} >= ?`,
        )
        .run(left[contract]);
    }
    return left;
  }

  /** The events that were read in a range of blocks and taken out of the chain, or read again since. */
  orphansBetween(from: number, to: number): Orphan[] {
    return this.statements
      .prepare<Orphan>(
        `SELECT block_number AS number, block_hash AS hash, log_index AS logIndex, contract FROM orphans
         WHERE block_number BETWEEN ? AND ? ORDER BY block_number, log_index`,
      )
      .all(from, to);
  }

  /** Forgets what was taken out of the chain from this block on: whoever said that it was there is not believed. */
  forgetOrphans(from: number): void {
    this.statements.prepare("DELETE FROM orphans WHERE block_number >= ?").run(from);
  }

  /** Forgets the blocks below what is final that no event needs; the highest final one stays, to come back to. */
  prune(): void {
    this.statements
      .prepare(
        `DELETE FROM seen_blocks
         WHERE has_events = 0 AND number < (SELECT max(number) FROM seen_blocks WHERE number <= ?)`,
      )
      .run(this.finalized);
  }

  /** Notes the hash of a block of the chain. */
  see({ number, hash }: BlockId, hasEvents: 0 | 1): void {
    this.statements
      .prepare(
        `INSERT INTO seen_blocks VALUES (?, ?, ?) ON CONFLICT (number)
         DO UPDATE SET hash = excluded.hash, has_events = max(has_events, excluded.has_events)`,
      )
      .run(number, hash, hasEvents);
  }

  /** Events up to this block (null: all): looked for from the newest, so it costs what comes behind it. */
  /** Notes what more is final, as {@link findFinal} finds it. */
  raiseFinalized(number: number, block: BlockId | null): void {
    const final = this.findFinal(number, block);
    if (final === null) return;
    this.see(final, 0);
    this.finalized = final.number;
  }

  /**
   * The highest block that is newly final, when the chain calls `number` final, and `block` where it names one; null for none. Only what was
   * seen can be, so that it can be told later whether it changed.
   */
  findFinal(number: number, block: BlockId | null): BlockId | null {
    const { alarm, cursor, finalized } = this;
    if (alarm !== null || cursor === null || number <= finalized) return null;
    const seen = this.seenAt(Math.min(number, cursor.number));
    if (block !== null && block.number <= cursor.number && block.number !== seen?.number) return block;
    // Another hash than was seen there: a reorg that the next look will find, and nothing to call final.
    if (seen === null || seen.number <= finalized || (block?.number === seen.number && block.hash !== seen.hash))
      return null;
    return seen;
  }

  private countUpTo(contract: Contract, number: number | null): number {
    const { index } = EVENTS[contract];
    const where = number === null ? "" : "WHERE block_number <= ?";
    const sql = `SELECT ${index} AS "index" FROM ${contract} ${where} ORDER BY ${index} DESC LIMIT 1`;
    const row = this.statements.prepare<{ index: number }>(sql).get(...(number === null ? [] : [number]));
    return row === undefined ? 0 : row.index + 1;
  }
}
