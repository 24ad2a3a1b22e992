/**
 * A manifest with its shards, heads and messages, or a shard with its messages: fetched together from a store that has them at hand,
 * so that an anchor is decided, with all that it lists, in one transaction. What a block leads to is told by its form alone.
 */
import { linkedDigests, MAX_LINK_DEPTH } from "../io/content/links.ts";
import type { LocalStore } from "../io/content/store.ts";
import { verified } from "../io/content/verified.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import { manifestIn } from "../protocol/manifest.ts";

/** Of an anchor that is larger, or of one that lists what is nowhere, the rest is fetched when it is known to be missing. */
const MAX_BYTES = 2 * 1024 * 1024;
const MAX_BLOCKS = 4_096;
/** A shard that is larger leads to more than that. */
const MAX_LEADING_BYTES = 262_144;
/** 512 links, and little else. */
const MAX_MANIFEST_BYTES = 32_768;

/**
 * @param isUnderWay what is not to be fetched again
 * @returns the block and what it leads to, as far as the store has it
 * @throws what the store throws
 */
export async function familyOf(
  content: Pick<LocalStore, "getAll">,
  cid: Cid,
  block: Uint8Array,
  isUnderWay: (cid: Cid) => boolean,
): Promise<ReadonlyMap<Cid, Uint8Array>> {
  const family = new Map([[cid, block]]);
  let sizeBytes = block.length;
  let left = MAX_BLOCKS;
  let generation = [block];
  // Whatever else a block looks like, no more is followed.
  for (let depth = 0; depth < MAX_LINK_DEPTH && left > 0 && sizeBytes < MAX_BYTES; depth++) {
    const leads = new Set(generation.flatMap(leadsOf));
    const asked = Array.from(leads)
      .filter((lead) => !family.has(lead) && !isUnderWay(lead))
      .slice(0, left);
    left -= asked.length;
    generation = [];
    for (const [lead, bytes] of await content.getAll(asked, MAX_BYTES - sizeBytes)) {
      if (verified(lead, bytes) === null) continue;
      family.set(lead, bytes);
      sizeBytes += bytes.length;
      generation.push(bytes);
    }
  }
  return family;
}

/** The shards and heads of a manifest; of any other block, all that looks like a link. */
function leadsOf(block: Uint8Array): readonly Cid[] {
  if (block.length > MAX_LEADING_BYTES) return [];
  const digests = [...linkedDigests(block)];
  const manifest = digests.length === 0 || block.length > MAX_MANIFEST_BYTES ? null : manifestIn(block);
  return manifest === null ? digests.map(cidOfDigest) : [...manifest.rooms, ...manifest.heads];
}
