/** The mailbox's messages: what was sent from here, what the chain brought, and what has become of each. */
import type { Database, Statement } from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import { compare } from "../../protocol/bytes.ts";
import { concat } from "../../protocol/bytes.ts";
import { cidOfDigest, digestOfCid, verifyBlock, type Cid } from "../../protocol/cid.ts";
import { MAX_SEEN, type Envelope } from "../../protocol/envelope.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import type { RoomId } from "../../protocol/room.ts";
import { notAdded } from "./backlog.ts";

export interface MailboxMessage {
  readonly cid: Cid;
  readonly room: RoomId;
  readonly sender: Address;
  readonly receiver: Address;
  readonly seq: number;
  /** Milliseconds since 1970, by the sender's clock. */
  readonly timestamp: number;
  /** Digests, 32 bytes each. */
  readonly seen: readonly Uint8Array[];
  /** The block's bytes. */
  readonly envelope: Uint8Array;
  /** The anchor with the entry that decides about it; null while there is none. */
  readonly anchorIndex: number | null;
  readonly pinned: boolean;
}

/** A message to be kept: its block, and what the block says. */
export interface NewMessage {
  readonly cid: Cid;
  readonly block: Uint8Array;
  readonly envelope: Envelope;
}

/** Some of the messages that are not pinned: all of them with ids above `afterId`, up to `lastId`. */
export interface PinPage {
  readonly afterId: number;
  readonly lastId: number;
  readonly cids: readonly Cid[];
}

interface Row extends Omit<MailboxMessage, "seen" | "envelope" | "pinned"> {
  readonly seen: Uint8Array;
  readonly envelope: Uint8Array;
  readonly pinned: number;
}

const COLUMNS = `m.cid, m.room, sender, receiver, seq, timestamp, seen, envelope, anchor_index AS anchorIndex, pinned`;
const DIGEST_BYTES = 32;

/** Prepared statements over the tables of schema.ts; transactions and errors are the mailbox's. */
export class Messages {
  private readonly statements;

  constructor(database: Database) {
    const prepare = <Parameters extends unknown[], Result = unknown>(sql: string): Statement<Parameters, Result> =>
      database.prepare<Parameters, Result>(sql);
    this.statements = {
      insert: prepare<[Cid, RoomId, Address, Address, number, number, number, Uint8Array, Uint8Array]>(
        `INSERT INTO messages (cid, room, sender, receiver, sender_key_version, seq, timestamp, seen, envelope)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (cid) DO NOTHING`,
      ),
      insertCid: prepare<[number | bigint, Cid, RoomId, number]>(
        "INSERT INTO cids (id, cid, room, pair) VALUES (?, ?, ?, ?)",
      ),
      pair: prepare<[Address, number, Address, number], number>(
        `SELECT id FROM key_pairs
         WHERE sender = ? AND sender_key_version = ? AND receiver = ? AND receiver_key_version = ?`,
      ).pluck(),
      insertPair: prepare<[Address, number, Address, number]>(
        `INSERT INTO key_pairs (sender, sender_key_version, receiver, receiver_key_version) VALUES (?, ?, ?, ?)`,
      ),
      insertHead: prepare<[RoomId, Uint8Array, number | bigint]>("INSERT INTO heads VALUES (?, ?, ?)"),
      deleteHead: prepare<[RoomId, Uint8Array]>("DELETE FROM heads WHERE room = ? AND digest = ?"),
      insertUnknown: prepare<[RoomId, Uint8Array]>("INSERT OR IGNORE INTO unknown_seen VALUES (?, ?)"),
      deleteUnknown: prepare<[RoomId, Uint8Array]>("DELETE FROM unknown_seen WHERE room = ? AND digest = ?"),
      isKnown: prepare<[Cid, RoomId], number>("SELECT 1 FROM messages WHERE cid = ? AND room = ?").pluck(),
      lastSeq: prepare<[RoomId, Address, number], number | null>(
        "SELECT max(seq) FROM messages WHERE room = ? AND sender = ? AND sender_key_version = ?",
      ).pluck(),
      lastAnchored: prepare<[RoomId, Address, number], number | null>(
        `SELECT max(anchor_index) FROM messages m JOIN cids USING (id)
         WHERE m.room = ? AND sender = ? AND sender_key_version = ?`,
      ).pluck(),
      heads: prepare<[RoomId, number], Uint8Array>(
        "SELECT digest FROM heads WHERE room = ? ORDER BY id DESC LIMIT ?",
      ).pluck(),
      unpinned: prepare<[number, number], { id: number; cid: Cid }>(
        "SELECT id, cid FROM cids WHERE pinned = 0 AND id > ? ORDER BY id LIMIT ?",
      ),
      blocksAfter: prepare<[number, number], { id: number; cid: Cid; envelope: Uint8Array; isListed: number }>(
        `SELECT id, m.cid, envelope, cids.cid IS m.cid AS isListed FROM messages m LEFT JOIN cids USING (id)
         WHERE id > ? AND id <= ? ORDER BY id`,
      ),
      markPinned: prepare<[number, number]>("UPDATE cids SET pinned = 1 WHERE pinned = 0 AND id > ? AND id <= ?"),
      store: prepare<[], string>("SELECT value FROM meta WHERE name = 'pinned in'").pluck(),
      setStore: prepare<[string]>("INSERT OR REPLACE INTO meta VALUES ('pinned in', ?)"),
      unmarkPins: prepare<[]>("UPDATE cids SET pinned = 0 WHERE pinned = 1"),
      room: prepare<[RoomId], Row>(
        `SELECT ${COLUMNS} FROM messages m JOIN cids USING (id) WHERE m.room = ? ORDER BY id`,
      ),
      message: prepare<[Cid], Row>(`SELECT ${COLUMNS} FROM messages m JOIN cids USING (id) WHERE m.cid = ?`),
      block: prepare<[Cid], Uint8Array>("SELECT envelope FROM messages WHERE cid = ?").pluck(),
      counts: prepare<[], { messages: number; unanchored: number; unpinned: number }>(
        // Ids are given one after the other, and no message is ever deleted; to count a million takes as long as to anchor a hundred.
        `SELECT (SELECT coalesce(max(id), 0) FROM messages) AS messages,
                (SELECT count(*) FROM cids WHERE anchor_index IS NULL) AS unanchored,
                (SELECT count(*) FROM cids WHERE pinned = 0) AS unpinned`,
      ),
    };
  }

  /** Whether it was not there yet. */
  add({ cid, block, envelope }: NewMessage): boolean {
    const { room, sender, receiver, senderKeyVersion, seq, timestamp, seen } = envelope;
    const { insert, insertCid, insertHead, deleteHead, insertUnknown, deleteUnknown, isKnown } = this.statements;
    const inserted = insert.run(cid, room, sender, receiver, senderKeyVersion, seq, timestamp, concat(...seen), block);
    if (inserted.changes === 0) return false;
    const id = inserted.lastInsertRowid;
    insertCid.run(id, cid, room, this.pairOf(envelope));
    const digest = digestOfCid(cid);
    if (deleteUnknown.run(room, digest).changes === 0) insertHead.run(room, digest, id);
    for (const named of seen) {
      if (deleteHead.run(room, named).changes > 0 || isKnown.get(cidOfDigest(named), room) !== undefined) continue;
      insertUnknown.run(room, named);
    }
    return true;
  }

  nextSeq(room: RoomId, sender: Address, keyVersion: number): number {
    return (this.statements.lastSeq.get(room, sender, keyVersion) ?? 0) + 1;
  }

  /** The last anchor that decides about a message of the sender's key version in the room. */
  lastAnchored(room: RoomId, sender: Address, keyVersion: number): number | null {
    return this.statements.lastAnchored.get(room, sender, keyVersion) ?? null;
  }

  private pairOf({ sender, senderKeyVersion, receiver, receiverKeyVersion }: Envelope): number {
    const pair = [sender, senderKeyVersion, receiver, receiverKeyVersion] as const;
    return this.statements.pair.get(...pair) ?? Number(this.statements.insertPair.run(...pair).lastInsertRowid);
  }

  heads(room: RoomId): Uint8Array[] {
    return this.statements.heads.all(room, MAX_SEEN).map(plain).sort(compare);
  }

  unpinned(afterId: number, limit: number): PinPage {
    const rows = this.statements.unpinned.all(afterId, limit);
    const [first] = rows;
    return {
      afterId: first === undefined ? afterId : first.id - 1,
      lastId: rows.at(-1)?.id ?? afterId,
      cids: rows.map(({ cid }) => cid),
    };
  }

  /** @throws DATABASE_DAMAGED when the disk gave other bytes back, or another CID */
  *blocks({ afterId, lastId }: PinPage, maxBytes: number): Generator<Block[]> {
    for (let last = afterId; last < lastId;) {
      const batch: Block[] = [];
      let sizeBytes = 0;
      for (const { id, cid, envelope, isListed } of this.statements.blocksAfter.iterate(last, lastId)) {
        if (isListed !== 1) throw notAdded(cid);
        batch.push({ cid, bytes: verified(cid, envelope) });
        sizeBytes += envelope.length;
        last = id;
        if (sizeBytes >= maxBytes) break;
      }
      if (batch.length === 0) return;
      yield batch;
    }
  }

  markPinned({ afterId, lastId }: PinPage): void {
    this.statements.markPinned.run(afterId, lastId);
  }

  /** The store in which messages were pinned last. */
  pinnedIn(): string | undefined {
    return this.statements.store.get();
  }

  /** Forgets what was pinned: from now on, pins are this store's. */
  pinIn(store: string): void {
    this.statements.unmarkPins.run();
    this.statements.setStore.run(store);
  }

  inRoom(room: RoomId): MailboxMessage[] {
    return this.statements.room.all(room).map(messageOf);
  }

  get(cid: Cid): MailboxMessage | null {
    const row = this.statements.message.get(cid);
    return row === undefined ? null : messageOf(row);
  }

  /** @throws DATABASE_DAMAGED when the disk gave other bytes back */
  block(cid: Cid): Uint8Array | null {
    const bytes = this.statements.block.get(cid);
    return bytes === undefined ? null : verified(cid, bytes);
  }

  counts(): { readonly messages: number; readonly unanchored: number; readonly unpinned: number } {
    return this.statements.counts.get() ?? { messages: 0, unanchored: 0, unpinned: 0 };
  }
}

function messageOf(row: Row): MailboxMessage {
  const seen: Uint8Array[] = [];
  for (let at = 0; at < row.seen.length; at += DIGEST_BYTES) seen.push(row.seen.slice(at, at + DIGEST_BYTES));
  return { ...row, seen: seen.map(plain), envelope: verified(row.cid, row.envelope), pinned: row.pinned === 1 };
}

function verified(cid: Cid, bytes: Uint8Array): Uint8Array {
  try {
    return verifyBlock(cid, plain(bytes));
  } catch (cause) {
    throw new DmtpError("DATABASE_DAMAGED", `the mailbox: ${cid} has other bytes`, { cause });
  }
}

/** better-sqlite3 gives Buffers; protocol/ works with plain arrays. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}
