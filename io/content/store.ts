/** Where blocks live. Every store is believed only as far as the hashes go. */
import type { Cid } from "../../protocol/cid.ts";
import type { Block } from "../../protocol/manifest.ts";

export interface ContentStore {
  /** Fit to be shown and logged. */
  readonly name: string;

  /**
   * Verified bytes, or null when the store does not have them: wrong bytes are as good as none.
   * @throws CONTENT_UNREACHABLE when the store itself fails
   */
  get(cid: Cid): Promise<Uint8Array | null>;

  /** Stores blocks in the given order; durable when it resolves. @throws CONTENT_WRITE_FAILED, BLOCK_HASH_MISMATCH, BLOCK_TOO_LARGE */
  put(blocks: readonly Block[]): Promise<void>;

  /**
   * Keeps what these link to from garbage collection, and themselves.
   * @param options.isSearching false: what is not at hand is not searched for, it is missing
   * @throws CONTENT_MISSING, CONTENT_WRITE_FAILED, CONTENT_UNREACHABLE
   */
  pin(roots: readonly Cid[], options?: { readonly isSearching?: boolean }): Promise<void>;

  /**
   * Of these and of all that they link to, the blocks that are not at hand: at most `limit`, none when a pin would find everything.
   * Who has them can put them, and ask again.
   * @throws CONTENT_UNREACHABLE
   */
  missing(roots: readonly Cid[], limit: number): Promise<Cid[]>;

  /** Which of these were pinned as roots. @throws CONTENT_UNREACHABLE */
  isPinned(cids: readonly Cid[]): Promise<boolean[]>;

  close(): Promise<void>;
}
