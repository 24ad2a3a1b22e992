/**
 * Blocks in a folder: real CIDs without a daemon. They lie in one SQLite file, because a batch is then one sync instead of one
 * for each block (10,000 blocks: bench/send.ts), 10^6 of them need no folders of their own, and a torn write is SQLite's to mend.
 * Nothing is ever collected, so a pin only records that it was asked for.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

import type { Database, Statement } from "better-sqlite3";

import { digestOfCid, verifyBlock, type Cid } from "../../protocol/cid.ts";
import { DmtpError, type ErrorCode } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { openDatabase } from "../database.ts";
import { makeFolder } from "../durable-folder.ts";
import type { ContentStore } from "./store.ts";

/** Reads are synchronous, for that is several times faster; a server must get its turn in between. */
const YIELD_AFTER_MS = 10;
const FILE = "blocks.db";
/** A block that is there with other bytes, such as a damaged disk gives, is written again. */
const PUT = `INSERT INTO blocks (digest, bytes) VALUES (?, ?)
  ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes WHERE bytes IS NOT excluded.bytes`;

interface OpenStore {
  readonly database: Database;
  readonly get: Statement<[Uint8Array], { readonly bytes: Buffer }>;
  readonly put: Statement<[Uint8Array, Uint8Array]>;
}

export class EmbeddedStore implements ContentStore {
  readonly name: string;
  private readonly folder: string;
  private store: OpenStore | undefined;
  private lastYield = performance.now();

  /** @param folder made at the first write */
  constructor(folder: string) {
    this.folder = folder;
    this.name = `the folder ${folder}`;
  }

  async get(cid: Cid): Promise<Uint8Array | null> {
    if (performance.now() - this.lastYield > YIELD_AFTER_MS) {
      await new Promise(setImmediate);
      this.lastYield = performance.now();
    }
    return this.reading((store) => {
      const row = store?.get.get(digestOfCid(cid));
      if (row === undefined) return null;
      try {
        return verifyBlock(cid, new Uint8Array(row.bytes));
      } catch {
        return null;
      }
    });
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

  pin(roots: readonly Cid[]): Promise<void> {
    return attempt(() => {
      const digests = roots.map(digestOfCid);
      this.reading((store) => {
        const missing = roots.find((_, i) => store?.get.get(digests[i] ?? new Uint8Array(0)) === undefined);
        if (missing !== undefined) throw new DmtpError("CONTENT_MISSING", `${missing} is not in ${this.name}`);
      });
      if (roots.length === 0) return;
      this.writing(({ database }) => {
        const insert = database.prepare("INSERT OR IGNORE INTO pins (digest) VALUES (?)");
        database.transaction(() => {
          for (const digest of digests) insert.run(digest);
        })();
      });
    });
  }

  isPinned(cids: readonly Cid[]): Promise<boolean[]> {
    return attempt(() =>
      this.reading((store) => {
        const select = store?.database.prepare("SELECT 1 FROM pins WHERE digest = ?");
        return cids.map((cid) => select?.get(digestOfCid(cid)) !== undefined);
      }),
    );
  }

  close(): Promise<void> {
    this.store?.database.close();
    this.store = undefined;
    return Promise.resolve();
  }

  /** Without a file there is nothing to read, and none is made. */
  private reading<T>(work: (store: OpenStore | undefined) => T): T {
    return this.translated("CONTENT_UNREACHABLE", "cannot be read", () => {
      if (this.store === undefined && existsSync(join(this.folder, FILE))) this.store = this.open();
      return work(this.store);
    });
  }

  private writing(work: (store: OpenStore) => void): void {
    this.translated("CONTENT_WRITE_FAILED", "cannot be written", () => {
      work((this.store ??= this.open()));
    });
  }

  private open(): OpenStore {
    makeFolder(this.folder);
    const database = openDatabase(join(this.folder, FILE));
    database.exec(`
      CREATE TABLE IF NOT EXISTS blocks (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS pins (digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
    `);
    return {
      database,
      get: database.prepare("SELECT bytes FROM blocks WHERE digest = ?"),
      put: database.prepare(PUT),
    };
  }

  private translated<T>(code: ErrorCode, what: string, work: () => T): T {
    try {
      return work();
    } catch (cause) {
      if (cause instanceof DmtpError && cause.code.startsWith("CONTENT_")) throw cause;
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
