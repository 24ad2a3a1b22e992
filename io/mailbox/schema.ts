/** The mailbox's tables, and whose file it is. */
import { randomBytes } from "node:crypto";

import type { Database } from "better-sqlite3";

import { DmtpError } from "../../protocol/error.ts";
import { isSameDeployment } from "../../protocol/room.ts";
import { isSameChain, type ChainIdentity } from "../chain/agreement/chain-identity.ts";

/** `application_id` of the file: "DMTP" in ASCII. */
const APPLICATION_ID = 0x444d5450;

/** `user_version` of the file. Before the first release there were 1 to 7, which are refused. */
export const SCHEMA_VERSION = 8;

const TABLES = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

  -- What was sent from here, and what a replay of the chain brought. "seen" is the digests one after the other.
  CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    cid TEXT NOT NULL UNIQUE,
    room TEXT NOT NULL,
    sender TEXT NOT NULL,
    receiver TEXT NOT NULL,
    sender_key_version INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    seen BLOB NOT NULL,
    envelope BLOB NOT NULL
  ) STRICT;
  CREATE INDEX messages_of_key ON messages (room, sender, sender_key_version, seq);

  -- The keys that messages were made with: what the verdict on a message asks the registry for (SPEC 8.4).
  CREATE TABLE key_pairs (
    id INTEGER PRIMARY KEY,
    sender TEXT NOT NULL,
    sender_key_version INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    receiver_key_version INTEGER NOT NULL,
    UNIQUE (sender, sender_key_version, receiver, receiver_key_version)
  ) STRICT;
  CREATE INDEX key_pairs_of_receiver ON key_pairs (receiver);

  -- What has become of each message. "id" is its message's. "anchor_index" is the anchor with the entry that decides about it: one that
  -- is verified, or one that is rejected for a reason that no later anchor can mend, which then is in "refusals". It is null while
  -- there is none.
  CREATE TABLE cids (
    id INTEGER PRIMARY KEY REFERENCES messages (id),
    cid TEXT NOT NULL UNIQUE,
    room TEXT NOT NULL,
    pair INTEGER NOT NULL REFERENCES key_pairs (id),
    pinned INTEGER NOT NULL DEFAULT 0,
    anchor_index INTEGER
  ) STRICT;
  CREATE INDEX cids_unanchored ON cids (id, pair) WHERE anchor_index IS NULL;
  CREATE INDEX cids_unpinned ON cids (id) WHERE pinned = 0;
  CREATE INDEX cids_anchored ON cids (anchor_index) WHERE anchor_index IS NOT NULL;

  -- The messages whose entry is rejected for good: why, and whether a person was told.
  CREATE TABLE refusals (id INTEGER PRIMARY KEY REFERENCES messages (id), code TEXT NOT NULL, is_told INTEGER NOT NULL DEFAULT 0)
    STRICT;

  -- The messages of each room that no known message names as seen. "id" is its message's.
  CREATE TABLE heads (room TEXT NOT NULL, digest BLOB NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (room, digest))
    STRICT, WITHOUT ROWID;
  -- Digests that a known message names, of messages that are not known (yet): they won't be heads when they come.
  CREATE TABLE unknown_seen (room TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (room, digest)) STRICT, WITHOUT ROWID;

  -- The tip of the line of manifests, null where there is none; and what of CIDStore is accounted for. One row at most. What an
  -- anchor builds on has checksums, because no later check would find a wrong byte before the anchor is paid for.
  CREATE TABLE line (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    tip_index INTEGER,
    tip_cid TEXT,
    tip_seq INTEGER,
    tip_state BLOB,
    tip_ref INTEGER,
    anchor_count INTEGER NOT NULL,
    anchor_head BLOB NOT NULL,
    is_settled INTEGER NOT NULL,
    checksum BLOB NOT NULL
  ) STRICT;

  -- The nodes of the state tree at the tip, each of which the tip or one other leads to by its id. No id is used twice, so that what
  -- another command read before does not lead to another node.
  CREATE TABLE state_nodes (id INTEGER PRIMARY KEY AUTOINCREMENT, node BLOB NOT NULL, checksum BLOB NOT NULL) STRICT;

  -- What became of every manifest that was decided on (journal.ts).
  CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    prev BLOB NOT NULL,
    entry_index INTEGER NOT NULL,
    count INTEGER NOT NULL,
    manifest TEXT,
    block_number INTEGER,
    why TEXT
  ) STRICT;
  CREATE INDEX journal_open ON journal (id) WHERE state IN ('planned', 'written', 'submitted', 'mined');

  -- The messages that the manifest of a row of the journal lists; kept, since the manifest may be mined long after it was given up.
  CREATE TABLE listings (
    journal_id INTEGER NOT NULL REFERENCES journal (id),
    message_id INTEGER NOT NULL REFERENCES cids (id),
    PRIMARY KEY (journal_id, message_id)
  ) STRICT, WITHOUT ROWID;

  -- Every call of KeyRegistry that was decided on (registry-calls.ts). "version" is the one that it makes.
  CREATE TABLE registry_calls (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    wallet TEXT NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    data TEXT NOT NULL,
    document TEXT,
    sealed_with TEXT
  ) STRICT;
  CREATE INDEX registry_calls_open ON registry_calls (wallet) WHERE state = 'open';

  -- Every transaction that was signed for a row of the journal or a call of KeyRegistry, before a node got it. Amounts are decimal text:
  -- SQLite's integers are too small.
  CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    journal_id INTEGER REFERENCES journal (id),
    call_id INTEGER REFERENCES registry_calls (id),
    account TEXT NOT NULL,
    nonce INTEGER NOT NULL,
    max_fee_per_gas TEXT NOT NULL,
    max_priority_fee_per_gas TEXT NOT NULL,
    gas_limit TEXT NOT NULL,
    hash TEXT,
    raw TEXT,
    submitted_at_block INTEGER NOT NULL,
    CHECK ((journal_id IS NULL) <> (call_id IS NULL))
  ) STRICT;
  CREATE INDEX attempts_of_row ON attempts (journal_id);
  CREATE INDEX attempts_of_call ON attempts (call_id);
  CREATE INDEX attempts_of_nonce ON attempts (account, nonce);

  -- The block up to which the next two tables have what both contracts logged, and the highest block that was final then. One row at most.
  CREATE TABLE log_view (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    block_number INTEGER NOT NULL,
    block_hash TEXT NOT NULL,
    finalized INTEGER NOT NULL
  ) STRICT;

  -- What CIDStore logged. "event" is its row in an archive (SPEC 8.6). "verdict" is null until the mailbox has accounted for the entry; then
  -- it is verified, missing, or the code of a rejection.
  CREATE TABLE anchor_events (
    entry_index INTEGER PRIMARY KEY,
    block_number INTEGER NOT NULL,
    block_hash TEXT NOT NULL,
    cid TEXT,
    event BLOB NOT NULL,
    verdict TEXT
  ) STRICT;
  CREATE INDEX anchor_events_of_cid ON anchor_events (cid);
  CREATE INDEX anchor_events_missing ON anchor_events (entry_index) WHERE verdict = 'missing';

  -- What KeyRegistry logged, likewise. "binding" and "verdict" are those of a key (SPEC 8.2), null until somebody asked for it; the reason
  -- is that of a rejection.
  CREATE TABLE registry_events (
    event_index INTEGER PRIMARY KEY,
    block_number INTEGER NOT NULL,
    block_hash TEXT NOT NULL,
    wallet TEXT NOT NULL,
    version INTEGER NOT NULL,
    event BLOB NOT NULL,
    binding TEXT,
    verdict TEXT,
    reason TEXT,
    UNIQUE (wallet, version)
  ) STRICT;

  -- What the last replay lacked (unread-listings.ts): the last anchor with a missing message of a room; of the empty room, which stands for
  -- any, the last anchor of which not all is known that it lists.
  CREATE TABLE unread_listings (room TEXT PRIMARY KEY, anchor_index INTEGER NOT NULL) STRICT, WITHOUT ROWID;

  -- What the relay has signed (SPEC 14): a promise for each batch of messages, and the path of each message in its batch, its hashes
  -- one after the other.
  CREATE TABLE promises (
    id INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    from_block INTEGER NOT NULL,
    by_block INTEGER NOT NULL,
    signature BLOB NOT NULL
  ) STRICT;
  CREATE TABLE receipts (
    message_id INTEGER PRIMARY KEY REFERENCES messages (id),
    promise INTEGER NOT NULL REFERENCES promises (id),
    place INTEGER NOT NULL,
    path BLOB NOT NULL
  ) STRICT;

  -- The order in which messages became what they are: each has one row, which moves to the end whenever an anchor, or none, decides
  -- about it. Who follows the relay keeps an id of this table. Triggers write it, so that no command can forget to.
  CREATE TABLE message_changes (id INTEGER PRIMARY KEY AUTOINCREMENT, message_id INTEGER NOT NULL UNIQUE) STRICT;
  CREATE TRIGGER message_added AFTER INSERT ON cids BEGIN
    INSERT OR REPLACE INTO message_changes (message_id) VALUES (new.id);
  END;
  CREATE TRIGGER message_decided AFTER UPDATE OF anchor_index ON cids WHEN old.anchor_index IS NOT new.anchor_index BEGIN
    INSERT OR REPLACE INTO message_changes (message_id) VALUES (new.id);
  END;

  -- One row while a replay lacks content: when it was looked for, in Unix milliseconds, and how often without success.
  CREATE TABLE looks (id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL, tries INTEGER NOT NULL) STRICT;
`;

/**
 * Makes the tables in a new file, and checks that any other is of this version and of the same deployment on the same chain.
 * @throws DATABASE_OLDER, DATABASE_NEWER, DATABASE_FOREIGN, DATABASE_DAMAGED
 */
export function prepareSchema(database: Database, chain: ChainIdentity): void {
  const prepare = database.transaction(() => {
    const version = database.pragma("user_version", { simple: true }) as number;
    const application = database.pragma("application_id", { simple: true }) as number;
    const { tables } = database.prepare("SELECT count(*) AS tables FROM sqlite_schema").get() as { tables: number };
    if (version === 0 && application === 0 && tables === 0) {
      create(database, chain);
      return;
    }
    if (application !== APPLICATION_ID) {
      throw new DmtpError("DATABASE_FOREIGN", `the mailbox ${database.name} is the database of another program`);
    }
    checkVersion(database.name, version);
    checkChain(database, chain);
  });
  // Two commands may meet at a new file: the one that comes second finds it made. A file that is there is only read, so that a
  // command can begin while another writes.
  if (database.pragma("user_version", { simple: true }) === SCHEMA_VERSION) prepare.deferred();
  else prepare.immediate();
}

/** A crash before the commit leaves an empty file. */
function create(database: Database, chain: ChainIdentity): void {
  database.exec(TABLES);
  const insert = database.prepare("INSERT INTO meta VALUES (?, ?)");
  insert.run("chain", JSON.stringify(chain));
  // Places in the order of changes are of this file alone.
  insert.run("changes", randomBytes(8).toString("hex"));
  database.pragma(`application_id = ${APPLICATION_ID}`);
  database.pragma(`user_version = ${SCHEMA_VERSION}`);
}

function checkVersion(path: string, version: number): void {
  if (version === SCHEMA_VERSION) return;
  if (version < 1) throw new DmtpError("DATABASE_DAMAGED", `the mailbox ${path} does not say of which version it is`);
  const what = `the mailbox ${path} has version ${version}, this software reads ${SCHEMA_VERSION}`;
  throw new DmtpError(version < SCHEMA_VERSION ? "DATABASE_OLDER" : "DATABASE_NEWER", what);
}

/**
 * A local chain that was started again and a fork for a rehearsal have the id and the addresses of the chain that the mailbox is of,
 * and what was sent there must never be anchored here.
 */
function checkChain(database: Database, chain: ChainIdentity): void {
  const own = readChain(database);
  if (isSameChain(own, chain)) return;
  const { name } = database;
  const { chainId, cidStore, keyRegistry } = own.deployment;
  if (!isSameDeployment(own.deployment, chain.deployment)) {
    const theirs = `chain ${chainId}, CIDStore ${cidStore}, KeyRegistry ${keyRegistry}`;
    throw new DmtpError("DATABASE_FOREIGN", `the mailbox ${name} belongs to another deployment: ${theirs}`);
  }
  const [what, hint] =
    own.fork === chain.fork
      ? [
          `is of another chain ${chainId}, which has the same contract addresses`,
          "If the chain was made anew, use another DMTP_DATA_DIR, or move the mailbox away; otherwise the RPC URL leads to the wrong chain.",
        ]
      : [
          own.fork === "0x"
            ? `is of chain ${chainId} itself, and the node serves a fork of it`
            : "is of a fork of the chain",
          "Use another DMTP_DATA_DIR for each fork, so that nothing of a rehearsal is ever anchored on the chain itself.",
        ];
  throw new DmtpError("DATABASE_FOREIGN", `the mailbox ${name} ${what}`, { hint });
}

function readChain(database: Database): ChainIdentity {
  const stored = database.prepare("SELECT value FROM meta WHERE name = 'chain'").pluck().get();
  try {
    return JSON.parse(String(stored)) as ChainIdentity;
  } catch (cause) {
    throw new DmtpError("DATABASE_DAMAGED", `the mailbox ${database.name} does not say whose it is`, { cause });
  }
}
