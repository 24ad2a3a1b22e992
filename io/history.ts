/** A history from chain and content alone. */
import type { Cid } from "../protocol/cid.ts";
import { envelopeIn, type Envelope } from "../protocol/envelope.ts";
import type { ChainEvent } from "../protocol/event.ts";
import type { BlockSource } from "../protocol/replay/memory-store.ts";
import { Replay } from "../protocol/replay/replay.ts";
import type { Deployment } from "../protocol/room.ts";
import type { BlockFinder } from "./block-finder.ts";
import { forEachConcurrent } from "./concurrent.ts";
import type { ContentStore } from "./content/store.ts";
import { verified } from "./content/verified.ts";

interface RebuildProgress {
  /** Blocks. */
  readonly fetched: number;
  readonly missing: number;
}

interface RebuildOptions {
  readonly onProgress?: (progress: RebuildProgress) => void;
  /**
   * Sees every block that was fetched and is an envelope; none is kept otherwise. What an anchor names a block as does not matter: a
   * manifest may name another anchor's message as its shard, and that block is not fetched a second time as a message.
   */
  readonly keep?: (cid: Cid, bytes: Uint8Array, envelope: Envelope) => void;
  readonly concurrency?: number;
  readonly random?: () => number;
}

/** A store, or a finder that remembers what was absent (block-finder.ts). */
export type BlockReader = Pick<ContentStore, "get"> & Partial<Pick<BlockFinder, "isKnownAbsent">>;

/** A block to fetch, and the anchors that name it. */
interface Wanted {
  readonly cid: Cid;
  /** Read again each time that it is looped over. */
  readonly anchors: Iterable<number>;
}

/** What is fetched before it is settled: bounds memory, and is enough that settling often costs little. */
const BATCH_BLOCKS = 16_384;
const BATCH_BYTES = 32 * 1024 * 1024;

/**
 * Replays a history to the point where no block that can be had is left to fetch; what no source has stays missing.
 * @param events in chain order
 * @throws CONTENT_UNREACHABLE, CHAIN_INCOMPLETE
 */
export async function rebuild(
  deployment: Deployment,
  events: Iterable<ChainEvent>,
  content: BlockReader,
  options: RebuildOptions = {},
): Promise<Replay> {
  const replay = new Replay(deployment);
  for (const event of events) replay.add(event);
  const fetcher = new Fetcher(content, options);
  replay.settle(fetcher.source);
  for (;;) {
    // What anchors are made of comes first: it says which messages there are.
    const manifests = fetcher.choose(replay, replay.missingParts());
    const messages = manifests.length > 0 ? [] : fetcher.choose(replay, replay.missingMessages());
    const heads = manifests.length + messages.length > 0 ? [] : fetcher.chooseHeads(replay);
    if (manifests.length + messages.length + heads.length === 0) return replay;
    await fetcher.fetch(manifests, "manifest");
    await fetcher.fetch(messages, "message");
    await fetcher.fetch(heads, "manifest");
    replay.settle(fetcher.source);
    fetcher.forget();
    options.onProgress?.({ fetched: fetcher.fetched, missing: replay.missing().size });
  }
}

/** Fetches blocks and holds them until they are settled. */
class Fetcher {
  fetched = 0;
  private readonly content: BlockReader;
  private readonly options: RebuildOptions;
  private held = new Map<Cid, Uint8Array>();
  private readonly absent = new Set<Cid>();
  /** Anchors whose heads were all asked for at once: what is absent then stays so. */
  private readonly askedAtOnce = new Set<number>();

  constructor(content: BlockReader, options: RebuildOptions) {
    this.content = content;
    this.options = options;
  }

  readonly source: BlockSource = (cid) => this.held.get(cid);

  /** Of these, as many as a batch takes that were not found to be absent before. */
  choose(replay: Replay, cids: Iterable<Cid>): readonly Wanted[] {
    const chosen = new Set<Cid>();
    for (const cid of cids) {
      if (chosen.size === BATCH_BLOCKS) break;
      if (!this.absent.has(cid)) chosen.add(cid);
    }
    return Array.from(chosen, (cid) => ({ cid, anchors: { [Symbol.iterator]: () => replay.anchorsNaming(cid) } }));
  }

  /** The heads of one anchor of which none was found to be absent: 32 MiB at most, which one batch takes. */
  chooseHeads(replay: Replay): readonly Wanted[] {
    for (const { anchorIndex, cids } of replay.missingHeads()) {
      if (this.askedAtOnce.has(anchorIndex)) continue;
      this.askedAtOnce.add(anchorIndex);
      if (!cids.some((cid) => this.absent.has(cid))) return cids.map((cid) => ({ cid, anchors: [anchorIndex] }));
    }
    return [];
  }

  /** Fetches these until a batch is full; what was absent in an earlier run comes last. */
  async fetch(wanted: readonly Wanted[], kind: "manifest" | "message"): Promise<void> {
    let sizeBytes = 0;
    const [known, others] = partition(wanted, ({ cid, anchors }) => this.content.isKnownAbsent?.(cid, anchors));
    const ordered = [...others, ...spread(known, this.options.random ?? Math.random)];
    await forEachConcurrent(ordered, this.options.concurrency ?? 16, async ({ cid, anchors }) => {
      if (sizeBytes >= BATCH_BYTES) return;
      const bytes = verified(cid, await this.content.get(cid, { anchors, kind }));
      if (bytes === null) {
        this.absent.add(cid);
        return;
      }
      sizeBytes += bytes.length;
      this.fetched += 1;
      this.held.set(cid, bytes);
      this.offer(cid, bytes);
    });
  }

  private offer(cid: Cid, bytes: Uint8Array): void {
    const { keep } = this.options;
    if (keep === undefined) return;
    const envelope = envelopeIn(bytes);
    if (envelope !== null) keep(cid, bytes, envelope);
  }

  /** Lets go of all blocks: what was settled is not needed again. */
  forget(): void {
    this.held = new Map();
  }
}

function partition<T>(items: readonly T[], test: (item: T) => boolean | undefined): [T[], T[]] {
  const parts: [T[], T[]] = [[], []];
  for (const item of items) parts[test(item) === true ? 0 : 1].push(item);
  return parts;
}

/** The first of each anchor, in any order of the anchors, then the second of each: where one turned up, all of its anchor may have. */
function spread(wanted: readonly Wanted[], random: () => number): Wanted[] {
  const byAnchor = Map.groupBy(wanted, ({ anchors }) => firstOf(anchors));
  const ranked = [...byAnchor.values()].flatMap((blocks) => {
    const order = random();
    return blocks.map((block, rank) => ({ block, rank, order }));
  });
  return ranked.sort((a, b) => a.rank - b.rank || a.order - b.order).map(({ block }) => block);
}

function firstOf(anchors: Iterable<number>): number | null {
  for (const anchor of anchors) return anchor;
  return null;
}
