/**
 * The mailbox as a relay works with it: messages that others sealed come in by batches, each with the relay's promise in the same commit,
 * and are told of as they are anchored.
 */
import type { Database, Statement } from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import { concat } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { ErrorCode } from "../../protocol/error.ts";
import { splitHashes } from "../../protocol/merkle.ts";
import type { Receipt } from "../../protocol/receipt.ts";
import type { RoomId } from "../../protocol/room.ts";
import { accessMailbox } from "./access.ts";
import type { Transaction } from "./anchors.ts";
import type { ChainLog } from "./chain-log.ts";
import type { Messages, NewMessage } from "./messages.ts";
import type { OwnEntryJudge } from "./own-entry-judge.ts";

/** What has become of a message. `rejected`: an anchor lists it, and its entry is rejected for good. */
export type RelayedState = "pending" | "anchored" | "final" | "rejected";

export interface RelayedMessage {
  /** Its place in the order of {@link Relayed.changes}. */
  readonly change: number;
  readonly cid: Cid;
  readonly room: RoomId;
  readonly sender: Address;
  readonly receiver: Address;
  readonly senderKeyVersion: number;
  readonly receiverKeyVersion: number;
  readonly seq: number;
  readonly timestamp: number;
  readonly state: RelayedState;
  /** Why it is rejected. */
  readonly code: ErrorCode | null;
  readonly anchor: { readonly index: number; readonly blockNumber: number } | null;
  readonly receipt: Receipt | null;
  readonly block: Uint8Array;
}

/** Whose messages: a room's, a wallet's, or all. */
export interface RelayedFilter {
  readonly room: RoomId | null;
  readonly wallet: Address | null;
}

/** `new`: kept in this batch. `known`: it was here. `taken`: another message has its number. */
export type Taken = "new" | "known" | "taken";

interface Row extends Omit<RelayedMessage, "state" | "anchor" | "receipt"> {
  readonly anchorIndex: number | null;
  readonly blockNumber: number | null;
  readonly finalized: number | null;
  readonly place: number | null;
  readonly path: Uint8Array | null;
  readonly size: number;
  readonly fromBlock: number;
  readonly byBlock: number;
  readonly signature: Uint8Array;
}

const COLUMNS = `c.id AS change, m.cid, m.room, m.sender, m.receiver, sender_key_version AS senderKeyVersion,
  receiver_key_version AS receiverKeyVersion, seq, timestamp, code, anchor_index AS anchorIndex, e.block_number AS blockNumber,
  (SELECT finalized FROM log_view) AS finalized, place, path, size, from_block AS fromBlock, by_block AS byBlock, signature,
  envelope AS block`;
const OF_MESSAGE = `messages m ON m.id = c.message_id JOIN cids ON cids.id = m.id
  JOIN (SELECT id AS pair_id, receiver_key_version FROM key_pairs) ON pair_id = pair
  LEFT JOIN refusals f ON f.id = m.id LEFT JOIN anchor_events e ON e.entry_index = anchor_index
  LEFT JOIN receipts r ON r.message_id = m.id LEFT JOIN promises p ON p.id = r.promise`;
const SOURCE = `message_changes c JOIN ${OF_MESSAGE}`;
/** In the order of the changes: a look walks over places, however few messages it finds, and over no others. */
const CHANGES = `message_changes c CROSS JOIN ${OF_MESSAGE}`;
const OF_WALLET = "pair IN (SELECT id FROM key_pairs WHERE sender = $wallet OR receiver = $wallet)";

interface Selection extends RelayedFilter {
  readonly after: number;
  /** The last place that is looked at. */
  readonly end: number;
  readonly limit: number;
}

const OLDEST_KEPT_MS = 1_000;

/** Every method may throw DATABASE_DAMAGED, DATABASE_BUSY, and DATABASE_WRITE_FAILED when it writes. */
export class Relayed {
  /** Of the order of changes in this file: places in that of another mean nothing here. Sixteen hexadecimal digits. */
  readonly name: string;
  private readonly messages: Messages;
  private readonly log: ChainLog;
  private readonly judge: OwnEntryJudge;
  private readonly transaction: Transaction;
  private readonly statements;
  private oldest: { readonly fromBlock: number | null; readonly view: string | null; readonly atMs: number } | null =
    null;

  constructor(database: Database, messages: Messages, log: ChainLog, judge: OwnEntryJudge, transaction: Transaction) {
    this.messages = messages;
    this.log = log;
    this.judge = judge;
    this.transaction = transaction;
    this.name = String(database.prepare("SELECT value FROM meta WHERE name = 'changes'").pluck().get());
    const prepare = <Parameters extends unknown[], Result = unknown>(sql: string): Statement<Parameters, Result> =>
      database.prepare<Parameters, Result>(sql);
    const pending = (where: string): Statement<[Selection], Row> =>
      prepare(
        `SELECT ${COLUMNS} FROM ${SOURCE} WHERE cids.anchor_index IS NULL AND m.id > $after AND ${where} ORDER BY m.id LIMIT $limit`,
      );
    const changes = (where: string): Statement<[Selection], Row> =>
      prepare(
        `SELECT ${COLUMNS} FROM ${CHANGES} WHERE c.id > $after AND c.id <= $end AND ${where} ORDER BY c.id LIMIT $limit`,
      );
    this.statements = {
      pendingInRoom: pending("m.room = $room"),
      pendingOfWallet: pending(OF_WALLET),
      changes: changes("1"),
      changesInRoom: changes("m.room = $room"),
      changesOfWallet: changes(OF_WALLET),
      message: prepare<[Cid], Row>(`SELECT ${COLUMNS} FROM ${SOURCE} WHERE m.cid = ?`),
      end: prepare<[], number>("SELECT coalesce(max(id), 0) FROM message_changes").pluck(),
      isNumberTaken: prepare<[RoomId, Address, number, number], number>(
        "SELECT 1 FROM messages WHERE room = ? AND sender = ? AND sender_key_version = ? AND seq = ? LIMIT 1",
      ).pluck(),
      id: prepare<[Cid], number>("SELECT id FROM messages WHERE cid = ?").pluck(),
      hasReceipt: prepare<[Cid], number>(
        "SELECT 1 FROM receipts WHERE message_id = (SELECT id FROM messages WHERE cid = ?)",
      ).pluck(),
      insertPromise: prepare<[number, number, number, Uint8Array]>(
        "INSERT INTO promises (size, from_block, by_block, signature) VALUES (?, ?, ?, ?)",
      ),
      insertReceipt: prepare<[number, number | bigint, number, Uint8Array]>("INSERT INTO receipts VALUES (?, ?, ?, ?)"),
      oldestPromise: prepare<[string], number>(
        `SELECT min(from_block) FROM promises WHERE id IN (
           SELECT promise FROM cids JOIN receipts ON message_id = cids.id
           WHERE anchor_index IS NULL AND pair NOT IN (SELECT value FROM json_each(?)))`,
      ).pluck(),
      hasWritten: prepare<[Address, Address], number>(
        "SELECT 1 FROM key_pairs WHERE sender = ? AND receiver = ? LIMIT 1",
      ).pluck(),
    };
  }

  /**
   * Keeps those of a batch that are new and whose number is free, with the promise for them; all in one commit. Of messages with one
   * number the first is kept.
   * @param promise the receipts for these; null while the relay promises nothing
   * @returns what was made of each
   */
  take(batch: readonly NewMessage[], promise: ((cids: readonly Cid[]) => readonly Receipt[]) | null): Taken[] {
    return this.transaction(() => {
      const taken = batch.map((message): Taken => {
        if (this.statements.id.get(message.cid) !== undefined) return "known";
        const { room, sender, senderKeyVersion, seq } = message.envelope;
        if (this.statements.isNumberTaken.get(room, sender, senderKeyVersion, seq) !== undefined) return "taken";
        this.messages.add(message);
        return "new";
      });
      // What was here without a promise, since none was given then, has one from now on.
      const bare = new Set<Cid>();
      for (const [i, { cid }] of batch.entries()) {
        if (taken[i] !== "taken" && this.statements.hasReceipt.get(cid) === undefined) bare.add(cid);
      }
      if (promise !== null && bare.size > 0) this.keep(promise([...bare]));
      return taken;
    });
  }

  /** A message; null when it is not here. */
  message(cid: Cid): RelayedMessage | null {
    return accessMailbox(() => {
      const row = this.statements.message.get(cid);
      return row === undefined ? null : toMessage(row);
    });
  }

  /** The messages that no anchor decides about, in the order in which they came, behind the one with this CID. */
  pending(filter: RelayedFilter, after: Cid | null, limit: number): RelayedMessage[] {
    return accessMailbox(() => {
      const id = after === null ? 0 : (this.statements.id.get(after) ?? 0);
      const { pendingInRoom, pendingOfWallet } = this.statements;
      const statement = filter.room === null ? pendingOfWallet : pendingInRoom;
      return statement.all({ ...filter, after: id, end: Number.MAX_SAFE_INTEGER, limit }).map(toMessage);
    });
  }

  /** Messages as they are now, in the order in which they became so, behind a place in it and up to another. */
  changes(filter: RelayedFilter, after: number, end: number, limit: number): RelayedMessage[] {
    return accessMailbox(() => {
      const { changes, changesInRoom, changesOfWallet } = this.statements;
      const statement = filter.room !== null ? changesInRoom : filter.wallet !== null ? changesOfWallet : changes;
      return statement.all({ ...filter, after, end, limit }).map(toMessage);
    });
  }

  /** The last place in the order of {@link changes}. */
  end(): number {
    return accessMailbox(() => this.statements.end.get() ?? 0);
  }

  /**
   * The block at which the oldest promise that is not kept yet was given; null when there is none. What no anchor takes, since its keys
   * would have it rejected, is owed to nobody (SPEC 14). Looked up once a second at most while the view of the chain stays the same.
   */
  oldestPromise(): number | null {
    const nowMs = performance.now();
    const view = this.log.view()?.hash ?? null;
    const known = this.oldest;
    if (known?.view === view && nowMs - known.atMs <= OLDEST_KEPT_MS) return known.fromBlock;
    const held = JSON.stringify(this.judge.heldPairs().map(({ id }) => id));
    const fromBlock = accessMailbox(() => this.statements.oldestPromise.get(held) ?? null);
    this.oldest = { fromBlock, view, atMs: nowMs };
    return fromBlock;
  }

  /** Whether a message from one wallet to the other is here, pending or not. */
  hasWritten(sender: Address, receiver: Address): boolean {
    return accessMailbox(() => this.statements.hasWritten.get(sender, receiver) !== undefined);
  }

  private keep(receipts: readonly Receipt[]): void {
    const [first] = receipts;
    if (first === undefined) return;
    const { size, fromBlock, byBlock, signature } = first;
    const { lastInsertRowid } = this.statements.insertPromise.run(size, fromBlock, byBlock, signature);
    for (const { cid, index, path } of receipts) {
      const id = this.statements.id.get(cid);
      if (id !== undefined) this.statements.insertReceipt.run(id, lastInsertRowid, index, concat(...path));
    }
  }
}

function toMessage(row: Row): RelayedMessage {
  const { anchorIndex, blockNumber, finalized, place, path, size, fromBlock, byBlock, signature, ...message } = row;
  const isFinal = blockNumber !== null && finalized !== null && blockNumber <= finalized;
  const state = message.code !== null ? "rejected" : anchorIndex === null ? "pending" : isFinal ? "final" : "anchored";
  const receipt =
    place === null || path === null
      ? null
      : {
          cid: row.cid,
          index: place,
          size,
          path: splitHashes(copy(path)),
          fromBlock,
          byBlock,
          signature: copy(signature),
        };
  const anchor = anchorIndex === null || blockNumber === null ? null : { index: anchorIndex, blockNumber };
  return { ...message, block: copy(message.block), state, anchor, receipt };
}

/** better-sqlite3 gives Buffers; protocol/ works with plain arrays. */
function copy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}
