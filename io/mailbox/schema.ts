/** The mailbox's tables, and whose file it is. */
import type { Database } from "better-sqlite3";

import { DmtpError } from "../../protocol/error.ts";
import type { Deployment } from "../../protocol/room.ts";
import { addJournal } from "./journal-migration.ts";
import { saveStateTree } from "./state-tree-migration.ts";

/** `application_id` of the file: "DMTP" in ASCII. */
const APPLICATION_ID = 0x444d5450;

/** The tables of version 1. A new file begins with them, too: there is one way to every version. */
const VERSION_1 = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

  -- What was sent from here, and what a replay of the chain brought. "seen" is the digests one after the other.
  CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    cid TEXT NOT NULL UNIQUE,
    room TEXT NOT NULL,
    sender TEXT NOT NULL,
    receiver TEXT NOT NULL,
    seq INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    seen BLOB NOT NULL,
    envelope BLOB NOT NULL
  ) STRICT;
  CREATE INDEX messages_of_sender ON messages (room, sender, seq);

  -- What has become of each message. "id" is its message's.
  CREATE TABLE cids (
    id INTEGER PRIMARY KEY REFERENCES messages (id),
    cid TEXT NOT NULL UNIQUE,
    room TEXT NOT NULL,
    pinned INTEGER NOT NULL DEFAULT 0,
    anchor_index INTEGER
  ) STRICT;
  CREATE INDEX cids_unanchored ON cids (id) WHERE anchor_index IS NULL;
  CREATE INDEX cids_unpinned ON cids (id) WHERE pinned = 0;
  CREATE INDEX cids_anchored ON cids (anchor_index) WHERE anchor_index IS NOT NULL;

  -- The messages of each room that no known message names as seen. "id" is its message's.
  CREATE TABLE heads (room TEXT NOT NULL, digest BLOB NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (room, digest))
    STRICT, WITHOUT ROWID;
  -- Digests that a known message names, of messages that are not known (yet): they won't be heads when they come.
  CREATE TABLE unknown_seen (room TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (room, digest)) STRICT, WITHOUT ROWID;

  -- The state of every room at the tip of the line of manifests. "hashes" is its compact range.
  CREATE TABLE rooms (room TEXT PRIMARY KEY, size INTEGER NOT NULL, hashes BLOB NOT NULL, last_index INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
`;

/** The change to version 2, then the one to version 3, and so on; one that has been released never changes again. */
const MIGRATIONS: readonly ((database: Database) => void)[] = [saveStateTree, addJournal];

/** `user_version` of the file. An older file is brought up to it when it is opened; a newer one is left alone. */
export const SCHEMA_VERSION = 1 + MIGRATIONS.length;

/**
 * Makes the tables in a new file, brings up those of an older one, and checks that the file is this deployment's.
 * @throws MAILBOX_NEWER, MAILBOX_FOREIGN, MAILBOX_DAMAGED
 */
export function prepareSchema(database: Database, deployment: Deployment): void {
  const prepare = database.transaction(() => {
    const version = database.pragma("user_version", { simple: true }) as number;
    const application = database.pragma("application_id", { simple: true }) as number;
    const { tables } = database.prepare("SELECT count(*) AS tables FROM sqlite_schema").get() as { tables: number };
    if (version === 0 && application === 0 && tables === 0) {
      create(database, deployment);
      migrate(database, 1);
      return;
    }
    if (application !== APPLICATION_ID) {
      throw new DmtpError("MAILBOX_FOREIGN", `${database.name} is the database of another program`);
    }
    if (version > SCHEMA_VERSION) {
      throw new DmtpError(
        "MAILBOX_NEWER",
        `${database.name} has version ${version}, this software knows ${SCHEMA_VERSION}`,
      );
    }
    if (version < 1) throw new DmtpError("MAILBOX_DAMAGED", `${database.name} does not say of which version it is`);
    checkDeployment(database, deployment);
    migrate(database, version);
  });
  // Two commands may meet at a file that has to be written: the one that comes second finds it done. One that has not is only
  // read, so that a command can begin while another writes.
  if (database.pragma("user_version", { simple: true }) === SCHEMA_VERSION) prepare.deferred();
  else prepare.immediate();
}

function create(database: Database, { chainId, cidStore, keyRegistry }: Deployment): void {
  database.exec(VERSION_1);
  const insert = database.prepare("INSERT INTO meta VALUES (?, ?)");
  insert.run("chain_id", chainId);
  insert.run("cid_store", cidStore);
  insert.run("key_registry", keyRegistry);
  database.pragma(`application_id = ${APPLICATION_ID}`);
}

/** A crash before the commit leaves the file in its old version, whole. */
function migrate(database: Database, version: number): void {
  for (const change of MIGRATIONS.slice(version - 1)) change(database);
  if (version < SCHEMA_VERSION) database.pragma(`user_version = ${SCHEMA_VERSION}`);
}

function checkDeployment(database: Database, deployment: Deployment): void {
  const get = database.prepare<[string]>("SELECT value FROM meta WHERE name = ?").pluck();
  const values = ["chain_id", "cid_store", "key_registry"].map((name) => get.get(name));
  if (values.includes(undefined)) throw new DmtpError("MAILBOX_DAMAGED", `${database.name} does not say whose it is`);
  const [chainId, cidStore, keyRegistry] = values;
  if (chainId === deployment.chainId && cidStore === deployment.cidStore && keyRegistry === deployment.keyRegistry)
    return;
  const theirs = `chain ${String(chainId)}, CIDStore ${String(cidStore)}, KeyRegistry ${String(keyRegistry)}`;
  throw new DmtpError("MAILBOX_FOREIGN", `${database.name} belongs to another deployment: ${theirs}`);
}
