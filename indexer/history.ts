/**
 * The one history that this index holds: the replay in memory and its rows on disk, changed together. Every change is one
 * transaction with its cursor, so after a crash the index is as it was before or after it, and both are true.
 */
import type Database from "better-sqlite3";

import type { Anchor } from "../protocol/anchor.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import { omissionsOf, type Omissions } from "../protocol/entry.ts";
import type { ChainEvent, KeyEvent } from "../protocol/event.ts";
import { checkKeyDocument, decodeKeyDocument } from "../protocol/key-document.ts";
import type { Tip } from "../protocol/manifest.ts";
import { Replay } from "../protocol/replay.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import { MISSING, rejectedBy, VERIFIED, type Verdict } from "../protocol/verdict.ts";
import { ContentCache } from "./store/content-cache.ts";
import { DerivedRows } from "./store/derived-rows.ts";
import { EventLog, type BlockId, type Cursor, type EventCounts } from "./store/event-log.ts";

/** New blocks of the chain, all of them canonical when they were read. */
export interface Extension {
  readonly events: readonly ChainEvent[];
  /** The last block read. */
  readonly cursor: Cursor;
  /** The highest final block. */
  readonly finalized: number;
}

const MAX_KEPT_OMISSIONS = 1_000;

export class History {
  readonly deployment: Deployment;
  readonly log: EventLog;
  /** Goes up with every change; what is computed from one revision may be kept until the next. */
  revision = 0;
  private readonly database: Database.Database;
  private readonly content: ContentCache;
  private readonly rows: DerivedRows;
  private current: Replay;
  private keyCount = 0;
  private committedCounts: EventCounts = { anchors: 0, keys: 0 };
  /** What the replay and the key documents wait for. */
  private wanted = new Set<Cid>();
  private readonly awaitedDocuments = new Map<Cid, KeyEvent[]>();
  /** Undecided anchors as their rows say; a row is only written again when it changes. */
  private readonly waitingFor = new Map<number, string>();
  /** Shards and heads of anchors that wait for their base: fetched ahead, so that a long line is not as many rounds. */
  private readonly ahead = new Map<number, readonly Cid[]>();
  private readonly omissionsByRoom = new Map<RoomId, Omissions>();
  private writtenTip: Tip | null = null;
  /** A transaction failed: the replay in memory may know more than the disk. */
  private isTainted = false;

  /** Rebuilds the replay from the stored events and content; no signature is verified twice. */
  constructor(database: Database.Database, deployment: Deployment) {
    this.database = database;
    this.deployment = deployment;
    this.log = new EventLog(database);
    this.content = new ContentCache(database);
    this.rows = new DerivedRows(database, deployment);
    this.current = this.emptyReplay();
    this.change(() => this.rebuild());
  }

  /** For what is not in rows; as new as they are. */
  get replay(): Replay {
    return this.current;
  }

  /** Of what the disk has; the replay may be ahead of it after a failure. */
  get counts(): EventCounts {
    return this.committedCounts;
  }

  /** The blocks without which something stays undecided. */
  get missing(): ReadonlySet<Cid> {
    return this.wanted;
  }

  extend({ events, cursor, finalized }: Extension): void {
    this.change(() => {
      this.log.append(events);
      this.log.cursor = cursor;
      this.raiseFinalized(finalized);
      this.log.prune();
      if (events.length > 0) this.apply(events);
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
      this.truncate(ancestor);
    });
  }

  /** Steps back below a block, to read from there again what a node left out. */
  rewind(blockNumber: number): void {
    this.change(() => this.truncate(this.log.seenAt(blockNumber - 1)));
  }

  finalize(number: number): void {
    const { finalized, alarm } = this.log;
    if (alarm === null && number > finalized) this.change(() => this.raiseFinalized(number));
  }

  /** Takes blocks that were fetched, each the one that its CID names. */
  receive(blocks: ReadonlyMap<Cid, Uint8Array>): void {
    this.change(() => {
      for (const [cid, bytes] of blocks) {
        this.content.put(cid, bytes);
        this.wanted.delete(cid);
        for (const event of this.awaitedDocuments.get(cid) ?? []) {
          this.rows.writeKeyDocument(event, this.keyDocumentVerdict(event, bytes));
        }
        this.awaitedDocuments.delete(cid);
      }
      this.settle();
    });
  }

  /** What a room's messages say is missing or forked. Takes a look at all of them, so it is kept until the room changes. */
  omissions(room: RoomId): Omissions {
    let omissions = this.omissionsByRoom.get(room);
    if (omissions === undefined) {
      omissions = omissionsOf(this.current.entries(room));
      if (this.omissionsByRoom.size >= MAX_KEPT_OMISSIONS) this.omissionsByRoom.clear();
      this.omissionsByRoom.set(room, omissions);
    }
    return omissions;
  }

  block(cid: Cid): Uint8Array | undefined {
    return this.content.get(cid);
  }

  private change(work: () => void): void {
    try {
      // A crash before the commit leaves the index at the change before; the chain and the content are read again.
      this.database
        .transaction(() => {
          if (this.isTainted) this.rebuild();
          work();
        })
        .immediate();
      this.isTainted = false;
      this.committedCounts = { anchors: this.current.anchors.length, keys: this.keyCount };
      this.revision += 1;
    } catch (error) {
      this.isTainted = true;
      throw error;
    }
  }

  private truncate(ancestor: BlockId | null): void {
    const removed = this.log.truncate(ancestor);
    this.log.cursor = ancestor === null ? null : { ...ancestor, timestamp: null };
    // Blocks without events leave no trace in the replay.
    if (removed > 0) this.rebuild();
  }

  private raiseFinalized(number: number): void {
    if (this.log.alarm === null && number > this.log.finalized) this.log.finalized = number;
  }

  private rebuild(): void {
    this.rows.clear();
    this.current = this.emptyReplay();
    this.keyCount = 0;
    this.wanted = new Set();
    this.awaitedDocuments.clear();
    this.waitingFor.clear();
    this.ahead.clear();
    this.omissionsByRoom.clear();
    this.writtenTip = null;
    this.apply(this.log.all());
  }

  private emptyReplay(): Replay {
    return new Replay(this.deployment, (claims) => this.content.verifySignatures(claims));
  }

  private apply(events: Iterable<ChainEvent>): void {
    for (const event of events) {
      this.current.add(event);
      if (event.kind === "anchor") continue;
      this.keyCount += 1;
      if (event.kind === "revocation") {
        this.rows.writeRevocation(event);
        continue;
      }
      const key = this.current.keys.history(event.wallet).at(-1);
      if (key !== undefined && "verdict" in key) this.rows.writeKey(key, this.awaitKeyDocument(event));
    }
    this.settle();
  }

  private awaitKeyDocument(event: KeyEvent): Verdict {
    const cid = cidOfDigest(event.document);
    const verdict = this.keyDocumentVerdict(event, this.content.get(cid));
    if (verdict.status === "missing") {
      this.awaitedDocuments.set(cid, [...(this.awaitedDocuments.get(cid) ?? []), event]);
    }
    return verdict;
  }

  private keyDocumentVerdict(event: KeyEvent, bytes: Uint8Array | undefined): Verdict {
    if (bytes === undefined) return MISSING;
    try {
      checkKeyDocument(decodeKeyDocument(bytes), this.deployment, event);
      return VERIFIED;
    } catch (error) {
      return rejectedBy(error);
    }
  }

  /** Lets the replay decide what it can, and writes what it decided. */
  private settle(): void {
    // What was missing after the last time still is, unless it arrived: that saves a look-up for each of them.
    const { anchors, entries } = this.current.settle((cid) =>
      this.wanted.has(cid) ? undefined : this.content.get(cid),
    );
    const touched = new Set<RoomId>();
    for (const anchor of anchors) {
      this.waitingFor.delete(anchor.event.index);
      this.ahead.delete(anchor.event.index);
      this.rows.writeAnchor(anchor);
      if (anchor.verdict.status !== "verified") continue;
      const listed = this.current.entriesOf(anchor.event.index);
      this.rows.listEntries(listed);
      for (const { room } of listed) touched.add(room);
    }
    for (const entry of entries) {
      this.rows.writeEntry(entry);
      this.omissionsByRoom.delete(entry.room);
    }
    for (const anchor of this.current.anchors) {
      if (anchor.verdict.status !== "missing") continue;
      this.lookAhead(anchor);
      const waiting = `${anchor.manifest === null ? "" : "manifest "}${anchor.wants.join(" ")}`;
      if (this.waitingFor.get(anchor.event.index) === waiting) continue;
      this.waitingFor.set(anchor.event.index, waiting);
      this.rows.writeAnchor(anchor);
    }
    this.writeState(touched);
    this.wanted = this.current.missing();
    for (const cid of this.awaitedDocuments.keys()) this.wanted.add(cid);
    for (const cids of this.ahead.values()) for (const cid of cids) this.wanted.add(cid);
  }

  private lookAhead({ event, manifest, wants }: Anchor): void {
    if (manifest === null || wants.length > 0) return;
    const known = this.ahead.get(event.index);
    // Asked of the disk once; afterwards, what arrived is not wanted any more.
    const lacking =
      known?.filter((cid) => this.wanted.has(cid)) ??
      [...manifest.rooms, ...manifest.heads].filter((cid) => !this.content.has(cid));
    this.ahead.set(event.index, lacking);
  }

  /** Counts and roots of the rooms that changed with the tip. */
  private writeState(listed: ReadonlySet<RoomId>): void {
    const { tip } = this.current;
    if (tip === this.writtenTip && listed.size === 0) return;
    const touched = new Set(listed);
    let index = tip?.index ?? null;
    while (index !== null && index !== this.writtenTip?.index) {
      const { delta, manifest } = this.current.anchors[index] ?? {};
      for (const room of delta?.keys() ?? []) touched.add(room);
      index = manifest?.base?.index ?? null;
    }
    // The new tip does not build on the old one: rooms of the old line may have lost messages.
    const rooms = index === (this.writtenTip?.index ?? null) ? touched : this.current.rooms;
    for (const room of rooms) this.rows.writeRoom(room, this.current.state);
    this.rows.writeTip(tip);
    this.writtenTip = tip;
  }
}
