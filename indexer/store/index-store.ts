/**
 * The store of the replay engine in SQLite. Each row is written in the transaction of the step that found it out; nothing in memory is
 * needed to go on after a restart.
 */
import type Database from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { MessageSummary } from "../../protocol/entry.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { AnchorEvent, KeyEvent, Position, RevocationEvent } from "../../protocol/event.ts";
import { keyDocumentIn, verifyKeyDocument } from "../../protocol/key-document.ts";
import type { KeyLookup, KeyVersion } from "../../protocol/keys.ts";
import { Lru } from "../../protocol/lru.ts";
import type { Manifest } from "../../protocol/manifest.ts";
import type { OpenPart, Place, PlacedEntry, ReplayStore, StoredAnchor } from "../../protocol/replay/store.ts";
import type { Deployment } from "../../protocol/room.ts";
import { MAX_SHARD_ENTRIES } from "../../protocol/shard.ts";
import type { State } from "../../protocol/state.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { AnchorRows } from "./anchor-rows.ts";
import type { ChangeLog } from "./change-log.ts";
import type { ContentCache } from "./content-cache.ts";
import { EntryRows } from "./entry-rows.ts";
import { KeyRows } from "./key-rows.ts";
import { MessageNumbers } from "./message-numbers.ts";
import { OmissionRows } from "./omission-rows.ts";
import { PartRows } from "./part-rows.ts";
import { RoomRows } from "./room-rows.ts";
import { StateRows } from "./state-rows.ts";
import { Tally } from "./tally.ts";
import type { WantRows } from "./want-rows.ts";

export interface IndexStoreOptions {
  readonly database: Database.Database;
  readonly deployment: Deployment;
  readonly content: ContentCache;
  readonly changes: ChangeLog;
  /** Told of every block that is lacking. */
  readonly missing: WantRows;
}

const REMEMBERED_BLOCKS = 64;

export class IndexStore implements ReplayStore {
  readonly tally: Tally;
  readonly keys: KeyRows;
  readonly states: StateRows;
  readonly anchors: AnchorRows;
  readonly parts: PartRows;
  readonly entries: EntryRows;
  readonly rooms: RoomRows;
  private readonly options: IndexStoreOptions;
  private readonly omissions: OmissionRows;
  private readonly messages: MessageNumbers;
  /** The block of the anchor that listed something last. */
  private readonly blockNumbers = new Lru<number, number>(REMEMBERED_BLOCKS);

  constructor(options: IndexStoreOptions) {
    const { database, deployment } = options;
    this.options = options;
    this.tally = new Tally(database);
    this.keys = new KeyRows(database);
    this.states = new StateRows(database);
    this.anchors = new AnchorRows(database, this.tally);
    this.parts = new PartRows(database);
    this.entries = new EntryRows(database, deployment, this.tally);
    this.rooms = new RoomRows(database, this.tally);
    this.messages = new MessageNumbers(database);
    options.content.numberOf = (cid) => this.messages.get(cid).id;
    this.omissions = new OmissionRows(database, (cid, roomNumber) => this.findNamed(cid, roomNumber));
  }

  block(cid: Cid): Uint8Array | undefined {
    // What is missing is not on disk either: that saves a look.
    return this.options.missing.isNewlyMissing(cid) ? this.options.content.take(cid) : this.options.content.get(cid);
  }

  /** Whatever was asked for is kept already: content is on disk. */
  keepBlock(): boolean {
    return true;
  }

  hasSigned(wallet: Address): boolean {
    return this.keys.hasSigned(wallet);
  }

  find(wallet: Address, version: number, position: Position): KeyLookup {
    return this.keys.find(wallet, version, position);
  }

  addKey(key: KeyVersion): void {
    const { changes, deployment } = this.options;
    const { event } = key;
    const document = verifyKeyDocument(this.documentOf(event), deployment, event);
    this.keys.addKey(key, document);
    changes.record({ kind: "key", index: event.index }, document.status, event.blockNumber);
  }

  addRevocation(event: RevocationEvent): void {
    this.keys.addRevocation(event);
    this.options.changes.record({ kind: "key", index: event.index }, "revocation", event.blockNumber);
  }

  addAnchor(event: AnchorEvent, verdict: Verdict): void {
    const { changes, missing, content } = this.options;
    const { index, cid, blockNumber } = event;
    this.anchors.add(event, verdict);
    changes.record({ kind: "anchor", index }, verdict.status, blockNumber);
    if (verdict.status === "missing" && cid !== null && content.get(cid) === undefined) {
      missing.add([cid], "anchor", index);
    }
  }

  anchor(index: number): StoredAnchor | undefined {
    return this.anchors.get(index);
  }

  firstAnchor(cid: Cid): number | undefined {
    return this.anchors.firstWith(cid);
  }

  setManifest(index: number, manifest: Manifest): void {
    this.anchors.setManifest(index, manifest);
  }

  *keepStateSteps(index: number, state: State): Generator<undefined, void> {
    yield* this.states.keepSteps(index, state);
  }

  decideAnchor(index: number, verdict: Verdict): void {
    this.anchors.decide(index, verdict);
    this.options.changes.record({ kind: "anchor", index }, verdict.status, this.blockOf(index));
    if (verdict.status !== "verified" || index <= (this.states.tip ?? -1)) return;
    this.states.setTip(this.anchors.tip(index));
  }

  state(index: number): State {
    return this.states.stateAt(index);
  }

  waitingFor(base: number, after: number, limit: number): readonly number[] {
    return this.anchors.waitingFor(base, after, limit);
  }

  setPart(part: OpenPart): void {
    this.parts.set(part);
    if (part.status === "missing") this.options.missing.add([part.cid], "anchor", part.anchorIndex);
  }

  deletePart({ anchorIndex, part, cid, status }: OpenPart): void {
    this.parts.delete(anchorIndex, part);
    if (status === "missing") this.options.missing.remove([cid]);
  }

  openParts(anchorIndex: number): readonly OpenPart[] {
    return this.parts.ofAnchor(anchorIndex);
  }

  mayBePartOfAnchor(cid: Cid): boolean {
    return this.anchors.mayAwait(cid) || this.parts.mayAwait(cid);
  }

  /** Whether it is known, without a look at the rows, that nothing waits for this block. */
  isSettled(cid: Cid): boolean {
    const message = this.messages.find(cid);
    const isDecided = message?.places === "one" && message.status !== "missing";
    return isDecided && !this.mayBePartOfAnchor(cid) && !this.keys.mayAwait(cid);
  }

  partsAwaiting(cid: Cid, limit: number): readonly OpenPart[] {
    return this.parts.awaiting(cid, limit);
  }

  addEntry(entry: PlacedEntry, verdict: Verdict, summary: MessageSummary | null): void {
    const message = this.messages.get(entry.cid);
    const place = { ...entry, roomNumber: this.rooms.add(entry.room), cidId: message.id };
    this.entries.add(place, verdict, summary);
    this.messages.note(message, entry, verdict.status, true);
    if (verdict.status === "verified" && summary !== null) this.omissions.add(place, summary, message.mayBeNamed);
    if (verdict.status === "missing") this.options.missing.add([entry.cid], "message", entry.anchorIndex);
    this.record(entry, verdict);
  }

  decideEntry(entry: PlacedEntry, verdict: Verdict, summary: MessageSummary | null): void {
    const roomNumber = this.rooms.add(entry.room);
    const message = this.messages.get(entry.cid);
    this.entries.decide(entry, roomNumber, verdict, summary);
    this.messages.note(message, entry, verdict.status, false);
    if (verdict.status === "verified" && summary !== null)
      this.omissions.add({ ...entry, roomNumber, cidId: message.id }, summary, message.mayBeNamed);
    this.record(entry, verdict);
  }

  reviseEntry(place: Place, cid: Cid, verdict: Verdict): void {
    this.entries.revise(place, verdict);
    this.omissions.leave(place);
    this.messages.note(this.messages.get(cid), null, verdict.status, false);
    this.record(place, verdict);
  }

  missingPlaces(cid: Cid, limit: number): readonly PlacedEntry[] {
    const { id, places, entry, status } = this.messages.get(cid);
    if (places === "unknown") return this.entries.missingOf(id, cid, limit);
    return status === "missing" && entry !== null ? [entry] : [];
  }

  verifiedPlace(cid: Cid): Place | undefined {
    const { id, places, entry, status } = this.messages.get(cid);
    if (places === "unknown") return this.entries.verifiedOf(id);
    return status === "verified" ? (entry ?? undefined) : undefined;
  }

  listedCount(anchorIndex: number, shard: number): number {
    const first = shard * MAX_SHARD_ENTRIES;
    return this.entries.countBetween(anchorIndex, first, first + MAX_SHARD_ENTRIES);
  }

  listing(anchorIndex: number, from: number, limit: number): readonly PlacedEntry[] {
    return this.entries.listing(anchorIndex, from, limit);
  }

  /** A block is here that keys may wait for: it is kept for them only if it is a key document. */
  receiveDocument(cid: Cid, bytes: Uint8Array): void {
    const { changes, deployment } = this.options;
    const waiting = this.keys.awaiting(cid);
    for (const event of waiting) {
      const verdict = verifyKeyDocument(bytes, deployment, event);
      this.keys.writeDocumentVerdict(event, verdict);
      changes.record({ kind: "key", index: event.index }, verdict.status, event.blockNumber);
    }
    if (waiting.length > 0 && keyDocumentIn(bytes) !== null) this.options.content.take(cid);
  }

  /** Takes back all but the given numbers of first anchors and events of the registry. */
  truncate(anchorCount: number, keyCount: number): void {
    const { tip } = this.states;
    // The tip first: its state is read from rows that go. The counts last: everything before changes them.
    if (tip !== null && tip >= anchorCount) {
      const newest = this.anchors.newestVerified(anchorCount);
      this.states.setTip(newest === null ? null : this.anchors.tip(newest));
    }
    this.omissions.truncate(anchorCount);
    const rooms = this.entries.truncate(anchorCount);
    this.rooms.prune(rooms);
    this.states.truncate(anchorCount);
    this.parts.truncate(anchorCount);
    this.anchors.truncate(anchorCount);
    this.keys.truncate(keyCount);
  }

  /** Writes what was counted and not written yet; to be called at the end of each transaction. */
  flush(): void {
    this.tally.flush();
    this.omissions.flush();
  }

  private findNamed(cid: Cid, roomNumber: number): { readonly cidId: number; readonly place: Place | null } {
    const message = this.messages.get(cid);
    message.mayBeNamed = true;
    const { id, places, entry, status } = message;
    if (places === "unknown") return { cidId: id, place: this.entries.verifiedIn(id, roomNumber) ?? null };
    const isHere = status === "verified" && entry !== null && this.rooms.add(entry.room) === roomNumber;
    return { cidId: id, place: isHere ? entry : null };
  }

  private documentOf(event: KeyEvent): Uint8Array | undefined {
    const { content, missing } = this.options;
    const cid = this.keys.documentCid(event);
    const bytes = content.look(cid);
    if (bytes === undefined) missing.add([cid], "document");
    else if (keyDocumentIn(bytes) !== null) content.take(cid);
    return bytes;
  }

  private record({ anchorIndex, ordinal }: Place, { status }: Verdict): void {
    this.options.changes.record({ kind: "message", index: anchorIndex, ordinal }, status, this.blockOf(anchorIndex));
  }

  private blockOf(anchorIndex: number): number {
    const known = this.blockNumbers.get(anchorIndex);
    if (known !== undefined) return known;
    const position = this.anchors.position(anchorIndex);
    if (position === undefined) throw new DmtpError("INTERNAL", `there is no anchor ${anchorIndex}`);
    this.blockNumbers.set(anchorIndex, position.blockNumber);
    return position.blockNumber;
  }
}
