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

export interface WantList {
  /** Whether something still waits for this block. */
  has(cid: Cid): boolean;
  /** What came to be wanted since this was last called. A block that was wanted as a document comes again when an anchor names it. */
  takeNew(): readonly Want[];
}
