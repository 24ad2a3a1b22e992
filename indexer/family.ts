/**
 * A manifest with its shards, heads and messages, or a shard with its messages: fetched together from a store that has them at hand,
 * so that an anchor is decided, with all that it lists, in one transaction. What a block leads to is told by its form alone.
 */
import { linkedDigests, MAX_LINK_DEPTH } from "../io/content/links.ts";
import type { ContentStore, LocalStore } from "../io/content/store.ts";
import { verified } from "../io/content/verified.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { manifestIn } from "../protocol/manifest.ts";

/** Of an anchor that is larger, or of one that lists what is nowhere, the rest is fetched when it is known to be missing. */
const MAX_BYTES = 2 * 1024 * 1024;
const MAX_BLOCKS = 4_096;
/** A shard that is larger leads to more than that. */
const MAX_LEADING_BYTES = 262_144;
/** What is taken at once is little: the follower waits for it, and no other thread verifies it. */
const MAX_EVENTS_AT_ONCE = 16;
const MAX_BLOCKS_AT_ONCE = 256;
/** 512 links, and little else. */
const MAX_MANIFEST_BYTES = 32_768;

/**
 * @param isUnderWay of what these lead to, what is not to be fetched again
 * @returns these blocks and what they lead to, as far as the store has them
 * @throws what the store throws
 */
export async function familyOf(
  content: Pick<LocalStore, "getAll">,
  cids: readonly Cid[],
  isUnderWay: (cid: Cid) => boolean = () => false,
  maxBlocks = MAX_BLOCKS,
): Promise<ReadonlyMap<Cid, Uint8Array>> {
  const family = new Map<Cid, Uint8Array>();
  let sizeBytes = 0;
  let left = maxBlocks;
  let wanted = cids;
  // Whatever else a block looks like, no more is followed.
  for (let depth = 0; depth <= MAX_LINK_DEPTH && wanted.length > 0 && left > 0 && sizeBytes < MAX_BYTES; depth++) {
    const asked = wanted.slice(0, left);
    left -= asked.length;
    const leads = new Set<Cid>();
    for (const [cid, bytes] of await content.getAll(asked, MAX_BYTES - sizeBytes)) {
      if (verified(cid, bytes) === null) continue;
      family.set(cid, bytes);
      sizeBytes += bytes.length;
      for (const lead of leadsOf(bytes)) leads.add(lead);
    }
    wanted = Array.from(leads).filter((lead) => !family.has(lead) && !isUnderWay(lead));
  }
  return family;
}

/**
 * Of what these events name, what a local store has: none of another store, none of many events, and not all of much. Never rejects,
 * since what is not given here is fetched.
 */
export async function blocksAtHand(
  content: ContentStore | LocalStore,
  events: readonly ChainEvent[],
): Promise<ReadonlyMap<Cid, Uint8Array>> {
  if (!("getAll" in content) || events.length > MAX_EVENTS_AT_ONCE) return new Map();
  const manifests = events.flatMap((event) => (event.kind === "anchor" ? (event.cid ?? []) : []));
  const documents = events.flatMap((event) => (event.kind === "key" ? cidOfDigest(event.document) : []));
  try {
    const found = new Map(await familyOf(content, manifests, undefined, MAX_BLOCKS_AT_ONCE));
    // A document leads to nothing.
    for (const [cid, bytes] of await content.getAll(documents, MAX_BYTES)) {
      if (verified(cid, bytes) !== null) found.set(cid, bytes);
    }
    return found;
  } catch {
    return new Map();
  }
}

/** The shards and heads of a manifest; of any other block, all that looks like a link. */
function leadsOf(block: Uint8Array): readonly Cid[] {
  if (block.length > MAX_LEADING_BYTES) return [];
  const digests = [...linkedDigests(block)];
  const manifest = digests.length === 0 || block.length > MAX_MANIFEST_BYTES ? null : manifestIn(block);
  return manifest === null ? digests.map(cidOfDigest) : [...manifest.rooms, ...manifest.heads];
}
