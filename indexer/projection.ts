/**
 * What the replay (SPEC 8) makes of the events so far, kept as rows: the engine of protocol/ on the index's store. After a start, only
 * what is undecided is in memory.
 */
import type Database from "better-sqlite3";

import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { contractOf, type ChainEvent, type EventCounts } from "../protocol/event.ts";
import type { Tip } from "../protocol/manifest.ts";
import { ReplayEngine } from "../protocol/replay/engine.ts";
import type { Deployment } from "../protocol/room.ts";
import type { MessageReader } from "./message-reader.ts";
import type { ChangeLog } from "./store/change-log.ts";
import type { ContentCache } from "./store/content-cache.ts";
import type { KeyRows } from "./store/key-rows.ts";
import { IndexStore } from "./store/index-store.ts";
import { WantRows } from "./store/want-rows.ts";

/** Blocks that one step looks at. */
const STEP_BLOCKS = 256;

/** Only good as long as every transaction that it wrote in was committed; after a rollback a new one has to be made. */
export class Projection {
  /** The blocks without which something stays undecided. */
  readonly missing: WantRows;
  private readonly content: ContentCache;
  private readonly store: IndexStore;
  private readonly engine: ReplayEngine;
  /** What was offered; what stands before `looked` was looked at. */
  private received: Cid[] = [];
  private looked = 0;
  private counts: EventCounts;

  /** Goes on from what the rows say. */
  constructor(
    database: Database.Database,
    deployment: Deployment,
    content: ContentCache,
    changes: ChangeLog,
    counts: EventCounts,
    reader: MessageReader,
  ) {
    this.content = content;
    this.missing = new WantRows(database);
    this.counts = counts;
    this.store = new IndexStore({
      database,
      deployment,
      content,
      changes,
      missing: this.missing,
    });
    this.engine = new ReplayEngine(deployment, this.store, { reader });
    const { anchors, parts } = this.store;
    this.engine.resume(parts.listing(), anchors.undecided());
  }

  get keys(): KeyRows {
    return this.store.keys;
  }

  /** The verified manifest with the highest index. */
  get tip(): Tip | null {
    const { states, anchors } = this.store;
    const { tip } = states;
    const anchor = tip === null ? null : anchors.tip(tip);
    return anchor && { ...anchor, state: states.stateAt(anchor.index) };
  }

  /** Whether {@link work} has nothing to do. */
  get isIdle(): boolean {
    return this.looked === this.received.length && this.engine.isIdle;
  }

  /** Takes the next events, in chain order. {@link work} has to follow. */
  apply(events: Iterable<ChainEvent>): void {
    for (const event of events) {
      this.count(event);
      this.engine.add(event);
    }
  }

  /** Takes blocks that the content cache offers. {@link work} has to follow. */
  receive(blocks: ReadonlyMap<Cid, Uint8Array>): void {
    for (const cid of blocks.keys()) this.received.push(cid);
  }

  /** Goes on with what was taken, step by step, until `isEnough` or nothing is left. What it found out is then in the rows. */
  work(isEnough: () => boolean): void {
    // One step at least, or a turn could come to nothing for ever.
    while (this.step() && !isEnough());
    this.store.flush();
    if (this.isIdle) this.missing.settle();
  }

  /** Takes back all events of each contract but the given number of first ones. Every verdict rests on what came before it, so none changes. */
  truncate(left: EventCounts): void {
    this.store.truncate(left.anchors, left.keys);
    this.store.tally.countKeys(left.keys - this.counts.keys);
    this.counts = left;
    this.store.flush();
  }

  /** Does one piece of the work that is left. @returns whether there was any */
  private step(): boolean {
    // A shard comes before its messages. What it lists is found among what came with it, and needs no look of its own.
    if (!this.engine.isIdle || this.looked === this.received.length) return this.engine.step();
    for (let blocks = 0; blocks < STEP_BLOCKS; blocks++) {
      const cid = this.received[this.looked];
      if (cid === undefined) break;
      this.looked += 1;
      if (this.receiveOne(cid)) return true;
    }
    if (this.looked === this.received.length) {
      this.received = [];
      this.looked = 0;
    }
    return true;
  }

  /** @returns whether it may be the manifest, a shard or a heads block of an anchor */
  private receiveOne(cid: Cid): boolean {
    const bytes = !this.store.isSettled(cid) && this.missing.has(cid) ? this.content.look(cid) : undefined;
    if (bytes === undefined) return false;
    const isNamedByAnchor = this.missing.isNamedByAnchor(cid);
    this.missing.arrive(cid);
    this.store.receiveDocument(cid, bytes);
    if (!isNamedByAnchor) return false;
    // Kept before it is judged, so that no later turn has to do without it.
    this.content.take(cid);
    this.engine.receive(cid);
    return this.store.mayBePartOfAnchor(cid);
  }

  private count(event: ChainEvent): void {
    const contract = contractOf(event);
    const due = this.counts[contract];
    if (event.index !== due)
      throw new DmtpError("CHAIN_INCOMPLETE", `event ${event.index} of ${contract} came where ${due} was due`);
    this.counts = { ...this.counts, [contract]: due + 1 };
    if (contract === "keys") this.store.tally.countKeys(1);
  }
}
