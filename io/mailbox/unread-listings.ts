/**
 * What anchors list and the last replay did not have: for each room the last anchor with a message of it that is missing, and the last anchor
 * of which not all is known that it lists. A message written on top of that may repeat a sequence number, which the user can accept.
 */
import type { Database, Statement } from "better-sqlite3";

import type { Cid } from "../../protocol/cid.ts";
import type { RoomId } from "../../protocol/room.ts";

/** In place of a room: it may be any. */
const ANY = "";
/** Before a room's id, the row of `meta` with what the user has accepted there: an anchor's index and CID. */
const ACCEPTED = "accepted_missing ";

/** Prepared statements over tables of schema.ts; transactions and errors are the mailbox's. */
export class UnreadListings {
  private readonly select: Statement<[string, RoomId], number | null>;
  private readonly insert: Statement<[string, number]>;
  private readonly clear: Statement<[]>;
  private readonly selectAccepted: Statement<[string], string>;
  private readonly setAccepted: Statement<[string, string]>;
  private readonly selectCid: Statement<[number], Cid | null>;

  constructor(database: Database) {
    this.select = database
      .prepare<[string, RoomId], number | null>("SELECT max(anchor_index) FROM unread_listings WHERE room IN (?, ?)")
      .pluck();
    this.insert = database.prepare(
      "INSERT INTO unread_listings VALUES (?, ?) ON CONFLICT DO UPDATE SET anchor_index = max(anchor_index, excluded.anchor_index)",
    );
    this.clear = database.prepare("DELETE FROM unread_listings");
    this.selectAccepted = database.prepare<[string], string>("SELECT value FROM meta WHERE name = ?").pluck();
    this.setAccepted = database.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)");
    this.selectCid = database
      .prepare<[number], Cid | null>("SELECT cid FROM anchor_events WHERE entry_index = ?")
      .pluck();
  }

  /** The last anchor that lists, or may list, a message of the room that was missing; null when there is none, or it is accepted. */
  last(room: RoomId): number | null {
    const last = this.select.get(ANY, room) ?? null;
    return last !== null && last > this.lastAccepted(room) ? last : null;
  }

  /** The user does without what is missing in a room, of the anchors up to this one, for as long as the chain has it there. */
  accept(room: RoomId, anchorIndex: number): void {
    this.setAccepted.run(ACCEPTED + room, this.describe(anchorIndex));
  }

  /** @param listings a room, or null where it may be any, and the anchor */
  replace(listings: Iterable<readonly [RoomId | null, number]>): void {
    this.clear.run();
    for (const [room, anchorIndex] of listings) this.insert.run(room ?? ANY, anchorIndex);
  }

  /** -1 where nothing is accepted, or a reorg has put another anchor in the place of what was. */
  private lastAccepted(room: RoomId): number {
    const accepted = this.selectAccepted.get(ACCEPTED + room);
    const index = Number.parseInt(accepted ?? "-1", 10);
    return accepted === this.describe(index) ? index : -1;
  }

  private describe(anchorIndex: number): string {
    return `${anchorIndex} ${this.selectCid.get(anchorIndex) ?? ""}`;
  }
}
