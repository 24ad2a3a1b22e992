/** The index: one SQLite file that can be deleted at any time, since chain and content rebuild it (schema.ts). */
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";

import Database from "better-sqlite3";

import { isSameChain, type ChainIdentity } from "../../io/chain/agreement/chain-identity.ts";
import { translated } from "../../io/database.ts";
import { lockProcess } from "../../io/process-lock.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Deployment } from "../../protocol/room.ts";
import type { Log } from "../../io/log.ts";
import { readMeta, writeMeta } from "./meta.ts";
import { SCHEMA, SCHEMA_VERSION } from "./schema.ts";

/** An open index. Nobody else has it open. */
export interface IndexDatabase {
  readonly database: Database.Database;
  close(): void;
}

/**
 * Opens the index at `path`, or makes it. One of another schema version, or a damaged one, is deleted and made anew.
 * @throws DATABASE_BUSY when another process has it; DATABASE_FOREIGN when it is another deployment's; DATABASE_WRITE_FAILED
 */
export function openIndex(path: string, deployment: Deployment, log: Log): IndexDatabase {
  return translated(() => open(path, deployment, log), "the index");
}

function open(path: string, deployment: Deployment, log: Log): IndexDatabase {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new DmtpError("DATABASE_WRITE_FAILED", "the folder of the index cannot be made", { cause });
  }
  const lock = lockProcess(`${path}.lock`);
  if (lock === null) {
    throw new DmtpError("DATABASE_BUSY", "another indexer has this index open", {
      hint: "Stop the other indexer, or give this one another DMTP_DATA_DIR.",
    });
  }
  try {
    let database = tryOpen(path, log);
    if (database === null) {
      for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
      database = configure(new Database(path));
    }
    initialize(database, deployment);
    const opened = database;
    return {
      database: opened,
      close() {
        opened.close();
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Null for a file that has to be made anew. */
function tryOpen(path: string, log: Log): Database.Database | null {
  if (!existsSync(path)) return null;
  let database: Database.Database | undefined;
  try {
    database = configure(new Database(path));
    const version = database.pragma("user_version", { simple: true });
    // 0: a crash came between making the file and its schema.
    if (version === SCHEMA_VERSION || version === 0) return database;
    log(
      `the index has schema version ${String(version)}, this is ${SCHEMA_VERSION}: it is rebuilt from chain and content`,
      { level: "warning" },
    );
  } catch (error) {
    database?.close();
    // Anything else (no permission, a full disk) would not be better for a new file.
    if (!(error instanceof Database.SqliteError) || !/NOTADB|CORRUPT/.test(error.code)) throw error;
    log("the index is damaged: it is rebuilt from chain and content", { level: "warning" });
    return null;
  }
  database.close();
  return null;
}

function configure(database: Database.Database): Database.Database {
  database.pragma("journal_mode = WAL");
  // Not kept in the file: a WAL database opens with what the library was compiled for.
  database.pragma("synchronous = FULL");
  // Messages come in the order of no index: with the 2 MiB that SQLite takes by itself, each would be read and written again.
  database.pragma("cache_size = -24576");
  // In a large index each message touches pages of its own; a checkpoint writes each once, for all that came before it. They are made by
  // a thread of their own (checkpoints.ts); where that one can't keep up, they are made here every 384 MiB.
  database.pragma("wal_autocheckpoint = 98304");
  return database;
}

/**
 * Ties the index to the chain that it was first opened on.
 * @throws DATABASE_FOREIGN when that was another one, though its id and the contracts' addresses are the same
 */
export function tieToChain(database: Database.Database, identity: ChainIdentity): void {
  const known = readMeta(database, "identity");
  if (known === null) writeMeta(database, "identity", JSON.stringify(identity));
  else if (!isSameChain(JSON.parse(known) as ChainIdentity, identity)) {
    throw new DmtpError("DATABASE_FOREIGN", "the index is of another chain with the same id and the same addresses", {
      hint: "Delete the index if the chain was made anew, or is a fork of it; otherwise RPC_URL leads to the wrong one.",
    });
  }
}

function initialize(database: Database.Database, deployment: Deployment): void {
  const identity = [deployment.chainId, deployment.cidStore, deployment.keyRegistry].join("/");
  // A crash before the commit leaves version 0 and no table, which is made again.
  database
    .transaction(() => {
      if (database.pragma("user_version", { simple: true }) === SCHEMA_VERSION) return;
      database.exec(SCHEMA);
      database.pragma(`user_version = ${SCHEMA_VERSION}`);
      writeMeta(database, "deployment", identity);
    })
    .immediate();
  if (readMeta(database, "deployment") !== identity) {
    database.close();
    throw new DmtpError("DATABASE_FOREIGN", "the index belongs to another deployment");
  }
}
