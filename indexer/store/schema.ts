/** The tables of the index. Any other version is rebuilt from chain and content, so a change here needs no migration. */

export const SCHEMA_VERSION = 10;

/** A condition on entries: those of the room with this id. */
export const OF_ROOM = "room_number = (SELECT number FROM rooms WHERE id = ?)";

/** A condition on entries without which SQLite does not see that their index by verdict fits. */
export const NOT_VERIFIED = "status <> 'verified'";

/** A condition on keys: verified, and bound by the wallet's signature (isSignedVersion). */
export const SIGNED = "binding = 'signature' AND status = 'verified'";

export const SCHEMA = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO meta VALUES ('stateRoot', '0x${"00".repeat(32)}');

  -- Blocks whose hash was seen: those with events, and where the cursor stood.
  CREATE TABLE seen_blocks (number INTEGER PRIMARY KEY, hash TEXT NOT NULL, has_events INTEGER NOT NULL) STRICT;
  CREATE INDEX seen_blocks_without_events ON seen_blocks (number) WHERE has_events = 0;
  -- What was taken out of the chain again; nothing that was read is forgotten.
  CREATE TABLE orphans (
    block_hash TEXT NOT NULL, log_index INTEGER NOT NULL, block_number INTEGER NOT NULL, contract TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (block_hash, log_index)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX orphans_by_block ON orphans (block_number);

  -- What stays true whatever the chain does: a number for each CID, and the bytes that it names. CIDs come in the order of no
  -- index, so only one is by them; all others are by numbers, which come in the order of the history.
  CREATE TABLE cids (id INTEGER PRIMARY KEY, cid TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE content (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;

  -- The events of both contracts, and what the replay makes of them. Each event's row also says what was read of it.
  -- An anchor has its CID, or the text that is none; and its manifest, once that is here.
  CREATE TABLE anchors (
    anchor_index INTEGER PRIMARY KEY, cid TEXT, text TEXT,
    status TEXT NOT NULL, code TEXT, reason TEXT, manifest TEXT, base INTEGER,
    verified INTEGER NOT NULL DEFAULT 0, rejected INTEGER NOT NULL DEFAULT 0, missing INTEGER NOT NULL DEFAULT 0,
    block_number INTEGER NOT NULL, log_index INTEGER NOT NULL, block_hash TEXT NOT NULL, transaction_hash TEXT NOT NULL
  ) STRICT;
  CREATE INDEX anchors_by_status ON anchors (status);
  CREATE INDEX anchors_by_cid ON anchors (cid);
  CREATE INDEX anchors_that_wait ON anchors (base, anchor_index) WHERE status = 'missing';
  CREATE INDEX anchors_that_lack_messages ON anchors (anchor_index) WHERE missing > 0;
  -- Shards and heads blocks that are not done with (protocol/replay/store.ts); heads are numbered from 32 on.
  CREATE TABLE parts (
    anchor_index INTEGER NOT NULL, part INTEGER NOT NULL, cid TEXT NOT NULL, status TEXT NOT NULL, code TEXT, reason TEXT,
    PRIMARY KEY (anchor_index, part)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX parts_missing ON parts (cid) WHERE status = 'missing';
  CREATE TABLE rooms (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    verified INTEGER NOT NULL DEFAULT 0, rejected INTEGER NOT NULL DEFAULT 0, missing INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE entries (
    anchor_index INTEGER NOT NULL, ordinal INTEGER NOT NULL, room_number INTEGER NOT NULL, cid_id INTEGER NOT NULL,
    status TEXT NOT NULL, code TEXT, reason TEXT,
    sender TEXT, receiver TEXT, sender_key_version INTEGER, receiver_key_version INTEGER, seq INTEGER, timestamp INTEGER,
    size_bytes INTEGER, seen BLOB, binding TEXT,
    PRIMARY KEY (anchor_index, ordinal)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX entries_by_room ON entries (room_number, anchor_index, ordinal);
  -- Of most there is none: an index by verdict of all would cost each message a page of its own.
  CREATE INDEX entries_not_verified ON entries (room_number, status) WHERE ${NOT_VERIFIED};
  CREATE INDEX entries_by_cid ON entries (cid_id, status);
  -- What is missing or forked by a room's verified messages (omission-rows.ts): the numbers that they have, in runs without a gap; those
  -- that several have; the places that name a message which is at a later place, or at none; and of what is at none, its first such place.
  CREATE TABLE sequence_runs (
    room_number INTEGER NOT NULL, sender TEXT NOT NULL, sender_key_version INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (room_number, sender, sender_key_version, first)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE sequence_forks (
    room_number INTEGER NOT NULL, sender TEXT NOT NULL, sender_key_version INTEGER NOT NULL, seq INTEGER NOT NULL, messages INTEGER NOT NULL,
    PRIMARY KEY (room_number, sender, sender_key_version, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE named_ahead (
    room_number INTEGER NOT NULL, cid_id INTEGER NOT NULL, anchor_index INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    position INTEGER NOT NULL, PRIMARY KEY (room_number, cid_id, anchor_index, ordinal)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX named_ahead_by_place ON named_ahead (anchor_index, ordinal);
  CREATE TABLE unseen (
    room_number INTEGER NOT NULL, cid_id INTEGER NOT NULL, anchor_index INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    position INTEGER NOT NULL, PRIMARY KEY (room_number, cid_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX unseen_by_room ON unseen (room_number, anchor_index, ordinal, position);
  CREATE INDEX unseen_by_anchor ON unseen (anchor_index);
  CREATE TABLE room_members (
    wallet TEXT NOT NULL, room TEXT NOT NULL, PRIMARY KEY (wallet, room)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX room_members_by_room ON room_members (room);
  CREATE TABLE keys (
    key_index INTEGER PRIMARY KEY, kind TEXT NOT NULL, wallet TEXT NOT NULL, version INTEGER NOT NULL,
    encryption_key TEXT, signing_key TEXT, deadline TEXT, signature TEXT, has_code INTEGER, binding TEXT,
    status TEXT, code TEXT, reason TEXT,
    document TEXT, document_status TEXT, document_code TEXT, document_reason TEXT,
    block_number INTEGER NOT NULL, log_index INTEGER NOT NULL, block_hash TEXT NOT NULL, transaction_hash TEXT NOT NULL
  ) STRICT;
  CREATE INDEX keys_by_wallet ON keys (wallet, key_index);
  CREATE INDEX keys_signed ON keys (wallet) WHERE ${SIGNED};
  CREATE INDEX keys_that_lack_documents ON keys (document) WHERE document_status = 'missing';

  -- The state tree after each verified anchor (state-rows.ts): its root, and the nodes that it has not in common with its base.
  -- "id" is 2^24 times the index of the anchor that added the node, plus a number.
  CREATE TABLE state_roots (anchor_index INTEGER PRIMARY KEY, ref INTEGER, hash BLOB NOT NULL) STRICT;
  CREATE TABLE state_nodes (id INTEGER PRIMARY KEY, node BLOB NOT NULL) STRICT;

  -- How many there are, so that nobody has to count.
  CREATE TABLE totals (
    kind TEXT NOT NULL, status TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (kind, status)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO totals VALUES
    ('rooms', '', 0), ('keys', '', 0),
    ('anchors', 'verified', 0), ('anchors', 'rejected', 0), ('anchors', 'missing', 0),
    ('messages', 'verified', 0), ('messages', 'rejected', 0), ('messages', 'missing', 0);

  -- What live updates are read from: names of what changed, and reorgs (change-log.ts). Unlike all above, it tells how this
  -- index came to what it holds, so two that are equal differ here.
  CREATE TABLE change_log (name TEXT NOT NULL) STRICT;
  CREATE TABLE changes (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, subject INTEGER NOT NULL, ordinal INTEGER, status TEXT,
    block_number INTEGER NOT NULL, block_hash TEXT
  ) STRICT;
  CREATE INDEX changes_reorgs ON changes (status, subject) WHERE kind = 'reorg';
`;
