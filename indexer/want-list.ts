/** What the fetcher sees of the history: the blocks without which something stays undecided. */
import type { Cid } from "../protocol/cid.ts";

/**
 * `anchor`: a manifest, a shard or a heads block. `message`: what a shard lists. `document`: a key document, which no verdict on a
 * message rests on, and of which anybody can register any number.
 */
export type WantKind = "anchor" | "message" | "document";

/** A block that is wanted. */
export interface Want {
  readonly cid: Cid;
  readonly kind: WantKind;
  /** The anchor that names it; null for a key document. */
  readonly anchorIndex: number | null;
}

/** Where a page ends: two numbers that only the list understands, which come in the order of its pages. */
export type WantCursor = readonly [number, number];

export interface WantPage {
  /** At most as many as were asked for. A block that several anchors name may come more than once. */
  readonly wants: readonly Want[];
  /** Where the next page begins; null behind the last one. */
  readonly next: WantCursor | null;
  /** As {@link next}, for whoever has no use for more of the anchor that the last of these wants is of. */
  readonly nextAnchor: WantCursor | null;
}

/** CIDs that only change when the history does. */
export interface CidSet extends Iterable<Cid> {
  readonly size: number;
  has(cid: Cid): boolean;
}

/**
 * All that is missing, however much that is. The history keeps it with its rows; only the newest is in memory, so that nothing grows
 * with what nobody has. All methods are synchronous and take a bounded time.
 */
export interface WantList {
  /** Whether something still waits for this block. */
  has(cid: Cid): boolean;
  /**
   * What came to be wanted since this was last called: {@link MAX_NEW} at most, the newest. A block that was wanted before comes again when
   * another anchor names it.
   */
  takeNew(): NewWants;
  /** What is missing of one kind, in the order of the history; what came to be missing behind the cursor is in later pages. */
  page(kind: WantKind, after: WantCursor | null, limit: number): WantPage;
}

export interface NewWants {
  /** The newest last. */
  readonly wants: readonly Want[];
  /** False when more came than is kept, and for the first call: the rest is found in the pages. */
  readonly isAll: boolean;
}

export const MAX_NEW = 65_536;
export const WANT_KINDS: readonly WantKind[] = ["anchor", "message", "document"];
