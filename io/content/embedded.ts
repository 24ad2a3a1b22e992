/**
 * Blocks in a folder: real CIDs without a daemon. They lie in one SQLite file, because a batch is then one sync instead of one
 * for each block (10,000 blocks: bench/send.ts), 10^6 of them need no folders of their own, and a torn write is SQLite's to mend.
 * Nothing is ever collected, so a pin proves that all is there, and records that it was asked for.
 */
import { digestOfCid, verifyBlock, type Cid } from "../../protocol/cid.ts";
import { DmtpError, type ErrorCode } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { findLinks, hasBlockFile, openBlockFile, plain, readBlock, type BlockFile } from "./block-file.ts";
import { LINK_HEAD, MAX_LINK_DEPTH } from "./links.ts";
import type { ContentSource, LocalStore, MissingOptions } from "./store.ts";

/** Reads are synchronous, for that is several times faster; a server must get its turn in between. */
const YIELD_AFTER_MS = 10;
/** That many take less than that. */
const LOOKUPS = 256;

interface Search extends Required<Pick<MissingOptions, "isProving">> {
  readonly limit: number;
  /** What was found so far. */
  readonly missing: Set<Cid>;
}

export class EmbeddedStore implements LocalStore, ContentSource {
  readonly name: string;
  readonly isLocal = true;
  readonly folder: string;
  private store: BlockFile | undefined;
  private readonly now: () => number;
  private lastYield: number;

  /**
   * @param folder made at the first write
   * @param now milliseconds of a clock that never jumps
   */
  constructor(folder: string, now = (): number => performance.now()) {
    this.folder = folder;
    this.now = now;
    this.lastYield = now();
    this.name = `the folder ${folder}`;
  }

  async get(cid: Cid): Promise<Uint8Array | null> {
    try {
      return await this.fetch(cid);
    } catch (error) {
      if (error instanceof DmtpError && error.kind === "integrity") return null;
      throw error;
    }
  }

  async fetch(cid: Cid): Promise<Uint8Array | null> {
    if (this.isLongSinceYield()) await this.yield();
    return this.reading((store) => {
      const bytes = store?.get.get(digestOfCid(cid));
      return bytes === undefined ? null : verifyBlock(cid, plain(bytes));
    });
  }

  async getAll(cids: readonly Cid[], maxBytes: number): Promise<ReadonlyMap<Cid, Uint8Array>> {
    const found = new Map<Cid, Uint8Array>();
    let sizeBytes = 0;
    for (let at = 0; at < cids.length && sizeBytes < maxBytes; at += LOOKUPS) {
      if (this.isLongSinceYield()) await this.yield();
      this.reading((store) => {
        if (store === undefined) return;
        const find = (): void => {
          for (const cid of cids.slice(at, at + LOOKUPS)) {
            if (sizeBytes >= maxBytes) return;
            const bytes = readBlock(store, cid);
            if (bytes === null) continue;
            found.set(cid, bytes);
            sizeBytes += bytes.length;
          }
        };
        store.database.transaction(find).deferred();
      });
    }
    return found;
  }

  put(blocks: readonly Block[]): Promise<void> {
    return attempt(() => {
      for (const { cid, bytes } of blocks) verifyBlock(cid, bytes);
      if (blocks.length === 0) return;
      this.writing(({ database, put }) => {
        // A crash before the commit leaves none of them, and none was acknowledged.
        database.transaction(() => {
          for (const { cid, bytes } of blocks) put.run(digestOfCid(cid), bytes);
        })();
      });
    });
  }

  async pin(roots: readonly Cid[]): Promise<void> {
    const ids = await this.findWhole(roots);
    if (ids.length === 0) return;
    // Nothing is ever deleted: what was found is still there.
    this.writing(({ database, pin }) => {
      database.transaction(() => {
        for (const id of ids) pin.run(id);
      })();
    });
  }

  async missing(roots: readonly Cid[], limit: number, options: MissingOptions = {}): Promise<Cid[]> {
    const { isFollowing = true, isProving = false } = options;
    const missing = new Set<Cid>();
    await this.findMissing(roots, isFollowing ? 0 : MAX_LINK_DEPTH, { limit, isProving, missing });
    return [...missing];
  }

  isPinned(cids: readonly Cid[]): Promise<boolean[]> {
    return attempt(() =>
      this.reading((store) => {
        const select = store?.database.prepare(
          "SELECT 1 FROM pins WHERE id = (SELECT id FROM blocks WHERE digest = ?)",
        );
        return cids.map((cid) => select?.get(digestOfCid(cid)) !== undefined);
      }),
    );
  }

  close(): Promise<void> {
    this.store?.database.close();
    this.store = undefined;
    return Promise.resolve();
  }

  /** The ids of blocks with all that they link to. @throws CONTENT_MISSING */
  private async findWhole(roots: readonly Cid[]): Promise<number[]> {
    const ids: number[] = [];
    const linking: Cid[] = [];
    for (let at = 0; at < roots.length; at += LOOKUPS) {
      if (this.isLongSinceYield()) await this.yield();
      this.reading((store) => {
        const find = (): void => {
          for (const cid of roots.slice(at, at + LOOKUPS)) {
            const row = store?.find.get(LINK_HEAD, digestOfCid(cid));
            if (row === undefined) throw this.lack(cid);
            ids.push(row.id);
            if (row.linkAt > 0) linking.push(cid);
          }
        };
        if (store === undefined) find();
        else store.database.transaction(find).deferred();
      });
    }
    const [first] = await this.missing(linking, 1);
    if (first !== undefined) throw this.lack(first);
    return ids;
  }

  private lack(cid: Cid): DmtpError {
    return new DmtpError("CONTENT_MISSING", `${cid} is not in ${this.name}`);
  }

  /** Goes down block by block: of a million messages, only one shard's are in memory. */
  private async findMissing(cids: readonly Cid[], depth: number, search: Search): Promise<void> {
    const { limit, isProving, missing } = search;
    let at = 0;
    while (at < cids.length && missing.size < limit) {
      if (this.isLongSinceYield()) await this.yield();
      const links = this.reading((store) => {
        const find = (): readonly Cid[] => {
          for (const cid of cids.slice(at, at + LOOKUPS)) {
            at += 1;
            const found = store === undefined ? null : findLinks(store, cid, depth, isProving);
            if (found === null) missing.add(cid);
            if (missing.size >= limit) break;
            if (found !== null && found.length > 0) return found;
          }
          return [];
        };
        // In a transaction the file is locked for all of them once.
        return store === undefined ? find() : store.database.transaction(find).deferred();
      });
      await this.findMissing(links, depth + 1, search);
    }
  }

  private isLongSinceYield(): boolean {
    return this.now() - this.lastYield > YIELD_AFTER_MS;
  }

  private async yield(): Promise<void> {
    await new Promise(setImmediate);
    this.lastYield = this.now();
  }

  /** Without a file there is nothing to read, and none is made. */
  private reading<T>(work: (store: BlockFile | undefined) => T): T {
    return this.translated("CONTENT_UNREACHABLE", "cannot be read", () => {
      if (this.store === undefined && hasBlockFile(this.folder)) this.store = openBlockFile(this.folder);
      return work(this.store);
    });
  }

  private writing(work: (store: BlockFile) => void): void {
    this.translated("CONTENT_WRITE_FAILED", "cannot be written", () => {
      work((this.store ??= openBlockFile(this.folder)));
    });
  }

  private translated<T>(code: ErrorCode, what: string, work: () => T): T {
    try {
      return work();
    } catch (cause) {
      if (cause instanceof DmtpError && /^(?:CONTENT|BLOCK)_/.test(cause.code)) throw cause;
      const reason = cause instanceof Error ? cause.message : "an error";
      throw new DmtpError(code, `${this.name} ${what}: ${reason}`, { cause });
    }
  }
}

/** What a promise gives or refuses, from work that is synchronous. */
function attempt<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(work());
  });
}
