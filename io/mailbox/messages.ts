/** The mailbox's messages: what was sent from here, what the chain brought, and what has become of each. */
import type { Database, Statement } from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import { compare } from "../../protocol/bytes.ts";
import { concat } from "../../protocol/bytes.ts";
import { CID_LENGTH, cidOfDigest, digestOfCid, verifyBlock, type Cid } from "../../protocol/cid.ts";
import { MAX_SEEN, type Envelope } from "../../protocol/envelope.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { RoomMessages } from "../../protocol/state.ts";

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
  /** The anchor that lists it; null while none does. */
  readonly anchorIndex: number | null;
  readonly pinned: boolean;
}

/** A message to be kept: its block, and what the block says. */
export interface NewMessage {
  readonly cid: Cid;
  readonly block: Uint8Array;
  readonly envelope: Envelope;
}

/** Messages that wait to be anchored: how many, and the id of the last; ids only grow. */
export interface Backlog {
  readonly lastId: number;
  readonly count: number;
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
/** A room's messages as a manifest lists them, one CID after the other; and whether both tables say the same of each. */
const LISTED = `cids.room, group_concat(cids.cid, '' ORDER BY id), min(cids.room IS m.room AND cids.cid IS m.cid)
  FROM cids LEFT JOIN messages m USING (id)`;
type RoomRow = [room: RoomId, cids: string, isWhole: number];
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
      insertCid: prepare<[number | bigint, Cid, RoomId]>("INSERT INTO cids (id, cid, room) VALUES (?, ?, ?)"),
      insertHead: prepare<[RoomId, Uint8Array, number | bigint]>("INSERT INTO heads VALUES (?, ?, ?)"),
      deleteHead: prepare<[RoomId, Uint8Array]>("DELETE FROM heads WHERE room = ? AND digest = ?"),
      insertUnknown: prepare<[RoomId, Uint8Array]>("INSERT OR IGNORE INTO unknown_seen VALUES (?, ?)"),
      deleteUnknown: prepare<[RoomId, Uint8Array]>("DELETE FROM unknown_seen WHERE room = ? AND digest = ?"),
      isKnown: prepare<[Cid, RoomId], number>("SELECT 1 FROM messages WHERE cid = ? AND room = ?").pluck(),
      lastSeq: prepare<[RoomId, Address, number], number | null>(
        "SELECT max(seq) FROM messages WHERE room = ? AND sender = ? AND sender_key_version = ?",
      ).pluck(),
      heads: prepare<[RoomId, number], Uint8Array>(
        "SELECT digest FROM heads WHERE room = ? ORDER BY id DESC LIMIT ?",
      ).pluck(),
      backlog: prepare<[number, number], { lastId: number | null; count: number }>(
        `SELECT max(id) AS lastId, count(*) AS count
         FROM (SELECT id FROM cids WHERE anchor_index IS NULL AND id > ? ORDER BY id LIMIT ?)`,
      ),
      backlogCount: prepare<[number, number], number>(
        "SELECT count(*) FROM cids WHERE anchor_index IS NULL AND id > ? AND id <= ?",
      ).pluck(),
      unanchored: prepare<[], { room: RoomId; cid: Cid }>(
        "SELECT room, cid FROM cids WHERE anchor_index IS NULL ORDER BY id",
      ),
      backlogRooms: prepare<[number, number], RoomRow>(
        `SELECT ${LISTED} WHERE anchor_index IS NULL AND id > ? AND id <= ? GROUP BY cids.room`,
      ).raw(),
      findWrong: prepare<[RoomId], Cid>(
        `SELECT cids.cid FROM cids LEFT JOIN messages m USING (id)
         WHERE cids.room = ? AND NOT (cids.room IS m.room AND cids.cid IS m.cid) LIMIT 1`,
      ).pluck(),
      anchoredRooms: prepare<[number], RoomRow>(`SELECT ${LISTED} WHERE anchor_index = ? GROUP BY cids.room`).raw(),
      unpinned: prepare<[number, number], { id: number; cid: Cid }>(
        "SELECT id, cid FROM cids WHERE pinned = 0 AND id > ? ORDER BY id LIMIT ?",
      ),
      blocksAfter: prepare<[number, number], { id: number; cid: Cid; envelope: Uint8Array; isListed: number }>(
        `SELECT id, m.cid, envelope, cids.cid IS m.cid AS isListed FROM messages m LEFT JOIN cids USING (id)
         WHERE id > ? AND id <= ? ORDER BY id`,
      ),
      markPinned: prepare<[number, number]>("UPDATE cids SET pinned = 1 WHERE pinned = 0 AND id > ? AND id <= ?"),
      markBacklog: prepare<[number, number, number]>(
        "UPDATE cids SET anchor_index = ? WHERE anchor_index IS NULL AND id > ? AND id <= ?",
      ),
      markAnchored: prepare<[number, Cid, RoomId]>(
        "UPDATE cids SET anchor_index = ? WHERE cid = ? AND room = ? AND anchor_index IS NULL",
      ),
      anchors: prepare<[], number>("SELECT DISTINCT anchor_index FROM cids WHERE anchor_index IS NOT NULL").pluck(),
      unmarkAnchor: prepare<[number]>("UPDATE cids SET anchor_index = NULL WHERE anchor_index = ?"),
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
    insertCid.run(id, cid, room);
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

  heads(room: RoomId): Uint8Array[] {
    return this.statements.heads.all(room, MAX_SEEN).map(plain).sort(compare);
  }

  unanchored(): { readonly room: RoomId; readonly cid: Cid }[] {
    return this.statements.unanchored.all();
  }

  /** The first messages behind an id that no anchor lists; null when there are none. */
  backlog(afterId: number, limit: number): Backlog | null {
    const { lastId = null, count = 0 } = this.statements.backlog.get(afterId, limit) ?? {};
    return lastId === null ? null : { lastId, count };
  }

  /** How many messages with `afterId` < id ≤ `lastId` no anchor lists. */
  backlogCount(afterId: number, lastId: number): number {
    return this.statements.backlogCount.get(afterId, lastId) ?? 0;
  }

  /** These, by ascending room, each room's in the order in which they came. @throws DATABASE_DAMAGED */
  delta(afterId: number, lastId: number): Generator<RoomMessages> {
    return this.byRoom(this.statements.backlogRooms.iterate(afterId, lastId));
  }

  /** The messages that this anchor lists, likewise. @throws DATABASE_DAMAGED */
  anchoredDelta(anchorIndex: number): Generator<RoomMessages> {
    return this.byRoom(this.statements.anchoredRooms.iterate(anchorIndex));
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

  /** The messages of {@link delta} are listed by this anchor. */
  markBacklog(afterId: number, lastId: number, anchorIndex: number): void {
    this.statements.markBacklog.run(anchorIndex, afterId, lastId);
  }

  /** No anchor lists these any more. */
  unmarkAnchor(anchorIndex: number): void {
    this.statements.unmarkAnchor.run(anchorIndex);
  }

  /** Of several anchors that list a message, the first one marked stays. */
  markAnchored(anchorIndex: number, room: RoomId, cids: Iterable<Cid>): void {
    for (const cid of cids) this.statements.markAnchored.run(anchorIndex, cid, room);
  }

  /** Takes back the marks of all anchors but those that `isKept`. */
  unmarkAnchors(isKept: (anchorIndex: number) => boolean): void {
    for (const index of this.statements.anchors.all()) if (!isKept(index)) this.statements.unmarkAnchor.run(index);
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

  /** @throws DATABASE_DAMAGED when the two tables differ: nobody would notice before the anchor is paid for */
  private *byRoom(rows: Iterable<RoomRow>): Generator<RoomMessages> {
    let wrong: RoomId | undefined;
    for (const [room, text, isWhole] of rows) {
      if (isWhole !== 1) {
        wrong = room;
        break;
      }
      const cids: Cid[] = [];
      for (let at = 0; at < text.length; at += CID_LENGTH) cids.push(text.slice(at, at + CID_LENGTH) as Cid);
      yield [room, cids];
    }
    if (wrong === undefined) return;
    throw notAdded(this.statements.findWrong.get(wrong));
  }
}

function notAdded(cid = "?"): DmtpError {
  return new DmtpError("DATABASE_DAMAGED", `the mailbox: message ${cid} is not what was added`);
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
