/** The SQLite file of an embedded store: its tables, its statements, and what is read of it in one look. */
import { existsSync } from "node:fs";
import { join } from "node:path";

import type { Database, Statement } from "better-sqlite3";

import { digestOfCid, verifyBlock, type Cid } from "../../protocol/cid.ts";
import { openDatabase } from "../database.ts";
import { makeFolder } from "../durable-folder.ts";
import { LINK_HEAD, linkedDigests, linksOf, MAX_LINK_DEPTH } from "./links.ts";

const CACHE_KIB = 8_192;
const FILE = "blocks.db";
/** `user_version` of the file. */
const VERSION = 1;
const TABLES = `
  CREATE TABLE blocks (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL) STRICT;
  -- Ids of blocks.
  CREATE TABLE pins (id INTEGER PRIMARY KEY) STRICT;
`;
const COPY = `
  INSERT INTO blocks (digest, bytes) SELECT digest, bytes FROM old_blocks;
  INSERT INTO pins SELECT id FROM old_pins JOIN blocks USING (digest);
  DROP TABLE old_blocks;
  DROP TABLE old_pins;
`;
/** A block that is there with other bytes, such as a damaged disk gives, is written again. */
const PUT = `INSERT INTO blocks (digest, bytes) VALUES (?, ?)
  ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes WHERE bytes IS NOT excluded.bytes`;

export interface BlockFile {
  readonly database: Database;
  readonly get: Statement<[Uint8Array], Buffer>;
  /** The block's id, and where its first link is: from 1, 0 without any. Undefined without the block. */
  readonly find: Statement<
    [linkHead: Uint8Array, digest: Uint8Array],
    { readonly id: number; readonly linkAt: number }
  >;
  readonly has: Statement<[Uint8Array], number>;
  readonly put: Statement<[Uint8Array, Uint8Array]>;
  readonly pin: Statement<[number]>;
}

export function hasBlockFile(folder: string): boolean {
  return existsSync(join(folder, FILE));
}

/** Makes the folder and the file when they are not there. */
export function openBlockFile(folder: string): BlockFile {
  makeFolder(folder);
  const database = openDatabase(join(folder, FILE), FILE);
  // Digests come in the order of no index.
  database.pragma(`cache_size = -${CACHE_KIB}`);
  prepareTables(database);
  return {
    database,
    get: database.prepare<[Uint8Array], Buffer>("SELECT bytes FROM blocks WHERE digest = ?").pluck(),
    find: database.prepare("SELECT id, instr(bytes, ?) AS linkAt FROM blocks WHERE digest = ?"),
    has: database.prepare<[Uint8Array], number>("SELECT 1 FROM blocks WHERE digest = ?").pluck(),
    put: database.prepare(PUT),
    pin: database.prepare("INSERT OR IGNORE INTO pins VALUES (?)"),
  };
}

/** Makes the tables, or makes them of those of version 0, which had no ids: a pin by digest cost as much as the block itself. */
function prepareTables(database: Database): void {
  if (database.pragma("user_version", { simple: true }) === VERSION) return;
  database
    .transaction(() => {
      if (database.pragma("user_version", { simple: true }) === VERSION) return;
      const isOld = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'blocks'").get() !== undefined;
      if (isOld) database.exec("ALTER TABLE blocks RENAME TO old_blocks; ALTER TABLE pins RENAME TO old_pins");
      database.exec(TABLES);
      if (isOld) database.exec(COPY);
      database.pragma(`user_version = ${VERSION}`);
    })
    .immediate();
}

/** A Buffer from SQLite owns its memory; a plain view of it is what protocol/ takes and gives. */
export function plain({ buffer, byteOffset, byteLength }: Buffer): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Null when it is not there, or has other bytes. */
export function readBlock(store: BlockFile, cid: Cid): Uint8Array | null {
  const bytes = store.get.get(digestOfCid(cid));
  if (bytes === undefined) return null;
  try {
    return verifyBlock(cid, plain(bytes));
  } catch {
    return null;
  }
}

function hasAll(store: BlockFile, digests: Iterable<Uint8Array>): boolean {
  for (const digest of digests) if (store.has.get(digest) === undefined) return false;
  return true;
}

/**
 * What the block links to that is still to be looked up; null when the block itself is not there.
 * @param isProving whether the bytes of every block are held against its hash: a damaged one is as good as none. Otherwise only
 *   those with links are read
 */
export function findLinks(store: BlockFile, cid: Cid, depth: number, isProving: boolean): readonly Cid[] | null {
  if (isProving) {
    const bytes = readBlock(store, cid);
    if (bytes === null) return null;
    return depth < MAX_LINK_DEPTH ? linksOf(bytes) : [];
  }
  const digest = digestOfCid(cid);
  if (depth === MAX_LINK_DEPTH) return store.has.get(digest) === undefined ? null : [];
  const found = store.find.get(LINK_HEAD, digest);
  if (found === undefined) return null;
  if (found.linkAt === 0) return [];
  const block = readBlock(store, cid);
  if (block === null) return null;
  // A shard has 25,000 links: when all that could be one is there, none needs a text.
  if (depth === MAX_LINK_DEPTH - 1 && hasAll(store, linkedDigests(block))) return [];
  return linksOf(block);
}
