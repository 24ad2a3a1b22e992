/** Blocks from wherever they can be had to a store, so that a pin of their root holds all of them. */
import { forEachConcurrent } from "../io/concurrent.ts";
import { linksOf, MAX_LINK_DEPTH } from "../io/content/links.ts";
import type { ContentStore } from "../io/content/store.ts";
import type { Cid } from "../protocol/cid.ts";
import type { Block } from "../protocol/manifest.ts";

/** Null for a block that nobody has. */
export type FindBlock = (cid: Cid) => Promise<Uint8Array | null>;

interface Copy {
  /** Blocks that the store took. */
  readonly copied: number;
  /** Blocks that nobody has. */
  readonly missing: readonly Cid[];
  /** What leads to the missing ones, and was not put: shards and heads, then the manifest. */
  readonly left: readonly Block[];
}

const CONCURRENT = 16;
/** How many messages are held at once on their way to another store. */
const BATCH = 1_000;

/** One root and all that it links to: messages first, so that what is stored never links to what is not. */
export async function copyRoot(find: FindBlock, target: ContentStore, root: Cid): Promise<Copy> {
  const missing: Cid[] = [];
  const above: Block[] = [];
  let copied = 0;
  let level = [root];
  // Manifest, then shards and heads.
  for (let depth = 0; depth < MAX_LINK_DEPTH; depth++) {
    const blocks = await findAll(find, level);
    for (const cid of lackingOf(level, blocks)) missing.push(cid);
    above.unshift(...blocks);
    level = [...new Set(blocks.flatMap(({ bytes }) => linksOf(bytes)))];
  }
  for (let start = 0; start < level.length; start += BATCH) {
    const part = await target.missing(level.slice(start, start + BATCH), BATCH, {
      isFollowing: false,
      isProving: true,
    });
    const blocks = await findAll(find, part);
    for (const cid of lackingOf(part, blocks)) missing.push(cid);
    await target.put(blocks);
    copied += blocks.length;
  }
  // With a gap below, a pin of what is above would not hold: it is not put before the gap is closed.
  if (missing.length > 0) return { copied, missing, left: above };
  await target.put(above);
  await target.pin([root], { isSearching: false });
  return { copied: copied + above.length, missing, left: [] };
}

/** Those of these blocks that somebody has, in their order. */
async function findAll(find: FindBlock, cids: readonly Cid[]): Promise<Block[]> {
  const found: (Block | undefined)[] = cids.map(() => undefined);
  await forEachConcurrent(cids, CONCURRENT, async (cid, i) => {
    const bytes = await find(cid);
    if (bytes !== null) found[i] = { cid, bytes };
  });
  return found.filter((block) => block !== undefined);
}

function lackingOf(cids: readonly Cid[], blocks: readonly Block[]): Cid[] {
  const present = new Set(blocks.map(({ cid }) => cid));
  return cids.filter((cid) => !present.has(cid));
}
