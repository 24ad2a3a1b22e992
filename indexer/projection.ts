/** The replay of the events so far, with its rows kept equal to it and a list of the blocks that it still lacks. */
import type { Anchor } from "../protocol/anchor.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import { omissionsOf, type Entry, type Omissions } from "../protocol/entry.ts";
import type { ChainEvent, KeyEvent } from "../protocol/event.ts";
import { verifyKeyDocument } from "../protocol/key-document.ts";
import type { Tip } from "../protocol/manifest.ts";
import { Replay } from "../protocol/replay.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import type { Verdict } from "../protocol/verdict.ts";
import type { ChangeLog } from "./store/change-log.ts";
import type { ContentCache } from "./store/content-cache.ts";
import type { DerivedRows } from "./store/derived-rows.ts";

const MAX_KEPT_OMISSIONS = 1_000;

/** Only good as long as every transaction that it wrote in was committed; after a rollback a new one has to be made. */
export class Projection {
  readonly replay: Replay;
  /** The blocks without which something stays undecided. */
  missing: ReadonlySet<Cid> = new Set();
  /** Events of the registry so far. */
  keyCount = 0;
  private readonly deployment: Deployment;
  private readonly content: ContentCache;
  private readonly rows: DerivedRows;
  private readonly changes: ChangeLog;
  private readonly awaitedDocuments = new Map<Cid, KeyEvent[]>();
  /** Undecided anchors as their rows say; a row is only written again when it changes. */
  private readonly waitingFor = new Map<number, string>();
  /** Shards and heads of anchors that wait for their base: fetched ahead, so that a long line is not as many rounds. */
  private readonly ahead = new Map<number, readonly Cid[]>();
  private readonly omissionsByRoom = new Map<RoomId, Omissions>();
  private writtenTip: Tip | null = null;

  /** Begins before the first event, with empty rows. No signature that the content cache remembers is verified again. */
  constructor(deployment: Deployment, content: ContentCache, rows: DerivedRows, changes: ChangeLog) {
    this.deployment = deployment;
    this.content = content;
    this.rows = rows;
    this.changes = changes;
    this.replay = new Replay(deployment, (claims) => content.verifySignatures(claims));
    rows.clear();
  }

  /** Takes the next events, in chain order. */
  apply(events: Iterable<ChainEvent>): void {
    for (const event of events) {
      this.replay.add(event);
      if (event.kind === "anchor") {
        this.changes.record({ kind: "anchor", index: event.index }, "missing", event.blockNumber);
        continue;
      }
      this.keyCount += 1;
      if (event.kind === "revocation") {
        this.rows.writeRevocation(event);
        this.changes.record({ kind: "key", index: event.index }, "revocation", event.blockNumber);
        continue;
      }
      const key = this.replay.keys.history(event.wallet).at(-1);
      if (key === undefined || !("verdict" in key)) continue;
      const documentVerdict = this.awaitKeyDocument(event);
      this.rows.writeKey(key, documentVerdict);
      this.changes.record({ kind: "key", index: event.index }, documentVerdict.status, event.blockNumber);
    }
    this.settle(new Set());
  }

  /** Takes blocks that are in the content cache by now. */
  receive(blocks: ReadonlyMap<Cid, Uint8Array>): void {
    for (const [cid, bytes] of blocks) {
      for (const event of this.awaitedDocuments.get(cid) ?? []) {
        const verdict = verifyKeyDocument(bytes, this.deployment, event);
        this.rows.writeKeyDocument(event, verdict);
        this.changes.record({ kind: "key", index: event.index }, verdict.status, event.blockNumber);
      }
      this.awaitedDocuments.delete(cid);
    }
    this.settle(blocks);
  }

  /** What a room's messages say is missing or forked. It takes a look at all of them, so it is kept until the room changes. */
  omissions(room: RoomId): Omissions {
    let omissions = this.omissionsByRoom.get(room);
    if (omissions === undefined) {
      omissions = omissionsOf(this.replay.entries(room));
      if (this.omissionsByRoom.size >= MAX_KEPT_OMISSIONS) this.omissionsByRoom.clear();
      this.omissionsByRoom.set(room, omissions);
    }
    return omissions;
  }

  private awaitKeyDocument(event: KeyEvent): Verdict {
    const cid = cidOfDigest(event.document);
    const verdict = verifyKeyDocument(this.content.get(cid), this.deployment, event);
    if (verdict.status === "missing") {
      this.awaitedDocuments.set(cid, [...(this.awaitedDocuments.get(cid) ?? []), event]);
    }
    return verdict;
  }

  /** Lets the replay decide what it can, and writes what it decided. */
  private settle(arrived: { has(cid: Cid): boolean }): void {
    // What was missing after the last time still is, unless it arrived: that saves a look-up for each of them.
    const isAbsent = (cid: Cid): boolean => this.missing.has(cid) && !arrived.has(cid);
    const { anchors, entries } = this.replay.settle((cid) => (isAbsent(cid) ? undefined : this.content.get(cid)));
    const touched = new Set<RoomId>();
    for (const anchor of anchors) {
      this.waitingFor.delete(anchor.event.index);
      this.ahead.delete(anchor.event.index);
      this.rows.writeAnchor(anchor);
      const { index, blockNumber } = anchor.event;
      this.changes.record({ kind: "anchor", index }, anchor.verdict.status, blockNumber);
      if (anchor.verdict.status !== "verified") continue;
      const listed = this.replay.entriesOf(index);
      this.rows.listEntries(listed);
      for (const entry of listed) if (entry.verdict.status === "missing") this.recordEntry(entry);
      for (const { room } of listed) touched.add(room);
    }
    for (const entry of entries) {
      this.rows.writeEntry(entry);
      this.recordEntry(entry);
      this.omissionsByRoom.delete(entry.room);
    }
    for (const anchor of this.replay.anchors) {
      if (anchor.verdict.status === "missing") this.writeUndecided(anchor, isAbsent);
    }
    this.writeState(touched);
    const missing = this.replay.missing();
    for (const cid of this.awaitedDocuments.keys()) missing.add(cid);
    for (const cids of this.ahead.values()) for (const cid of cids) missing.add(cid);
    this.missing = missing;
  }

  private recordEntry({ anchorIndex, ordinal, verdict }: Entry): void {
    const blockNumber = this.replay.anchors[anchorIndex]?.event.blockNumber ?? 0;
    this.changes.record({ kind: "message", index: anchorIndex, ordinal }, verdict.status, blockNumber);
  }

  private writeUndecided(anchor: Anchor, isAbsent: (cid: Cid) => boolean): void {
    const { event, manifest, wants } = anchor;
    if (manifest === null || wants.length > 0) {
      this.ahead.delete(event.index);
    } else {
      const known = this.ahead.get(event.index);
      // The disk is asked once; afterwards, what did not arrive is absent.
      const lacking =
        known?.filter(isAbsent) ?? [...manifest.rooms, ...manifest.heads].filter((cid) => !this.content.has(cid));
      this.ahead.set(event.index, lacking);
    }
    const waiting = `${manifest === null ? "" : "manifest "}${wants.join(" ")}`;
    if (this.waitingFor.get(event.index) === waiting) return;
    this.waitingFor.set(event.index, waiting);
    this.rows.writeAnchor(anchor);
  }

  /** Counts and roots of the rooms that changed with the tip. */
  private writeState(listed: ReadonlySet<RoomId>): void {
    const { tip, anchors, state } = this.replay;
    if (tip === this.writtenTip && listed.size === 0) return;
    const touched = new Set(listed);
    let index = tip?.index ?? null;
    while (index !== null && index !== this.writtenTip?.index) {
      const { delta, manifest } = anchors[index] ?? {};
      for (const room of delta?.keys() ?? []) touched.add(room);
      index = manifest?.base?.index ?? null;
    }
    // The new tip does not build on the old one: rooms of the old line may have lost messages.
    const rooms = index === (this.writtenTip?.index ?? null) ? touched : this.replay.rooms;
    for (const room of rooms) this.rows.writeRoom(room, state);
    this.rows.writeTip(tip);
    this.writtenTip = tip;
  }
}
