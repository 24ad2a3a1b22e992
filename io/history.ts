/** A history from chain and content alone. */
import type { BlockSource } from "../protocol/anchor.ts";
import type { Cid } from "../protocol/cid.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { Replay } from "../protocol/replay.ts";
import type { Deployment } from "../protocol/room.ts";
import { forEachConcurrent } from "./concurrent.ts";
import type { ContentStore } from "./content/store.ts";
import { verified } from "./content/verified.ts";

export interface RebuildProgress {
  /** Blocks. */
  readonly fetched: number;
  readonly missing: number;
  /** Of blocks that wait in memory for others. */
  readonly heldBytes: number;
}

export interface RebuildOptions {
  readonly onProgress?: (progress: RebuildProgress) => void;
  /** Sees every block that was fetched, once; none is kept otherwise. */
  readonly keep?: (cid: Cid, bytes: Uint8Array, kind: "manifest" | "message") => void;
  readonly concurrency?: number;
}

/** What is fetched before it is settled: bounds memory, and is enough that settling often costs little. */
const BATCH_BLOCKS = 16_384;
const BATCH_BYTES = 32 * 1024 * 1024;
/** What is held at most of anchors whose turn has not come: an anchor that stays missing must not fill the memory. */
const AHEAD_BYTES = 64 * 1024 * 1024;

/**
 * Replays a history to the point where no block that can be had is left to fetch; what no source has stays missing.
 * @param events in chain order
 * @throws CONTENT_UNREACHABLE, CHAIN_INCOMPLETE
 */
export async function rebuild(
  deployment: Deployment,
  events: Iterable<ChainEvent>,
  content: Pick<ContentStore, "get">,
  options: RebuildOptions = {},
): Promise<Replay> {
  const replay = new Replay(deployment);
  for (const event of events) replay.add(event);
  const fetcher = new Fetcher(content, options);
  replay.settle(fetcher.source);
  for (;;) {
    const ahead = fetcher.sizeBytes < AHEAD_BYTES;
    const manifests = manifestBlocks(replay, ahead, fetcher.isAbsent).filter(fetcher.canFetch);
    if (manifests.length > 0) {
      await fetcher.fetch(manifests, "manifest");
    } else {
      // No part of an anchor that can't be decided: it would be let go and fetched again for ever.
      const messages = new Set<Cid>();
      for (const cid of replay.missingMessages()) {
        if (messages.size === BATCH_BLOCKS) break;
        if (fetcher.canFetch(cid)) messages.add(cid);
      }
      if (messages.size === 0) return replay;
      await fetcher.fetch([...messages], "message");
    }
    replay.settle(fetcher.source);
    fetcher.forget(new Set(manifestBlocks(replay, true, fetcher.isAbsent)));
    options.onProgress?.({
      fetched: fetcher.fetched,
      missing: replay.missing().size,
      heldBytes: fetcher.sizeBytes,
    });
  }
}

/**
 * The blocks that undecided anchors are made of, in the order of the chain, without duplicates. Of an anchor that lacks one which
 * no source has, none: it stays undecided, and a thousand of them would fill the memory.
 * @param ahead also those of anchors whose base is not decided, so that a line of a thousand anchors is not a thousand rounds
 */
function manifestBlocks(replay: Replay, ahead: boolean, isAbsent: (cid: Cid) => boolean): Cid[] {
  const cids = new Set<Cid>();
  for (const { event, manifest, verdict, wants } of replay.anchors) {
    if (verdict.status !== "missing" || event.cid === null || wants.some(isAbsent)) continue;
    if (!ahead) for (const cid of wants) cids.add(cid);
    else for (const cid of [event.cid, ...(manifest?.rooms ?? []), ...(manifest?.heads ?? [])]) cids.add(cid);
  }
  return [...cids];
}

/** Fetches blocks and holds them until they are settled. */
class Fetcher {
  fetched = 0;
  /** Of what is held. */
  sizeBytes = 0;
  private readonly content: Pick<ContentStore, "get">;
  private readonly options: RebuildOptions;
  private readonly held = new Map<Cid, Uint8Array>();
  private readonly absent = new Set<Cid>();

  constructor(content: Pick<ContentStore, "get">, options: RebuildOptions) {
    this.content = content;
    this.options = options;
  }

  readonly source: BlockSource = (cid) => this.held.get(cid);

  readonly isAbsent = (cid: Cid): boolean => this.absent.has(cid);

  readonly canFetch = (cid: Cid): boolean => !this.held.has(cid) && !this.absent.has(cid);

  /** As many of these as a batch takes. */
  async fetch(cids: readonly Cid[], kind: "manifest" | "message"): Promise<void> {
    const limit = this.sizeBytes + BATCH_BYTES;
    await forEachConcurrent(cids.slice(0, BATCH_BLOCKS), this.options.concurrency ?? 16, async (cid) => {
      if (this.sizeBytes >= limit) return;
      const bytes = verified(cid, await this.content.get(cid));
      if (bytes === null) {
        this.absent.add(cid);
        return;
      }
      this.sizeBytes += bytes.length;
      this.fetched += 1;
      this.held.set(cid, bytes);
      this.options.keep?.(cid, bytes, kind);
    });
  }

  /** Lets go of all but what undecided anchors still need. */
  forget(needed: ReadonlySet<Cid>): void {
    for (const [cid, bytes] of this.held) {
      if (needed.has(cid)) continue;
      this.held.delete(cid);
      this.sizeBytes -= bytes.length;
    }
  }
}
