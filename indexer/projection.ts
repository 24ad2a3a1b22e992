/**
 * What the replay (SPEC 8) makes of the events so far, kept as rows. Each verdict is given once, by the functions of protocol/
 * that every other replay uses; after a start, only what is undecided is in memory.
 */
import type Database from "better-sqlite3";

import { contractOf } from "../io/chain/gap.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import { findOmissions, type Omissions } from "../protocol/omissions.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainEvent, KeyEvent } from "../protocol/event.ts";
import { verifyKeyDocument } from "../protocol/key-document.ts";
import { verifyKey } from "../protocol/keys.ts";
import type { Tip } from "../protocol/manifest.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import { AnchorJudge } from "./anchor-judge.ts";
import { EntryJudge } from "./entry-judge.ts";
import type { MessageReader } from "./message-reader.ts";
import { MissingContent } from "./missing-content.ts";
import { AnchorRows } from "./store/anchor-rows.ts";
import type { EventCounts } from "./store/block-log.ts";
import type { ChangeLog } from "./store/change-log.ts";
import type { ContentCache } from "./store/content-cache.ts";
import { CidRows } from "./store/cid-rows.ts";
import { EntryRows } from "./store/entry-rows.ts";
import { KeyRows } from "./store/key-rows.ts";
import { RoomRows } from "./store/room-rows.ts";
import { StateRows } from "./store/state-rows.ts";
import { Tally } from "./store/tally.ts";

const MAX_KEPT_OMISSIONS = 1_000;

/** Only good as long as every transaction that it wrote in was committed; after a rollback a new one has to be made. */
export class Projection {
  /** The blocks without which something stays undecided. */
  readonly missing = new MissingContent();
  readonly keys: KeyRows;
  readonly states: StateRows;
  private readonly deployment: Deployment;
  private readonly content: ContentCache;
  private readonly changes: ChangeLog;
  private readonly tally: Tally;
  private readonly anchorRows: AnchorRows;
  private readonly entryRows: EntryRows;
  private readonly roomRows: RoomRows;
  private readonly anchors: AnchorJudge;
  private readonly entries: EntryJudge;
  private readonly omissionsByRoom = new Map<RoomId, Omissions>();
  private readonly awaitedDocuments: Set<Cid>;
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
    this.deployment = deployment;
    this.content = content;
    this.changes = changes;
    this.counts = counts;
    this.tally = new Tally(database);
    this.keys = new KeyRows(database);
    this.states = new StateRows(database);
    this.anchorRows = new AnchorRows(database, this.tally);
    this.entryRows = new EntryRows(database, deployment, this.tally);
    this.roomRows = new RoomRows(database, this.tally);
    const shared = { content, changes, missing: this.missing };
    this.entries = new EntryJudge({
      ...shared,
      deployment,
      anchors: this.anchorRows,
      rows: this.entryRows,
      cids: new CidRows(database),
      rooms: this.roomRows,
      keys: this.keys,
      reader,
      onDecision: (room) => this.omissionsByRoom.delete(room),
    });
    this.anchors = new AnchorJudge({
      ...shared,
      rows: this.anchorRows,
      states: this.states,
      list: (index, delta) => this.entries.list(index, delta),
    });
    this.awaitedDocuments = new Set(this.keys.awaited());
    this.missing.add(this.awaitedDocuments, "document");
  }

  /** The verified manifest with the highest index. */
  get tip(): Tip | null {
    return this.anchors.tipAt(this.states.tip);
  }

  /** Takes the next events, in chain order. */
  apply(events: Iterable<ChainEvent>): void {
    for (const event of events) {
      this.count(event);
      if (event.kind === "anchor") {
        this.anchors.add(event);
        continue;
      }
      const subject = { kind: "key", index: event.index } as const;
      if (event.kind === "revocation") {
        this.keys.addRevocation(event);
        this.changes.record(subject, "revocation", event.blockNumber);
      } else {
        const documentVerdict = verifyKeyDocument(this.document(event), this.deployment, event);
        this.keys.addKey(verifyKey(this.deployment, event, this.keys.hasSigned(event.wallet)), documentVerdict);
        this.changes.record(subject, documentVerdict.status, event.blockNumber);
      }
    }
    this.settle();
  }

  /** Takes blocks that the content cache has at hand. */
  receive(blocks: ReadonlyMap<Cid, Uint8Array>): void {
    for (const [cid, bytes] of blocks) {
      if (!this.missing.has(cid)) continue;
      this.content.take(cid);
      this.missing.arrive(cid);
      if (this.awaitedDocuments.delete(cid)) this.receiveDocument(cid, bytes);
      this.entries.receive(cid, bytes);
      this.anchors.receive(cid);
    }
    this.settle();
  }

  /** Takes back all but so many events of each contract. Every verdict rests on what came before it, so none changes. */
  truncate(left: EventCounts): void {
    const { tip } = this.states;
    if (tip !== null && tip >= left.anchors)
      this.states.setTip(this.anchors.tipAt(this.anchorRows.newestVerified(left.anchors)));
    const rooms = this.entryRows.truncate(left.anchors);
    this.roomRows.prune(rooms);
    this.states.truncate(left.anchors);
    this.anchorRows.truncate(left.anchors);
    this.keys.truncate(left.keys);
    this.tally.countKeys(left.keys - this.counts.keys);
    this.counts = left;
    this.tally.flush();
  }

  /** What a room's messages say is missing or forked. It takes a look at all of them, so it is kept until the room changes. */
  omissions(room: RoomId): Omissions {
    let omissions = this.omissionsByRoom.get(room);
    if (omissions === undefined) {
      omissions = findOmissions(this.entryRows.entries(room));
      if (this.omissionsByRoom.size >= MAX_KEPT_OMISSIONS) this.omissionsByRoom.clear();
      this.omissionsByRoom.set(room, omissions);
    }
    return omissions;
  }

  private settle(): void {
    this.anchors.settle();
    this.entries.settle();
    this.tally.flush();
  }

  private count(event: ChainEvent): void {
    const contract = contractOf(event);
    const due = this.counts[contract];
    if (event.index !== due)
      throw new DmtpError("CHAIN_INCOMPLETE", `event ${event.index} of ${contract} came where ${due} was due`);
    this.counts = { ...this.counts, [contract]: due + 1 };
    if (contract === "keys") this.tally.countKeys(1);
  }

  private document(event: KeyEvent): Uint8Array | undefined {
    const cid = cidOfDigest(event.document);
    const bytes = this.missing.has(cid) ? undefined : this.content.get(cid);
    if (bytes === undefined && !this.awaitedDocuments.has(cid)) {
      this.awaitedDocuments.add(cid);
      this.missing.add([cid], "document");
    }
    return bytes;
  }

  private receiveDocument(cid: Cid, bytes: Uint8Array): void {
    for (const event of this.keys.awaiting(cid)) {
      const verdict = verifyKeyDocument(bytes, this.deployment, event);
      this.keys.writeDocumentVerdict(event, verdict);
      this.changes.record({ kind: "key", index: event.index }, verdict.status, event.blockNumber);
    }
  }
}
