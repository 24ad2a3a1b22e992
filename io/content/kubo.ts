/** Kubo as a content store, by its RPC API. */
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, linkTo, verifyBlock, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { forEachConcurrent } from "../concurrent.ts";
import { isBodyRefused, KuboRpc } from "./kubo-rpc.ts";
import { LINK_HEAD, linksOf, MAX_LINK_DEPTH } from "./links.ts";
import { faultOf } from "./source-fault.ts";
import type { ContentSource, ContentStore, GetOptions, MissingOptions } from "./store.ts";

export interface KuboOptions {
  /** Sent with every request: a token, say, that the API or a proxy before it asks for. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What a person may do when it cannot be asked; by default the hint names IPFS_API_URL. */
  readonly hint?: string;
  /** How long the network is searched for a block. */
  readonly searchTimeoutMs?: number;
  /** How long a pin may take, which fetches all that it links to. */
  readonly pinTimeoutMs?: number;
  /** How long a batch of blocks may take to be written, 64 MiB at most. */
  readonly writeTimeoutMs?: number;
}

const CONCURRENT = 16;
/** Fewer pins are asked about one by one; more are looked up in the whole list. */
const MAX_SINGLE_LOOKUPS = 32;
/** Looks at a list that garbage collection takes away each time. */
const MAX_LOOKS = 5;
/** What goes into one import: a list of links to all of it is a block too. */
const MAX_BATCH_BLOCKS = 16_384;
const MAX_BATCH_BYTES = 64 * 1024 * 1024;
/** In the list of links, and in the CAR beside the block's bytes. */
const LINK_BYTES = 41;
const BLOCK_OVERHEAD = LINK_BYTES + 40;

export class KuboStore implements ContentStore, ContentSource {
  readonly name: string;
  readonly isLocal = false;
  private readonly rpc: KuboRpc;
  private readonly searchTimeoutMs: number;
  private readonly pinTimeoutMs: number;
  private readonly writeTimeoutMs: number;
  /** Of one request, as far as is known. */
  private maxBytes = MAX_BATCH_BYTES;

  /** @param url of the API, without a path or ending in `/api/v0`; a user name and password are sent as basic authentication */
  constructor(url: URL, options: KuboOptions = {}) {
    const { headers = {}, searchTimeoutMs = 15_000, pinTimeoutMs = 600_000, writeTimeoutMs = 60_000 } = options;
    this.rpc = new KuboRpc(url, headers, options.hint);
    this.name = this.rpc.name;
    this.searchTimeoutMs = searchTimeoutMs;
    this.pinTimeoutMs = pinTimeoutMs;
    this.writeTimeoutMs = writeTimeoutMs;
  }

  async get(cid: Cid, { maxBytes }: GetOptions = {}): Promise<Uint8Array | null> {
    try {
      return await this.fetch(cid, undefined, maxBytes);
    } catch (error) {
      if (["wrong", "large", "slow"].includes(faultOf(error).fault)) return null;
      throw error;
    }
  }

  async fetch(cid: Cid, signal?: AbortSignal, maxBytes?: number): Promise<Uint8Array | null> {
    const { rpc, searchTimeoutMs } = this;
    const bytes =
      (await rpc.getBlock(cid, null, signal, maxBytes)) ?? (await rpc.getBlock(cid, searchTimeoutMs, signal, maxBytes));
    return bytes === null ? null : verifyBlock(cid, bytes);
  }

  async peek(cid: Cid): Promise<Uint8Array | null> {
    const bytes = await this.rpc.getBlock(cid, null);
    return bytes === null ? null : verifyBlock(cid, bytes);
  }

  async put(blocks: readonly Block[]): Promise<void> {
    for (const { cid, bytes } of blocks) verifyBlock(cid, bytes);
    await this.inParts(
      blocks,
      ({ bytes }) => bytes.length + BLOCK_OVERHEAD,
      (batch) => this.putBatch(batch),
    );
  }

  async pin(roots: readonly Cid[], { isSearching = true } = {}): Promise<void> {
    // One pin on a list of them: Kubo syncs its index after each pin, about 500 times a second.
    await this.inParts(
      roots,
      () => LINK_BYTES,
      async (part) => {
        const { root, block } = listOf(part);
        if (!isSearching) {
          const lacking = await this.lackingBelow(root, block);
          if (lacking !== null) throw new DmtpError("CONTENT_MISSING", `${this.name} lacks a block: ${lacking}`);
        }
        if (block.length > 0) await this.rpc.import(block, root, true, this.pinTimeoutMs);
        else await this.rpc.pin(root, this.pinTimeoutMs);
      },
    );
  }

  private async putBatch(batch: readonly Block[]): Promise<void> {
    const { root, block } = listOf(batch.map(({ cid }) => cid));
    const all = [...batch, ...block];
    if (batch.some(({ bytes }) => hasLinks(bytes))) {
      // What it links to is looked for first, since a pin would search the network for what is not there.
      await this.rpc.import(all, root, false, this.writeTimeoutMs);
      const lacking = await this.rpc.lacking(root, this.pinTimeoutMs);
      if (lacking !== null && !all.some(({ cid }) => lacking.includes(cid))) {
        throw new DmtpError("CONTENT_MISSING", `${this.name} lacks what a block links to: ${lacking}`);
      }
    }
    await this.rpc.import(all, root, true, this.writeTimeoutMs);
  }

  /**
   * Sends items in as few requests as are taken. A proxy before Kubo may allow bodies of 1 MiB only, and not say so: what is refused is
   * sent again by halves, down to a single item, and no later request is larger than what was taken.
   */
  private async inParts<T>(
    items: readonly T[],
    sizeOf: (item: T) => number,
    send: (part: readonly T[]) => Promise<void>,
  ): Promise<void> {
    for (let at = 0; at < items.length;) {
      const part = takePart(items, at, sizeOf, this.maxBytes);
      try {
        await send(part);
        at += part.length;
      } catch (error) {
        if (part.length === 1 || !isBodyRefused(error)) throw error;
        this.maxBytes = Math.floor(part.reduce((size, item) => size + sizeOf(item), 0) / 2);
      }
    }
  }

  /** What Kubo says that it lacks below a list, which is put there for that and may be collected again before it is looked at. */
  private async lackingBelow(root: Cid, list: readonly Block[]): Promise<string | null> {
    for (let attempt = 1; ; attempt++) {
      await this.rpc.import(list, root, false, this.writeTimeoutMs);
      const lacking = await this.rpc.lacking(root, this.pinTimeoutMs);
      if (lacking === null || !list.some(({ cid }) => lacking.includes(cid))) return lacking;
      // Unseen then: the pin itself fails, if late, when something lacks.
      if (attempt === MAX_LOOKS) return null;
    }
  }

  /** Kubo gives the bytes, which are always proved. */
  async missing(roots: readonly Cid[], limit: number, { isFollowing = true }: MissingOptions = {}): Promise<Cid[]> {
    const missing = new Set<Cid>();
    let level = [...new Set(roots)];
    for (let depth = isFollowing ? 0 : MAX_LINK_DEPTH; depth <= MAX_LINK_DEPTH; depth++) {
      const next: Cid[][] = level.map(() => []);
      await forEachConcurrent(level, CONCURRENT, async (cid, i) => {
        if (missing.size >= limit) return;
        const bytes = await this.rpc.getBlock(cid, null);
        if (bytes === null || !isBlock(cid, bytes)) missing.add(cid);
        else if (depth < MAX_LINK_DEPTH) next[i] = linksOf(bytes);
      });
      level = next.flat();
    }
    return [...missing].slice(0, limit);
  }

  async isPinned(cids: readonly Cid[]): Promise<boolean[]> {
    if (cids.length > MAX_SINGLE_LOOKUPS) {
      const pinned = await this.rpc.listPins(null, this.pinTimeoutMs);
      return cids.map((cid) => pinned.has(cid));
    }
    const found = cids.map(() => false);
    await forEachConcurrent(cids, CONCURRENT, async (cid, i) => {
      found[i] = (await this.rpc.listPins(cid, this.pinTimeoutMs)).has(cid);
    });
    return found;
  }

  close(): Promise<void> {
    this.rpc.close();
    return Promise.resolve();
  }
}

/** The items from `at` on that fit, and at least one. */
function takePart<T>(items: readonly T[], at: number, sizeOf: (item: T) => number, maxBytes: number): readonly T[] {
  let end = at;
  let size = 0;
  while (end < items.length && end - at < MAX_BATCH_BLOCKS) {
    const item = items[end];
    if (item === undefined) break;
    size += sizeOf(item);
    if (size > maxBytes && end > at) break;
    end += 1;
  }
  return items.slice(at, end);
}

function isBlock(cid: Cid, bytes: Uint8Array): boolean {
  try {
    return verifyBlock(cid, bytes).length === bytes.length;
  } catch {
    return false;
  }
}

/** A ciphertext may look so by chance; its block is then only written with more care. */
function hasLinks(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(LINK_HEAD);
}

/** What to pin so that all of these are: the one itself, or a block that is nothing but a list of links to them. */
function listOf(cids: readonly Cid[]): { readonly root: Cid; readonly block: readonly Block[] } {
  const [first] = cids;
  if (first !== undefined && cids.length === 1) return { root: first, block: [] };
  const bytes = encode(cids.map(linkTo));
  const cid = cidOf(bytes);
  return { root: cid, block: [{ cid, bytes }] };
}
