/** The chain as it was read: events in chain order, hashes of blocks that were seen, and the cursor. */
import type Database from "better-sqlite3";

import { fromHex, toHex, type Hex } from "../../protocol/bytes.ts";
import type { AnchorEvent, ChainEvent, KeyEvent, RevocationEvent } from "../../protocol/event.ts";
import { readMeta, writeMeta } from "./meta.ts";

/** A block by number and hash. */
export interface BlockId {
  readonly number: number;
  readonly hash: Hex;
}

/** How far the chain has been read. The block's time is in Unix seconds, and null after a step back. */
export interface Cursor extends BlockId {
  readonly timestamp: number | null;
}

/** How many events of each contract there are; also the index that its next one has. */
export interface EventCounts {
  readonly anchors: number;
  readonly keys: number;
}

type Contract = keyof EventCounts;

/** An event that a reorg took out of the chain, or a step back for a gap. */
export interface Orphan extends BlockId {
  readonly logIndex: number;
  readonly contract: Contract;
}

const PAGE = 10_000;

export class EventLog {
  private readonly database: Database.Database;
  private readonly insertEvent: Database.Statement<[number, number, Contract, string]>;
  private readonly seeBlock: Database.Statement<[number, Hex, 0 | 1]>;

  constructor(database: Database.Database) {
    this.database = database;
    this.insertEvent = database.prepare("INSERT INTO events VALUES (?, ?, ?, ?)");
    this.seeBlock = database.prepare(
      `INSERT INTO seen_blocks VALUES (?, ?, ?) ON CONFLICT (number)
       DO UPDATE SET hash = excluded.hash, has_events = max(has_events, excluded.has_events)`,
    );
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

  append(events: readonly ChainEvent[]): void {
    let seen = -1;
    for (const event of events) {
      const { blockNumber, blockHash, logIndex } = event;
      this.insertEvent.run(blockNumber, logIndex, contractOf(event), encodeEvent(event));
      if (blockNumber !== seen) this.see({ number: blockNumber, hash: blockHash }, 1);
      seen = blockNumber;
    }
  }

  /** Every event, in chain order. */
  *all(): Generator<ChainEvent> {
    // In pages: a statement that is being iterated keeps the connection from doing anything else.
    const page = this.database.prepare<[number, number], { block_number: number; log_index: number; body: string }>(
      `SELECT block_number, log_index, body FROM events WHERE (block_number, log_index) > (?, ?)
       ORDER BY block_number, log_index LIMIT ${PAGE}`,
    );
    let after: [number, number] = [-1, -1];
    for (;;) {
      const rows = page.all(...after);
      for (const { body } of rows) yield decodeEvent(body);
      const last = rows.at(-1);
      if (last === undefined) return;
      after = [last.block_number, last.log_index];
    }
  }

  /** The block of a contract's last event, or null without one. */
  lastBlockOf(contract: Contract): number | null {
    const row = this.database
      .prepare<[Contract], { number: number | null }>(
        "SELECT max(block_number) AS number FROM events WHERE contract = ?",
      )
      .get(contract);
    return row?.number ?? null;
  }

  /** The highest seen block up to this number. */
  seenAt(number: number): BlockId | null {
    const statement = this.database.prepare<[number], BlockId>(
      "SELECT number, hash FROM seen_blocks WHERE number <= ? ORDER BY number DESC LIMIT 1",
    );
    return statement.get(number) ?? null;
  }

  /** Seen blocks up to this number, highest first. */
  seenUpTo(number: number): BlockId[] {
    return this.database
      .prepare<[number], BlockId>("SELECT number, hash FROM seen_blocks WHERE number <= ? ORDER BY number DESC")
      .all(number);
  }

  /** Takes what lies above a seen block (null: everything) out of the chain, and says how many events that were. */
  truncate(ancestor: BlockId | null): number {
    const number = ancestor?.number ?? -1;
    this.database.prepare("DELETE FROM seen_blocks WHERE number > ?").run(number);
    // Kept apart: when one of these blocks is read again, it has to have the same events.
    this.database
      .prepare(
        `INSERT OR REPLACE INTO orphans
         SELECT body ->> 'blockHash', log_index, block_number, contract, body FROM events WHERE block_number > ?`,
      )
      .run(number);
    return this.database.prepare("DELETE FROM events WHERE block_number > ?").run(number).changes;
  }

  /** The events that were read in a range of blocks and taken out of the chain, or read again since. */
  orphansBetween(from: number, to: number): Orphan[] {
    return this.database
      .prepare<[number, number], Orphan>(
        `SELECT block_number AS number, block_hash AS hash, log_index AS logIndex, contract FROM orphans
         WHERE block_number BETWEEN ? AND ? ORDER BY block_number, log_index`,
      )
      .all(from, to);
  }

  /** Forgets the blocks below what is final that no event needs; the highest final one stays, to come back to. */
  prune(): void {
    this.database
      .prepare(
        `DELETE FROM seen_blocks
         WHERE has_events = 0 AND number < (SELECT max(number) FROM seen_blocks WHERE number <= ?)`,
      )
      .run(this.finalized);
  }

  /** Notes the hash of a block of the chain. */
  see({ number, hash }: BlockId, hasEvents: 0 | 1): void {
    this.seeBlock.run(number, hash, hasEvents);
  }
}

export function contractOf(event: ChainEvent): Contract {
  return event.kind === "anchor" ? "anchors" : "keys";
}

/** A key event as JSON has it. */
type KeyEventRow = {
  readonly [Name in keyof KeyEvent]: KeyEvent[Name] extends Uint8Array | bigint ? string : KeyEvent[Name];
};

/** Bytes become hexadecimal text and the deadline decimal text; everything else is JSON already. */
function encodeEvent(event: ChainEvent): string {
  if (event.kind !== "key") return JSON.stringify(event);
  return JSON.stringify(event, (_, value: unknown) => {
    if (value instanceof Uint8Array) return toHex(value);
    return typeof value === "bigint" ? value.toString() : value;
  });
}

/** Only reads what {@link encodeEvent} wrote into this process's own file, so it is not parsed again. */
function decodeEvent(body: string): ChainEvent {
  const row = JSON.parse(body) as AnchorEvent | RevocationEvent | KeyEventRow;
  if (row.kind !== "key") return row;
  return {
    ...row,
    encryptionKey: fromHex(row.encryptionKey),
    signingKey: fromHex(row.signingKey),
    document: fromHex(row.document),
    signature: fromHex(row.signature),
    deadline: BigInt(row.deadline),
  };
}
