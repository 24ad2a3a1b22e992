/**
 * What the replay engine keeps, and where: the port that every store implements, in memory, in SQLite, or streaming. A store holds
 * rows and decides nothing; the engine gives verdicts, and holds nothing that it could not work out again from the rows.
 *
 * All methods are synchronous and bounded: one row, or a page of at most `limit` rows.
 */
import type { Address } from "../address.ts";
import type { Cid } from "../cid.ts";
import type { MessageSummary } from "../entry.ts";
import type { AnchorEvent, Position, RevocationEvent } from "../event.ts";
import type { KeySource, KeyVersion } from "../keys.ts";
import { MAX_SHARDS, type Manifest } from "../manifest.ts";
import type { RoomId } from "../room.ts";
import type { State } from "../state.ts";
import type { Verdict } from "../verdict.ts";

/** An anchor as later ones, and its own entries, need it. */
export interface StoredAnchor {
  readonly index: number;
  /** Null for a text that is no CID. */
  readonly cid: Cid | null;
  readonly position: Position;
  /** On its account (SPEC 8.3). */
  readonly verdict: Verdict;
  /** Null while its block is missing, and when that is no manifest. */
  readonly manifest: Manifest | null;
}

/** Where an entry stands in the history: by anchor, then by ordinal (SPEC 8.4). */
export interface Place {
  readonly anchorIndex: number;
  /** 8,192 times the number of its shard, plus its place in that. */
  readonly ordinal: number;
}

/** An entry without its verdict. */
export interface PlacedEntry extends Place {
  readonly room: RoomId;
  readonly cid: Cid;
}

/** A shard or heads block of an anchor that is not done with. */
export interface OpenPart {
  readonly anchorIndex: number;
  /** The number of a shard; of a heads block, {@link FIRST_HEADS} plus its number. */
  readonly part: number;
  readonly cid: Cid;
  /** `missing`: it is not here. `listing`: it is here, and some of its entries are not listed yet. `refused`: it is no shard. */
  readonly status: "missing" | "listing" | "refused";
  /** Why it is refused; null otherwise. */
  readonly refusal: Verdict | null;
}

/** Heads blocks are numbered behind the shards that a manifest has at most. Indexes keep these numbers. */
export const FIRST_HEADS = MAX_SHARDS;

export interface ReplayStore extends KeySource {
  /** A block that is available, proved to be what its CID names; undefined for any other. */
  block(cid: Cid): Uint8Array | undefined;
  /**
   * Keeps a heads block until the anchor is decided, whatever becomes of other anchors that have it, too.
   * @returns false when there is no room for it
   */
  keepBlock(anchorIndex: number, cid: Cid, bytes: Uint8Array): boolean;

  /** Whether a version of the wallet is verified and bound by its signature (SPEC 8.2). */
  hasSigned(wallet: Address): boolean;
  addKey(key: KeyVersion): void;
  addRevocation(event: RevocationEvent): void;

  addAnchor(event: AnchorEvent, verdict: Verdict): void;
  anchor(index: number): StoredAnchor | undefined;
  /** The lowest index with this CID; undefined when no anchor has it. */
  firstAnchor(cid: Cid): number | undefined;
  setManifest(index: number, manifest: Manifest): void;
  /** Keeps the state after an anchor that is about to be verified, in steps. */
  keepStateSteps(index: number, state: State): Generator<undefined, void>;
  /** The verdict on an anchor that had none. */
  decideAnchor(index: number, verdict: Verdict): void;
  /** The state after a verified anchor. */
  state(index: number): State;
  /** Anchors without a verdict whose manifest is here and builds on this one; ascending, behind `after`. */
  waitingFor(base: number, after: number, limit: number): readonly number[];

  /** Notes a part that is not done with, or what became of it. */
  setPart(part: OpenPart): void;
  /** It is done with, or not needed any more. */
  deletePart(part: OpenPart): void;
  /** Those of an anchor, by ascending number. */
  openParts(anchorIndex: number): readonly OpenPart[];
  /** False only when no anchor waits for this block as its manifest, and none as a part: most blocks are messages. */
  mayBePartOfAnchor(cid: Cid): boolean;
  /** Parts that are missing this block. */
  partsAwaiting(cid: Cid, limit: number): readonly OpenPart[];

  /** A new entry. */
  addEntry(entry: PlacedEntry, verdict: Verdict, message: MessageSummary | null): void;
  /** What became of an entry that was missing. */
  decideEntry(entry: PlacedEntry, verdict: Verdict, message: MessageSummary | null): void;
  /** Another verdict on an entry that had one: a verified one becomes DUPLICATE (SPEC 8.4). */
  reviseEntry(place: Place, cid: Cid, verdict: Verdict): void;
  /** Entries of this message that are missing, in the order of the history. */
  missingPlaces(cid: Cid, limit: number): readonly PlacedEntry[];
  /** The verified entry of a message. There is one at most: a message has one room, and in it one place. */
  verifiedPlace(cid: Cid): Place | undefined;
  /** How many entries of this shard are listed: those with the lowest ordinals. */
  listedCount(anchorIndex: number, shard: number): number;
  /** An anchor's entries with ordinals from `from` on, ascending. */
  listing(anchorIndex: number, from: number, limit: number): readonly PlacedEntry[];
}

/** Negative when `a` stands before `b` in the history. */
export function comparePlaces(a: Place, b: Place): number {
  return a.anchorIndex - b.anchorIndex || a.ordinal - b.ordinal;
}
