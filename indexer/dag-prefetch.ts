/**
 * A manifest with its shards, heads and messages, or a shard with its messages: fetched together from a store that has them locally,
 * so that an anchor is decided, with all that it lists, in one transaction. Which blocks a block links to is decided by its bytes alone.
 */
import { setImmediate as nextTurn } from "node:timers/promises";

import { linkedDigests, MAX_LINK_DEPTH } from "../io/content/links.ts";
import type { ContentStore, LocalStore } from "../io/content/store.ts";
import { verified } from "../io/content/verified.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { manifestIn } from "../protocol/manifest.ts";
import { MAX_SHARD_ENTRIES } from "../protocol/shard.ts";

/** What one prefetch takes at most. */
export interface PrefetchLimits {
  readonly maxBlocks: number;
  readonly maxBytes: number;
}

/**
 * A shard with all that it can list, of messages of a usual size. Larger DAGs are not prefetched whole; the
 * rest is fetched once it is known to be missing.
 */
const LIMITS: PrefetchLimits = { maxBlocks: 2 * MAX_SHARD_ENTRIES, maxBytes: 8 * 1024 * 1024 };
/** The follower waits for these blocks, and verifies their signatures on its own thread, so there are few. */
const MAX_EVENTS_AT_ONCE = 16;
const LIMITS_AT_ONCE: PrefetchLimits = { maxBlocks: 256, maxBytes: 2 * 1024 * 1024 };
/** Blocks that are read and verified before others have their turn. */
const STEP_BLOCKS = 256;
/** A manifest is 64 links and a few numbers. */
const MAX_MANIFEST_BYTES = 32_768;

/**
 * @param isUnderWay whether a linked block is being fetched already, and is left out
 * @returns these blocks and the blocks that they link to, as far as the store has them
 * @throws what the store throws
 */
export async function prefetchDag(
  content: Pick<LocalStore, "getAll">,
  cids: readonly Cid[],
  isUnderWay: (cid: Cid) => boolean = () => false,
  { maxBlocks, maxBytes } = LIMITS,
): Promise<ReadonlyMap<Cid, Uint8Array>> {
  const found = new Map<Cid, Uint8Array>();
  let sizeBytes = 0;
  let left = maxBlocks;
  let wanted = cids;
  // A block that looks as if it linked further than a manifest does is not followed further.
  for (let depth = 0; depth <= MAX_LINK_DEPTH && wanted.length > 0 && left > 0 && sizeBytes < maxBytes; depth++) {
    const asked = wanted.slice(0, left);
    left -= asked.length;
    const links = new Set<Cid>();
    for (let at = 0; at < asked.length && sizeBytes < maxBytes; at += STEP_BLOCKS) {
      for (const [cid, bytes] of await content.getAll(asked.slice(at, at + STEP_BLOCKS), maxBytes - sizeBytes)) {
        if (verified(cid, bytes) === null) continue;
        found.set(cid, bytes);
        sizeBytes += bytes.length;
        if (depth === MAX_LINK_DEPTH) continue;
        for (const link of listChildLinks(bytes, maxBlocks)) links.add(link);
      }
      // Thousands of blocks to hash are more than others should wait for.
      if (at + STEP_BLOCKS < asked.length) await nextTurn();
    }
    wanted = Array.from(links).filter((link) => !found.has(link) && !isUnderWay(link));
  }
  return found;
}

/**
 * The blocks that these events name and a local store has. It is empty for a remote store and for more than 16 events, and has at most 256
 * blocks of anchors. It never rejects, since a block that is not given here is fetched later.
 */
export async function readLocalBlocks(
  content: ContentStore | LocalStore,
  events: readonly ChainEvent[],
): Promise<ReadonlyMap<Cid, Uint8Array>> {
  if (!("getAll" in content) || events.length > MAX_EVENTS_AT_ONCE) return new Map();
  const manifests = events.flatMap((event) => (event.kind === "anchor" ? (event.cid ?? []) : []));
  const documents = events.flatMap((event) => (event.kind === "key" ? cidOfDigest(event.document) : []));
  try {
    const found = new Map(await prefetchDag(content, manifests, undefined, LIMITS_AT_ONCE));
    // A key document has no links.
    for (const [cid, bytes] of await content.getAll(documents, LIMITS_AT_ONCE.maxBytes)) {
      if (verified(cid, bytes) !== null) found.set(cid, bytes);
    }
    return found;
  } catch {
    return new Map();
  }
}

/**
 * The shards and heads of a manifest; of any other block, all that looks like a link, unless that is more than a shard may list. Of a
 * manifest that lists more than is taken, none: each of its shards is fetched with its messages once it is known to be missing.
 */
function listChildLinks(block: Uint8Array, maxBlocks: number): readonly Cid[] {
  const digests: Uint8Array[] = [];
  for (const digest of linkedDigests(block)) {
    if (digests.length === MAX_SHARD_ENTRIES) return [];
    digests.push(digest);
  }
  const manifest = digests.length === 0 || block.length > MAX_MANIFEST_BYTES ? null : manifestIn(block);
  if (manifest === null) return digests.map(cidOfDigest);
  return manifest.count > maxBlocks ? [] : [...manifest.rooms, ...manifest.heads];
}
