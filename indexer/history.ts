/**
 * The one history that this index holds. Every change is one transaction with its cursor, so after a crash the index is as it
 * was before or after it, and both are true.
 */
import type Database from "better-sqlite3";

import type { Cid } from "../protocol/cid.ts";
import type { Omissions } from "../protocol/entry.ts";
import type { ChainEvent } from "../protocol/event.ts";
import type { Replay } from "../protocol/replay.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import { Projection } from "./projection.ts";
import { ChangeLog, type Cause } from "./store/change-log.ts";
import { ContentCache } from "./store/content-cache.ts";
import { DerivedRows } from "./store/derived-rows.ts";
import { EventLog, type BlockId, type Cursor, type EventCounts } from "./store/event-log.ts";

/** New blocks of the chain, all of them canonical when they were read. */
export interface Extension {
  readonly events: readonly ChainEvent[];
  /** The last block read. */
  readonly cursor: Cursor;
  /** The highest final block, and itself where the chain named it. */
  readonly finalized: number;
  readonly finalizedBlock?: BlockId | null;
}

export class History {
  readonly deployment: Deployment;
  readonly log: EventLog;
  readonly changes: ChangeLog;
  /** Called after every change, once it is on disk. */
  onCommit: () => void = () => undefined;
  /** Of what the disk has; the projection may be ahead of it after a failure. */
  counts: EventCounts = { anchors: 0, keys: 0 };
  private readonly database: Database.Database;
  private readonly content: ContentCache;
  private readonly rows: DerivedRows;
  /** Null after a transaction failed: what is in memory may not be what is on disk. */
  private projection: Projection | null = null;

  /** Replays what is stored. */
  constructor(database: Database.Database, deployment: Deployment) {
    this.database = database;
    this.deployment = deployment;
    this.log = new EventLog(database);
    this.content = new ContentCache(database);
    this.rows = new DerivedRows(database, deployment);
    this.changes = new ChangeLog(database);
    this.change(() => undefined);
  }

  /** The blocks without which something stays undecided. */
  get missing(): ReadonlySet<Cid> {
    return this.current.missing;
  }

  /** For what is not in rows; as new as they are. */
  get replay(): Replay {
    return this.current.replay;
  }

  omissions(room: RoomId): Omissions {
    return this.current.omissions(room);
  }

  block(cid: Cid): Uint8Array | undefined {
    return this.content.get(cid);
  }

  extend({ events, cursor, finalized, finalizedBlock = null }: Extension): void {
    this.change((projection) => {
      this.log.append(events);
      this.log.cursor = cursor;
      this.raiseFinalized(finalized, finalizedBlock);
      this.log.prune();
      if (events.length > 0) projection.apply(events);
    });
  }

  /** Takes blocks that were fetched, each the one that its CID names. */
  receive(blocks: ReadonlyMap<Cid, Uint8Array>): void {
    this.change((projection) => {
      for (const [cid, bytes] of blocks) this.content.put(cid, bytes);
      projection.receive(blocks);
    });
  }

  /** Takes back what a reorg orphaned: everything above the last seen block that still stands, null when none does. */
  reorganize(ancestor: BlockId | null): void {
    this.change(() => {
      const number = ancestor?.number ?? -1;
      if (number < this.log.finalized) {
        // Nothing above the ancestor is called final, now or later: a node that broke this word once may do so again.
        this.log.alarm = `block ${this.log.finalized} was final, and the chain changed above block ${number}`;
        this.log.finalized = number;
      }
      this.truncate("reorg", ancestor);
    });
  }

  /** Steps back below a block, to read from there again what a node left out. */
  rewind(blockNumber: number): void {
    this.change(() => this.truncate("gap", this.log.seenAt(blockNumber - 1)));
  }

  finalize(number: number, block: BlockId | null = null): void {
    if (this.finalUpTo(number, block) !== null) this.change(() => this.raiseFinalized(number, block));
  }

  private get current(): Projection {
    // After a failure that lasts (a full disk), this throws again rather than to answer from a memory that may be wrong.
    if (this.projection === null) this.change(() => undefined);
    return this.projection ?? this.project();
  }

  private change(work: (projection: Projection) => void): void {
    try {
      // A crash before the commit leaves the index at the change before; the chain and the content are read again.
      this.database
        .transaction(() => {
          work(this.projection ?? this.project());
          this.changes.prune();
        })
        .immediate();
    } catch (error) {
      this.projection = null;
      throw error;
    }
    if (this.projection !== null) {
      this.counts = { anchors: this.projection.replay.anchors.length, keys: this.projection.keyCount };
    }
    this.onCommit();
  }

  /** Makes the projection, and the rows, anew from the stored events and content. */
  private project(): Projection {
    const projection = new Projection(this.deployment, this.content, this.rows, this.changes);
    this.changes.paused(() => projection.apply(this.log.all()));
    this.projection = projection;
    return projection;
  }

  private truncate(cause: Cause, ancestor: BlockId | null): void {
    this.changes.recordReorg(cause, ancestor, (this.log.cursor?.number ?? 0) - (ancestor?.number ?? 0));
    const removed = this.log.truncate(ancestor);
    this.log.cursor = ancestor === null ? null : { ...ancestor, timestamp: null };
    // Blocks without events leave no trace in the projection.
    if (removed > 0) this.project();
  }

  private raiseFinalized(number: number, block: BlockId | null): void {
    const final = this.finalUpTo(number, block);
    if (final === null) return;
    this.log.see(final, 0);
    this.log.finalized = final.number;
  }

  /** What more is final. Only what was seen can be, so that it can be told later whether it changed; null for no more. */
  private finalUpTo(number: number, block: BlockId | null): BlockId | null {
    const { alarm, cursor, finalized } = this.log;
    if (alarm !== null || cursor === null || number <= finalized) return null;
    const seen = this.log.seenAt(Math.min(number, cursor.number));
    if (block !== null && block.number <= cursor.number && block.number !== seen?.number) return block;
    // Another hash than was seen there: a reorg that the next look will find, and nothing to call final.
    if (seen === null || seen.number <= finalized || (block?.number === seen.number && block.hash !== seen.hash))
      return null;
    return seen;
  }
}
