/**
 * The one history that this index holds. Every change is one transaction with its cursor, so after a crash the index is as it
 * was before or after it, and both are true.
 */
import type Database from "better-sqlite3";

import { translated } from "../io/database.ts";
import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainEvent, EventCounts } from "../protocol/event.ts";
import type { Tip } from "../protocol/manifest.ts";
import type { Deployment } from "../protocol/room.ts";
import { MessageReader } from "./message-reader.ts";
import { Projection } from "./projection.ts";
import { BlockLog, type BlockId, type Cursor } from "./store/block-log.ts";
import { ChangeLog, type Cause } from "./store/change-log.ts";
import { ContentCache } from "./store/content-cache.ts";
import type { CidSet, WantList } from "./want-list.ts";

/** New blocks of the chain, all of them canonical when they were read. */
export interface Extension {
  readonly events: readonly ChainEvent[];
  /** The last block read. */
  readonly cursor: Cursor;
  /** The highest final block, and itself where the chain named it. */
  readonly finalized: number;
  readonly finalizedBlock?: BlockId | null;
  /** Whether most of the nodes say so; what others say is read again once they do. */
  readonly isConfirmed?: boolean;
  /** The blocks among those that the events name which are available locally. */
  readonly blocks?: ReadonlyMap<Cid, Uint8Array> | undefined;
}

/** How the work on one anchor is divided, so that whoever shares the thread has a turn. */
export interface Turns {
  /** Milliseconds after which a transaction ends, though work is left. */
  readonly maxMs: number;
  readonly now: () => number;
  /** Calls `next` after others had their turn, and not before `delayMs`. */
  readonly defer: (next: () => void, delayMs: number) => void;
  /** Called after a turn that was deferred: it may have found out what more is missing. */
  readonly onTurn: () => void;
  /** Told of a turn that could not be written; it is tried again. */
  readonly onFailure: (error: unknown) => void;
}

const RETRY_MS = 1_000;

export class History {
  readonly deployment: Deployment;
  readonly log: BlockLog;
  readonly changes: ChangeLog;
  /** Called after every change, once it is on disk. */
  onCommit: () => void = () => undefined;
  /** Why the last change could not be written, for example a full disk; null when it was written. */
  failure: DmtpError | null = null;
  private readonly database: Database.Database;
  private readonly content: ContentCache;
  private readonly reader: MessageReader;
  private readonly turns: Turns | null;
  private projection: Projection;
  /** Whether what the projection has in memory may not be what is on disk: then the next change makes another first. */
  private isStale = false;
  private isDeferred = false;
  private isClosed = false;

  /**
   * Goes on from what is stored.
   * @param turns null to do all work in the transaction that brought it
   */
  constructor(
    database: Database.Database,
    deployment: Deployment,
    reader = new MessageReader(),
    turns: Turns | null = null,
  ) {
    this.database = database;
    this.reader = reader;
    this.turns = turns;
    this.deployment = deployment;
    this.log = new BlockLog(database);
    this.content = new ContentCache(database);
    this.changes = new ChangeLog(database);
    this.projection = this.project();
    this.goOn();
  }

  /** Whether what was taken is not all worked on yet. */
  get isBusy(): boolean {
    return this.isStale || !this.projection.isIdle;
  }

  /** Whether turns are still to come for what was taken. */
  get isAtWork(): boolean {
    return this.turns !== null && !this.isStale && !this.projection.isIdle;
  }

  get counts(): EventCounts {
    return this.log.counts;
  }

  /** The blocks without which something stays undecided. */
  get missing(): CidSet & WantList {
    return this.projection.missing;
  }

  /** Where the line of manifests stands that the next anchor should build on. */
  get tip(): Tip | null {
    return this.projection.tip;
  }

  block(cid: Cid): Uint8Array | undefined {
    return this.content.read(cid);
  }

  extend({
    events,
    cursor,
    finalized,
    finalizedBlock = null,
    isConfirmed = true,
    blocks = new Map(),
  }: Extension): void {
    this.change((projection) => {
      if (!isConfirmed) this.log.unconfirmedFrom ??= (this.log.cursor?.number ?? -1) + 1;
      this.log.append(events);
      this.log.cursor = cursor;
      this.log.raiseFinalized(finalized, finalizedBlock);
      this.log.prune();
      if (events.length === 0) return;
      // Without them, they are fetched.
      if (!this.content.isFull) {
        this.content.offer(blocks);
        // What waited for one of these first: what comes now finds them on disk, and nothing that waits for them.
        projection.receive(blocks);
      }
      projection.apply(events);
    });
  }

  /** The contracts were found to count at the cursor what was read. */
  prove(): void {
    const { cursor } = this.log;
    if (cursor !== null) this.change(() => (this.log.cursor = { ...cursor, isProved: true }));
  }

  /** Lets other threads verify messages that {@link receive} will be given soon. Never rejects. */
  readAhead(blocks: Iterable<Uint8Array>): Promise<void> {
    return this.reader.readAhead(blocks, (wallet) => this.projection.keys.history(wallet));
  }

  /** Takes blocks that were fetched, each the one that its CID names. Those that nothing waits for are not kept. */
  receive(blocks: ReadonlyMap<Cid, Uint8Array>): void {
    this.change((projection) => {
      this.content.offer(blocks);
      projection.receive(blocks);
    });
  }

  /** Takes back what a reorg orphaned: everything above the last seen block that still stands, null when none does. */
  reorganize(ancestor: BlockId | null): void {
    this.change((projection) => {
      const number = ancestor?.number ?? -1;
      if (number < this.log.finalized) {
        // Nothing above the ancestor is called final, now or later: a node that broke this word once may do so again.
        this.log.alarm = `block ${this.log.finalized} was final, and the chain changed above block ${number}`;
        this.log.finalized = number;
      }
      this.truncate(projection, "reorg", ancestor);
    });
  }

  /** Steps back below a block, to read from there again what a node left out. */
  rewind(blockNumber: number): void {
    this.change((projection) => this.truncate(projection, "gap", this.log.seenAt(blockNumber - 1)));
  }

  /** Steps back below what most of the nodes did not say when it was read, to read it from them. */
  withdrawUnconfirmed(): void {
    this.change((projection) => {
      const from = this.log.unconfirmedFrom;
      if (from === null) return;
      this.truncate(projection, "gap", this.log.seenAt(from - 1));
      this.log.forgetOrphans(from);
      this.log.unconfirmedFrom = null;
    });
  }

  /** Does no more work; the database may be closed. */
  close(): void {
    this.isClosed = true;
  }

  finalize(number: number, block: BlockId | null = null): void {
    if (this.log.findFinal(number, block) !== null) this.change(() => this.log.raiseFinalized(number, block));
  }

  /** Does `work`, and what follows from it, for as long as one turn may last; the rest is done in turns of its own. */
  private change(work: (projection: Projection) => void): void {
    const { turns } = this;
    try {
      // A crash before the commit leaves the index at the change before; the chain and the content are read again.
      const transaction = this.database.transaction(() => {
        const endMs = turns === null ? 0 : turns.now() + turns.maxMs;
        if (this.isStale) this.recover();
        work(this.projection);
        this.projection.work(() => turns !== null && turns.now() >= endMs);
        this.changes.prune();
      });
      translated(() => {
        transaction.immediate();
      }, "the index");
      this.failure = null;
    } catch (error) {
      if (error instanceof DmtpError && error.code.startsWith("DATABASE_")) this.failure = error;
      // They may be ahead of the disk.
      this.isStale = true;
      this.content.withdraw();
      this.changes.discard();
      this.tryToRecover();
      // What the rows say is left to do goes on, whether or not somebody brings something more.
      if (turns !== null) this.defer(turns, RETRY_MS);
      throw error;
    }
    this.goOn();
    this.onCommit();
  }

  /** Has the next turn come, when work is left. */
  private goOn(): void {
    const { projection, turns } = this;
    if (projection.isIdle) this.content.withdraw();
    else if (turns === null) this.change(() => undefined);
    else this.defer(turns, 0);
  }

  private defer(turns: Turns, delayMs: number): void {
    if (this.isDeferred) return;
    this.isDeferred = true;
    turns.defer(() => {
      this.isDeferred = false;
      if (this.isClosed) return;
      try {
        this.change(() => undefined);
        turns.onTurn();
      } catch (error) {
        turns.onFailure(error);
        this.defer(turns, RETRY_MS);
      }
    }, delayMs);
  }

  private tryToRecover(): void {
    try {
      this.recover();
    } catch {
      // The disk can't be read either: the next change tries again.
    }
  }

  private recover(): void {
    this.projection = this.project();
    this.isStale = false;
  }

  private project(): Projection {
    return new Projection(this.database, this.deployment, this.content, this.changes, this.counts, this.reader);
  }

  private truncate(projection: Projection, cause: Cause, ancestor: BlockId | null): void {
    this.changes.recordReorg(cause, ancestor, (this.log.cursor?.number ?? 0) - (ancestor?.number ?? 0));
    const before = this.counts;
    const left = this.log.truncate(ancestor);
    this.log.cursor = ancestor === null ? null : { ...ancestor, timestamp: null, isProved: false };
    // Blocks without events leave no trace in the projection.
    if (left.anchors === before.anchors && left.keys === before.keys) return;
    projection.truncate(left);
    // Of what was taken back, nothing is waited for.
    this.recover();
  }
}
