/** Where blocks live. Every store and source is believed only as far as the hashes go. */
import type { Cid } from "../../protocol/cid.ts";
import type { Block } from "../../protocol/manifest.ts";
import type { SourceHealth } from "./health.ts";

/** Whatever gives blocks. */
export interface ContentSource {
  /** Fit to be shown and logged. */
  readonly name: string;
  /** Whether it answers from this machine's disk: asking it costs next to nothing. */
  readonly isLocal: boolean;

  /**
   * The block's bytes, verified; null when the source says that it does not have the block, or searched for it and did not find it.
   * @param maxBytes of an answer from another machine; the size limit of blocks by default
   * @throws BLOCK_HASH_MISMATCH, BLOCK_TOO_LARGE, CONTENT_UNREACHABLE with a fault of source-fault.ts as its cause; whatever the
   *   signal was aborted with
   */
  fetch(cid: Cid, signal?: AbortSignal, maxBytes?: number): Promise<Uint8Array | null>;

  /** As {@link fetch}, of what it holds itself, without searching elsewhere. A local source holds all that it can give. */
  peek?(cid: Cid): Promise<Uint8Array | null>;

  close(): Promise<void>;
}

export interface MissingOptions {
  /** False: only these themselves are looked for, whatever they link to. */
  readonly isFollowing?: boolean;
  /** Whether every block is read and held against its hash; otherwise one that is there may be damaged. */
  readonly isProving?: boolean;
}

export interface GetOptions {
  /** When it is aborted, the search is given up, and the answer is null. */
  readonly signal?: AbortSignal;
  /** The anchors that name the block, for whoever orders requests by that: the one that is trusted most counts. */
  readonly anchors?: Iterable<number>;
  /** What another machine sends beyond that is not read, and the answer is null. The size limit of blocks by default. */
  readonly maxBytes?: number;
  /** What it is wanted as. */
  readonly kind?: "manifest" | "message";
}

export interface ContentStore {
  /** Fit to be shown and logged. */
  readonly name: string;

  /**
   * Verified bytes, or null when the store does not have them: wrong bytes are as good as none.
   * @throws CONTENT_UNREACHABLE when the store itself fails
   */
  get(cid: Cid, options?: GetOptions): Promise<Uint8Array | null>;

  /**
   * The block, from what answers at once: this machine's disk, and what a node holds itself. Never rejects. A store without it has
   * nothing of the kind, or answers to {@link get} as quickly.
   */
  peek?(cid: Cid): Promise<Uint8Array | null>;

  /**
   * Stores blocks; when it resolves they are durable, and safe from garbage collection with all that they link to.
   * @throws CONTENT_WRITE_FAILED, BLOCK_HASH_MISMATCH, BLOCK_TOO_LARGE, CONTENT_MISSING when one links to a block that is not there
   */
  put(blocks: readonly Block[]): Promise<void>;

  /**
   * Keeps what these link to from garbage collection, and themselves.
   * @param options.isSearching false: a block that is not available at once is missing, and is not searched for
   * @throws CONTENT_MISSING, CONTENT_WRITE_FAILED, CONTENT_UNREACHABLE
   */
  pin(roots: readonly Cid[], options?: { readonly isSearching?: boolean }): Promise<void>;

  /**
   * Of these and of all that they link to, the blocks that are not available: at most `limit`, none when a pin would find everything.
   * Who has them can put them, and ask again.
   * @throws CONTENT_UNREACHABLE
   */
  missing(roots: readonly Cid[], limit: number, options?: MissingOptions): Promise<Cid[]>;

  /**
   * Which of these are pinned by their own CID, as an anchor's manifest is. What was put or pinned along with others may be held
   * by a pin on all of them, and is not among these.
   * @throws CONTENT_UNREACHABLE
   */
  isPinned(cids: readonly Cid[]): Promise<boolean[]>;

  /** How each place that this store reads from has done so far. */
  health?(): readonly SourceHealth[];

  close(): Promise<void>;
}

/** A store on this machine's disk. */
export interface LocalStore extends ContentStore {
  /**
   * Those of these that it has, in this order, until they have that number of bytes: as {@link ContentStore.get} gives them, in fewer
   * transactions.
   * @throws CONTENT_UNREACHABLE when the store itself fails
   */
  getAll(cids: readonly Cid[], maxBytes: number): Promise<ReadonlyMap<Cid, Uint8Array>>;
}
