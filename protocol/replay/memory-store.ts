/** A store of the replay engine in memory: for tests, browsers, and commands whose history fits. */
import type { Address } from "../address.ts";
import type { Cid } from "../cid.ts";
import type { Entry, MessageSummary } from "../entry.ts";
import { DmtpError } from "../error.ts";
import type { AnchorEvent, Position, RevocationEvent } from "../event.ts";
import type { KeyDirectory, KeyLookup, KeyVersion } from "../keys.ts";
import type { Manifest, Tip } from "../manifest.ts";
import type { RoomId } from "../room.ts";
import { MAX_SHARD_ENTRIES } from "../shard.ts";
import type { State } from "../state.ts";
import type { Verdict } from "../verdict.ts";
import { OpenParts } from "./open-parts.ts";
import { addUnder, MissingEntries, type Ordered } from "./ordered-entries.ts";
import type { OpenPart, Place, PlacedEntry, ReplayStore, StoredAnchor } from "./store.ts";

/** What has been found out about an anchor. */
export interface Anchor {
  readonly event: AnchorEvent;
  /** On its account (SPEC 8.3). Its entries are there whatever this is. */
  verdict: Verdict;
  /** Null while its block is missing, and when that is no manifest. */
  manifest: Manifest | null;
  /** What a next manifest can build on; null unless it is verified. */
  tip: Tip | null;
}

/** What was decided since it was last asked for. */
export interface Settlement {
  readonly anchors: readonly Anchor[];
  readonly entries: readonly Entry[];
}

/** A block's bytes, already proved to be what the CID names; undefined while no source has it. */
export type BlockSource = (cid: Cid) => Uint8Array | undefined;

/** A heads block, and the anchors that it is kept for. */
interface KeptBlock {
  readonly bytes: Uint8Array;
  readonly anchors: Set<number>;
}

/** The most bytes of heads blocks held for anchors without a verdict, so that these cannot fill the memory. */
const MAX_HEADS_BYTES = 64 * 1024 * 1024;

export class MemoryStore implements ReplayStore {
  readonly keys: KeyDirectory;
  readonly anchors: Anchor[] = [];
  /** Where blocks are read from; nothing is kept of them. */
  source: BlockSource = () => undefined;
  /** The heads blocks that are kept for anchors that are not decided. */
  private readonly heads = new Map<Cid, KeptBlock>();
  private headsBytes = 0;
  private readonly indexByCid = new Map<Cid, number>();
  private readonly waiting = new Map<number, number[]>();
  private readonly parts = new OpenParts();
  private readonly byAnchor = new Map<number, Ordered<Entry>>();
  private readonly byRoom = new Map<RoomId, Ordered<Entry>>();
  /** Most messages are listed once: then it is their entry. */
  private readonly missingByCid = new Map<Cid, Entry | MissingEntries>();
  private readonly verified = new Map<Cid, Entry>();
  private readonly withoutManifest = new Map<number, Cid>();
  private decidedAnchors: Anchor[] = [];
  private decidedEntries = new Set<Entry>();

  constructor(keys: KeyDirectory) {
    this.keys = keys;
  }

  block(cid: Cid): Uint8Array | undefined {
    return this.heads.get(cid)?.bytes ?? this.source(cid);
  }

  keepBlock(anchorIndex: number, cid: Cid, bytes: Uint8Array): boolean {
    const kept = this.heads.get(cid);
    if (kept !== undefined) {
      kept.anchors.add(anchorIndex);
      return true;
    }
    if (this.headsBytes + bytes.length > MAX_HEADS_BYTES) return false;
    this.heads.set(cid, { bytes, anchors: new Set([anchorIndex]) });
    this.headsBytes += bytes.length;
    return true;
  }

  hasSigned(wallet: Address): boolean {
    return this.keys.hasSigned(wallet);
  }

  find(wallet: Address, version: number, position: Position): KeyLookup {
    return this.keys.find(wallet, version, position);
  }

  addKey(key: KeyVersion): void {
    this.keys.addEntry(key);
  }

  addRevocation(event: RevocationEvent): void {
    this.keys.addEntry({ event });
  }

  addAnchor(event: AnchorEvent, verdict: Verdict): void {
    if (event.index !== this.anchors.length) {
      throw new DmtpError("CHAIN_INCOMPLETE", `anchor ${event.index} came where ${this.anchors.length} was due`);
    }
    const anchor: Anchor = { event, verdict, manifest: null, tip: null };
    this.anchors.push(anchor);
    if (event.cid !== null && !this.indexByCid.has(event.cid)) this.indexByCid.set(event.cid, event.index);
    if (verdict.status !== "missing") this.decidedAnchors.push(anchor);
    else if (event.cid !== null) this.withoutManifest.set(event.index, event.cid);
  }

  anchor(index: number): StoredAnchor | undefined {
    const anchor = this.anchors[index];
    if (anchor === undefined) return undefined;
    const { event, verdict, manifest } = anchor;
    return { index, cid: event.cid, position: event, verdict, manifest };
  }

  firstAnchor(cid: Cid): number | undefined {
    return this.indexByCid.get(cid);
  }

  setManifest(index: number, manifest: Manifest): void {
    this.known(index).manifest = manifest;
    this.withoutManifest.delete(index);
    if (manifest.base === null) return;
    const waiting = this.waiting.get(manifest.base.index) ?? [];
    // Ascending, though manifests may come in any order.
    const at = waiting.findLastIndex((each) => each < index) + 1;
    waiting.splice(at, 0, index);
    this.waiting.set(manifest.base.index, waiting);
  }

  // eslint-disable-next-line require-yield -- the state is in memory already
  *keepStateSteps(index: number, state: State): Generator<undefined, void> {
    const anchor = this.known(index);
    const { event, manifest } = anchor;
    if (event.cid !== null && manifest !== null) anchor.tip = { index, cid: event.cid, seq: manifest.seq, state };
  }

  decideAnchor(index: number, verdict: Verdict): void {
    const anchor = this.known(index);
    anchor.verdict = verdict;
    this.withoutManifest.delete(index);
    for (const cid of anchor.manifest?.heads ?? []) {
      const kept = this.heads.get(cid);
      if (kept?.anchors.delete(index) !== true || kept.anchors.size > 0) continue;
      this.heads.delete(cid);
      this.headsBytes -= kept.bytes.length;
    }
    this.decidedAnchors.push(anchor);
  }

  state(index: number): State {
    const { tip } = this.known(index);
    if (tip === null) throw new DmtpError("INTERNAL", `anchor ${index} is not verified and has no state`);
    return tip.state;
  }

  waitingFor(base: number, after: number, limit: number): readonly number[] {
    const found: number[] = [];
    const waiting = this.waiting.get(base) ?? [];
    for (let at = waiting.findLastIndex((index) => index <= after) + 1; at < waiting.length; at++) {
      const index = waiting[at] ?? 0;
      if (this.anchors[index]?.verdict.status === "missing") found.push(index);
      if (found.length === limit) break;
    }
    return found;
  }

  setPart(part: OpenPart): void {
    this.parts.set(part);
  }

  deletePart({ anchorIndex, part }: OpenPart): void {
    this.parts.delete(anchorIndex, part);
  }

  openParts(anchorIndex: number): readonly OpenPart[] {
    return this.parts.ofAnchor(anchorIndex);
  }

  mayBePartOfAnchor(): boolean {
    return true;
  }

  partsAwaiting(cid: Cid, limit: number): readonly OpenPart[] {
    return this.parts.awaiting(cid, limit);
  }

  addEntry(place: PlacedEntry, verdict: Verdict, message: MessageSummary | null): void {
    const entry: Entry = { ...place, verdict, message };
    addUnder(this.byAnchor, place.anchorIndex, entry);
    addUnder(this.byRoom, place.room, entry);
    if (verdict.status !== "missing") {
      this.note(entry);
      return;
    }
    const missing = this.missingByCid.get(place.cid);
    if (missing === undefined) this.missingByCid.set(place.cid, entry);
    else if (missing instanceof MissingEntries) missing.add(entry);
    else {
      const several = new MissingEntries(missing);
      several.add(entry);
      this.missingByCid.set(place.cid, several);
    }
  }

  decideEntry(place: PlacedEntry, verdict: Verdict, message: MessageSummary | null): void {
    const entry = this.byAnchor.get(place.anchorIndex)?.at(place);
    if (entry?.verdict.status !== "missing")
      throw new DmtpError("INTERNAL", "an entry that was not missing was decided");
    entry.verdict = verdict;
    entry.message = message;
    const missing = this.missingByCid.get(place.cid);
    if (!(missing instanceof MissingEntries) || missing.removeOne() === 0) this.missingByCid.delete(place.cid);
    this.note(entry);
  }

  reviseEntry(place: Place, _cid: Cid, verdict: Verdict): void {
    const entry = this.byAnchor.get(place.anchorIndex)?.at(place);
    if (entry === undefined) throw new DmtpError("INTERNAL", "an entry that is not there was revised");
    entry.verdict = verdict;
    this.decidedEntries.add(entry);
  }

  missingPlaces(cid: Cid, limit: number): readonly PlacedEntry[] {
    const missing = this.missingByCid.get(cid);
    if (missing === undefined) return [];
    return missing instanceof MissingEntries ? missing.first(limit) : [missing];
  }

  verifiedPlace(cid: Cid): Place | undefined {
    return this.verified.get(cid);
  }

  listedCount(anchorIndex: number, shard: number): number {
    const entries = this.byAnchor.get(anchorIndex);
    if (entries === undefined) return 0;
    const first = shard * MAX_SHARD_ENTRIES;
    const end = entries.position({ anchorIndex, ordinal: first + MAX_SHARD_ENTRIES });
    return end - entries.position({ anchorIndex, ordinal: first });
  }

  listing(anchorIndex: number, from: number, limit: number): readonly PlacedEntry[] {
    const entries = this.byAnchor.get(anchorIndex);
    if (entries === undefined) return [];
    return entries.from(entries.position({ anchorIndex, ordinal: from }), limit);
  }

  /** A room's history, in its order. */
  entries(room: RoomId): readonly Entry[] {
    return this.byRoom.get(room)?.all ?? [];
  }

  entriesByAnchor(index: number): readonly Entry[] {
    return this.byAnchor.get(index)?.all ?? [];
  }

  get rooms(): IterableIterator<RoomId> {
    return this.byRoom.keys();
  }

  get missingMessages(): IterableIterator<Cid> {
    return this.missingByCid.keys();
  }

  get missingManifests(): IterableIterator<Cid> {
    return this.withoutManifest.values();
  }

  /** Shards and heads that are missing. */
  get missingParts(): IterableIterator<Cid> {
    return this.parts.missing;
  }

  takeSettlement(): Settlement {
    const settlement = { anchors: this.decidedAnchors, entries: [...this.decidedEntries] };
    this.decidedAnchors = [];
    this.decidedEntries = new Set();
    return settlement;
  }

  private note(entry: Entry): void {
    this.decidedEntries.add(entry);
    if (entry.verdict.status === "verified") this.verified.set(entry.cid, entry);
  }

  private known(index: number): Anchor {
    const anchor = this.anchors[index];
    if (anchor === undefined) throw new DmtpError("INTERNAL", `there is no anchor ${index}`);
    return anchor;
  }
}
