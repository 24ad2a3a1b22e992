/**
 * A store of the replay engine that keeps little: what one shard lists until it is judged, and on disk what later anchors need of earlier
 * ones. It serves a replay in the order of the chain, of blocks that are either available now or nowhere.
 */
import type { Statement } from "better-sqlite3";

import type { Address } from "../protocol/address.ts";
import { digestOfCid, type Cid } from "../protocol/cid.ts";
import type { Entry, MessageSummary } from "../protocol/entry.ts";
import { DmtpError } from "../protocol/error.ts";
import type { AnchorEvent, Position, RevocationEvent } from "../protocol/event.ts";
import { KeyDirectory, type KeyLookup, type KeyVersion } from "../protocol/keys.ts";
import type { Manifest } from "../protocol/manifest.ts";
import { OpenParts } from "../protocol/replay/open-parts.ts";
import type { OpenPart, Place, PlacedEntry, ReplayStore, StoredAnchor } from "../protocol/replay/store.ts";
import type { Deployment } from "../protocol/room.ts";
import { StateNodes, type NodeLink, type NodeRow, type NodeRows } from "../protocol/state-nodes.ts";
import { State } from "../protocol/state.ts";
import type { Verdict } from "../protocol/verdict.ts";
import { openTemporary, translated } from "./database.ts";
import { decodeCheckedNode, encodeCheckedNode } from "./state-codec.ts";

const TABLES = `
  CREATE TABLE nodes (id INTEGER PRIMARY KEY, node BLOB NOT NULL) STRICT;
  CREATE TABLE messages (digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
  CREATE TABLE rejections (digest BLOB PRIMARY KEY, entries INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`;
const NAME = "a temporary file";
/** Stands for the place of any entry already reported: it is before every entry still to come. */
const BEFORE: Place = { anchorIndex: -1, ordinal: -1 };

export class StreamingStore implements ReplayStore, NodeRows {
  readonly anchors: StoredAnchor[] = [];
  /** What is available now. */
  blocks: ReadonlyMap<Cid, Uint8Array> = new Map();
  /**
   * The parts that these blocks were fetched for: shards and heads blocks of the current anchor, by number. Anybody can list a block of
   * parts as a message; a shard that was taken when it comes as a message would be listed before its turn.
   */
  fetchedParts: ReadonlySet<number> = new Set();
  private readonly onEntry: (entry: Entry) => void;
  readonly keys: KeyDirectory;
  private readonly database = openTemporary(TABLES);
  private readonly insertNode: Statement<[Uint8Array]> = this.database.prepare("INSERT INTO nodes (node) VALUES (?)");
  private readonly selectNode: Statement<[number], Uint8Array> = this.database
    .prepare<[number], Uint8Array>("SELECT node FROM nodes WHERE id = ?")
    .pluck();
  private readonly insertMessage: Statement<[Uint8Array]> = this.database.prepare("INSERT INTO messages VALUES (?)");
  private readonly hasMessage: Statement<[Uint8Array]> = this.database.prepare(
    "SELECT 1 FROM messages WHERE digest = ?",
  );
  private readonly insertRejection: Statement<[Uint8Array]> = this.database.prepare(
    "INSERT INTO rejections VALUES (?, 1) ON CONFLICT DO UPDATE SET entries = entries + 1",
  );
  private readonly sumMended: Statement<[], number> = this.database
    .prepare<[], number>("SELECT coalesce(sum(entries), 0) FROM rejections JOIN messages USING (digest)")
    .pluck();
  private readonly nodes = new StateNodes(this);
  private readonly links = new Map<number, NodeLink | null>();
  private readonly indexByCid = new Map<Cid, number>();
  private readonly parts = new OpenParts();
  /** Of the anchor that is read now, by ordinal: all that it lists, and what of it is not told yet. */
  private listed: PlacedEntry[] = [];
  private untold: Entry[] = [];
  /** The entries that wait for each message, by ordinal. */
  private readonly missing = new Map<Cid, Entry[]>();

  /** @param onEntry gets each entry once, in the order of the history */
  constructor(deployment: Deployment, onEntry: (entry: Entry) => void) {
    this.onEntry = onEntry;
    this.keys = new KeyDirectory(deployment);
  }

  close(): void {
    this.database.close();
  }

  /** The messages that entries wait for, in their order. */
  get missingMessages(): IterableIterator<Cid> {
    return this.missing.keys();
  }

  /** Tells of the entries so far; those that are undecided stay missing. */
  tell(): void {
    for (const entry of this.untold) this.onEntry(entry);
    this.untold = [];
    this.missing.clear();
  }

  /** Forgets what an anchor lists, and what it lacks: nobody will come with that. */
  endAnchor(anchorIndex: number): void {
    this.listed = [];
    for (const { part } of this.parts.ofAnchor(anchorIndex)) this.parts.delete(anchorIndex, part);
  }

  block(cid: Cid): Uint8Array | undefined {
    return this.blocks.get(cid);
  }

  /** In the order of the chain, an anchor's heads are given at the same time, and decide it while they are there. */
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
    this.keys.addEntry(key);
  }

  addRevocation(event: RevocationEvent): void {
    this.keys.addEntry({ event });
  }

  addAnchor(event: AnchorEvent, verdict: Verdict): void {
    const { index, cid } = event;
    this.anchors.push({ index, cid, position: event, verdict, manifest: null });
    if (cid !== null && !this.indexByCid.has(cid)) this.indexByCid.set(cid, index);
  }

  anchor(index: number): StoredAnchor | undefined {
    return this.anchors[index];
  }

  firstAnchor(cid: Cid): number | undefined {
    return this.indexByCid.get(cid);
  }

  setManifest(index: number, manifest: Manifest): void {
    this.change(index, { manifest });
  }

  *keepStateSteps(index: number, state: State): Generator<undefined, void> {
    this.links.set(index, (yield* state.saveSteps(this.nodes)).link);
  }

  decideAnchor(index: number, verdict: Verdict): void {
    this.change(index, { verdict });
  }

  state(index: number): State {
    const link = this.links.get(index);
    if (link === undefined) throw new DmtpError("INTERNAL", `anchor ${index} is not verified and has no state`);
    return State.open(link, this.nodes);
  }

  /** In the order of the chain, no anchor is looked at before its base. */
  waitingFor(): readonly number[] {
    return [];
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
    return this.parts.awaiting(cid, limit).filter(({ part }) => this.fetchedParts.has(part));
  }

  addEntry(place: PlacedEntry, verdict: Verdict, message: MessageSummary | null): void {
    const entry: Entry = { ...place, verdict, message };
    insertByOrdinal(this.listed, place);
    insertByOrdinal(this.untold, entry);
    if (verdict.status === "verified") this.remember(entry);
    if (verdict.status !== "missing") return;
    const missing = this.missing.get(place.cid);
    if (missing === undefined) this.missing.set(place.cid, [entry]);
    else insertByOrdinal(missing, entry);
  }

  decideEntry(place: PlacedEntry, verdict: Verdict, message: MessageSummary | null): void {
    const missing = this.missing.get(place.cid) ?? [];
    // The engine decides a page of them in any order: what needs no signature comes first.
    const at = missing.findIndex(({ ordinal }) => ordinal === place.ordinal);
    const entry = missing[at];
    if (entry === undefined) throw new DmtpError("INTERNAL", "an entry that was not missing was decided");
    missing.splice(at, 1);
    if (missing.length === 0) this.missing.delete(place.cid);
    entry.verdict = verdict;
    entry.message = message;
    if (verdict.status === "verified") this.remember(entry);
  }

  reviseEntry(): void {
    throw new DmtpError("INTERNAL", "an entry was revised in a replay in the order of the chain");
  }

  missingPlaces(cid: Cid, limit: number): readonly PlacedEntry[] {
    return this.missing.get(cid)?.slice(0, limit) ?? [];
  }

  verifiedPlace(cid: Cid): Place | undefined {
    const isKnown = translated(() => this.hasMessage.get(digestOfCid(cid)) !== undefined, NAME);
    return isKnown ? BEFORE : undefined;
  }

  /** Counts a rejected entry of a message that is not verified so far. */
  noteRejected(cid: Cid): void {
    translated(() => this.insertRejection.run(digestOfCid(cid)), NAME);
  }

  /** How many entries that were noted as rejected are of messages that are verified by now. */
  countMended(): number {
    return translated(() => this.sumMended.get() ?? 0, NAME);
  }

  listedCount(): number {
    return 0;
  }

  listing(_anchorIndex: number, from: number, limit: number): readonly PlacedEntry[] {
    let [low, high] = [0, this.listed.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.listed[middle]?.ordinal ?? 0) < from) low = middle + 1;
      else high = middle;
    }
    return this.listed.slice(low, low + limit);
  }

  read(ref: number): NodeRow | undefined {
    const node = translated(() => this.selectNode.get(ref), NAME);
    return node && decodeCheckedNode(node);
  }

  write(row: NodeRow): number {
    return translated(() => Number(this.insertNode.run(encodeCheckedNode(row)).lastInsertRowid), NAME);
  }

  refusal(ref: number): Error {
    return new DmtpError("DATABASE_DAMAGED", `${NAME}: node ${ref} has other bytes`);
  }

  private remember({ cid }: Entry): void {
    translated(() => this.insertMessage.run(digestOfCid(cid)), NAME);
  }

  private change(index: number, change: Partial<StoredAnchor>): void {
    const anchor = this.anchors[index];
    if (anchor !== undefined) this.anchors[index] = { ...anchor, ...change };
  }
}

/** The engine adds the entries of one step in any order, so an entry belongs at most a step's places before the end. */
function insertByOrdinal<Item extends Place>(items: Item[], item: Item): void {
  const at = items.findLastIndex(({ ordinal }) => ordinal < item.ordinal) + 1;
  items.splice(at, 0, item);
}
