/** Which messages wait to be anchored, which ones each own manifest lists, and what became of them there. */
import type { Database, Statement } from "better-sqlite3";

import { CID_LENGTH, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { VerdictCode } from "../../protocol/verdict.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { RoomMessages } from "../../protocol/state.ts";
import type { KeyPair } from "./registry.ts";

/** The keys of some messages, and the number by which the tables name them. */
interface NumberedKeyPair extends KeyPair {
  readonly id: number;
}

/** A message whose entry is rejected for a reason that no later anchor can mend. */
export interface RefusedMessage {
  readonly cid: Cid;
  readonly code: VerdictCode;
  readonly anchorIndex: number;
}

/** Messages that wait and can't be anchored now: the code that their entry would be rejected with. */
export interface HeldMessages {
  readonly code: VerdictCode;
  readonly count: number;
}

type RoomRow = [room: RoomId, cids: string, isWhole: number];

const PAIR = `p.id, p.sender, p.sender_key_version AS senderKeyVersion, p.receiver, p.receiver_key_version AS receiverKeyVersion`;
/** No anchor decides about it, and no open manifest of ours lists it whose fate is still unknown. */
const WAITS = `anchor_index IS NULL AND id NOT IN (
  SELECT message_id FROM listings JOIN journal j ON j.id = journal_id LEFT JOIN anchor_events USING (entry_index)
  WHERE j.state IN ('planned', 'written', 'submitted') OR (j.state = 'mined' AND verdict IS NULL))`;

/** Prepared statements over the tables of schema.ts; transactions and errors are the mailbox's. */
export class Backlog {
  private readonly statements;

  constructor(database: Database) {
    const prepare = <Parameters extends unknown[], Result = unknown>(sql: string): Statement<Parameters, Result> =>
      database.prepare<Parameters, Result>(sql);
    this.statements = {
      waitingPairs: prepare<[], NumberedKeyPair & { readonly count: number }>(
        `SELECT ${PAIR}, w.count
         FROM (SELECT pair, count(*) AS count FROM cids WHERE anchor_index IS NULL GROUP BY pair) w
         JOIN key_pairs p ON p.id = w.pair`,
      ),
      list: prepare<[number, string, number]>(
        `INSERT INTO listings SELECT ?, id FROM cids
         WHERE ${WAITS} AND pair NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?`,
      ),
      waitingOf: prepare<[number], number>(
        `SELECT count(*) FROM listings JOIN cids ON id = message_id WHERE journal_id = ? AND anchor_index IS NULL`,
      ).pluck(),
      // A room's messages as a manifest lists them, one CID after the other; and whether both tables say the same of each.
      rooms: prepare<[number], RoomRow>(
        `SELECT cids.room, group_concat(cids.cid, '' ORDER BY id), min(cids.room IS m.room AND cids.cid IS m.cid)
         FROM listings JOIN cids ON id = message_id LEFT JOIN messages m USING (id)
         WHERE journal_id = ? GROUP BY cids.room`,
      ).raw(),
      findWrong: prepare<[RoomId], Cid>(
        `SELECT cids.cid FROM cids LEFT JOIN messages m USING (id)
         WHERE cids.room = ? AND NOT (cids.room IS m.room AND cids.cid IS m.cid) LIMIT 1`,
      ).pluck(),
      pairsOf: prepare<[number], NumberedKeyPair>(
        `SELECT ${PAIR} FROM key_pairs p
         WHERE p.id IN (SELECT pair FROM listings JOIN cids ON id = message_id WHERE journal_id = ?)`,
      ),
      mark: prepare<[number, number, string]>(
        `UPDATE cids SET anchor_index = ? WHERE anchor_index IS NULL
         AND id IN (SELECT message_id FROM listings WHERE journal_id = ?)
         AND pair NOT IN (SELECT value FROM json_each(?))`,
      ),
      refuse: prepare<[string, number, number]>(
        `INSERT OR IGNORE INTO refusals (id, code) SELECT id, ? FROM listings JOIN cids ON id = message_id
         WHERE journal_id = ? AND pair = ? AND anchor_index IS NULL`,
      ),
      markPlace: prepare<[number, Cid, RoomId]>(
        "UPDATE cids SET anchor_index = ? WHERE cid = ? AND room = ? AND anchor_index IS NULL",
      ),
      refusePlace: prepare<[string, Cid]>(
        "INSERT OR IGNORE INTO refusals (id, code) SELECT id, ? FROM cids WHERE cid = ?",
      ),
      marked: prepare<[], number>("SELECT DISTINCT anchor_index FROM cids WHERE anchor_index IS NOT NULL").pluck(),
      forgive: prepare<[number]>("DELETE FROM refusals WHERE id IN (SELECT id FROM cids WHERE anchor_index = ?)"),
      unmark: prepare<[number]>("UPDATE cids SET anchor_index = NULL WHERE anchor_index = ?"),
      refused: prepare<[number], RefusedMessage>(
        `SELECT cid, code, anchor_index AS anchorIndex FROM refusals JOIN cids USING (id) WHERE is_told <= ? ORDER BY id`,
      ),
      tell: prepare<[]>("UPDATE refusals SET is_told = 1 WHERE is_told = 0"),
      unanchored: prepare<[], { room: RoomId; cid: Cid }>(
        "SELECT room, cid FROM cids WHERE anchor_index IS NULL ORDER BY id",
      ),
    };
  }

  /** In the order in which they came. */
  unanchored(): { readonly room: RoomId; readonly cid: Cid }[] {
    return this.statements.unanchored.all();
  }

  /** The keys of all messages that no anchor decides about, and how many messages have them. */
  waitingPairs(): (NumberedKeyPair & { readonly count: number })[] {
    return this.statements.waitingPairs.all();
  }

  /**
   * Lists the first messages that wait, at most `limit`, in a row of the journal.
   * @param held pairs whose messages are left out
   * @returns how many there are
   */
  list(journalId: number, held: Iterable<number>, limit: number): number {
    return this.statements.list.run(journalId, JSON.stringify([...held]), limit).changes;
  }

  /** How many messages of a row no anchor decides about. */
  waitingOf(journalId: number): number {
    return this.statements.waitingOf.get(journalId) ?? 0;
  }

  /** The messages of a row by ascending room, each room's in the order in which they came. @throws DATABASE_DAMAGED */
  *delta(journalId: number): Generator<RoomMessages> {
    let wrong: RoomId | undefined;
    for (const [room, text, isWhole] of this.statements.rooms.iterate(journalId)) {
      if (isWhole !== 1) {
        wrong = room;
        break;
      }
      const cids: Cid[] = [];
      for (let at = 0; at < text.length; at += CID_LENGTH) cids.push(text.slice(at, at + CID_LENGTH) as Cid);
      yield [room, cids];
    }
    if (wrong === undefined) return;
    // Nobody would notice before the anchor is paid for that the two tables differ.
    throw notAdded(this.statements.findWrong.get(wrong));
  }

  pairsOf(journalId: number): NumberedKeyPair[] {
    return this.statements.pairsOf.all(journalId);
  }

  /**
   * An anchor decides about the messages of a row.
   * @param refused by pair: why the entries of its messages are rejected for good
   * @param waiting pairs whose messages wait for another anchor
   */
  mark(
    journalId: number,
    anchorIndex: number,
    refused: ReadonlyMap<number, VerdictCode>,
    waiting: Iterable<number>,
  ): void {
    for (const [pair, code] of refused) this.statements.refuse.run(code, journalId, pair);
    this.statements.mark.run(anchorIndex, journalId, JSON.stringify([...waiting]));
  }

  /** An anchor has an entry of a message that decides about it; the first one that is marked stays. @param code why it is rejected */
  markPlace(anchorIndex: number, room: RoomId, cid: Cid, code: VerdictCode | null): void {
    if (this.statements.markPlace.run(anchorIndex, cid, room).changes === 0 || code === null) return;
    this.statements.refusePlace.run(code, cid);
  }

  /** No anchor with this index decides about any message. */
  unmark(anchorIndex: number): void {
    this.statements.forgive.run(anchorIndex);
    this.statements.unmark.run(anchorIndex);
  }

  /** As {@link unmark}, for all anchors but those that `isKept`. */
  unmarkAll(isKept: (anchorIndex: number) => boolean): void {
    for (const index of this.statements.marked.all()) if (!isKept(index)) this.unmark(index);
  }

  /** The messages that are rejected for good; only those that no person was told of, unless `isAll`. */
  refused(isAll: boolean): RefusedMessage[] {
    return this.statements.refused.all(isAll ? 1 : 0);
  }

  /** A person was told of all of {@link refused}. */
  markTold(): void {
    this.statements.tell.run();
  }
}

export function notAdded(cid = "?"): DmtpError {
  return new DmtpError("DATABASE_DAMAGED", `the mailbox: message ${cid} is not what was added`);
}
