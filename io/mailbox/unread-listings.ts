/**
 * What anchors list and the last replay did not have: for each room the last anchor with a message of it that is missing, and the last anchor
 * of which not all is known that it lists. A message written on top of that may repeat a sequence number, which the user can accept.
 */
import type { Database, Statement } from "better-sqlite3";

import type { RoomId } from "../../protocol/room.ts";

/** In place of a room: it may be any. */
const ANY = "";
/** The row of `meta` with the last anchor up to which the user has accepted that content is missing. */
const ACCEPTED = "accepted_missing";

/** Prepared statements over one table of schema.ts; transactions and errors are the mailbox's. */
export class UnreadListings {
  private readonly select: Statement<[string, RoomId], number | null>;
  private readonly insert: Statement<[string, number]>;
  private readonly clear: Statement<[]>;
  private readonly selectAccepted: Statement<[string], number>;
  private readonly setAccepted: Statement<[string, number]>;

  constructor(database: Database) {
    this.select = database
      .prepare<[string, RoomId], number | null>("SELECT max(anchor_index) FROM unread_listings WHERE room IN (?, ?)")
      .pluck();
    this.insert = database.prepare(
      "INSERT INTO unread_listings VALUES (?, ?) ON CONFLICT DO UPDATE SET anchor_index = max(anchor_index, excluded.anchor_index)",
    );
    this.clear = database.prepare("DELETE FROM unread_listings");
    this.selectAccepted = database.prepare<[string], number>("SELECT value FROM meta WHERE name = ?").pluck();
    this.setAccepted = database.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)");
  }

  /** The last anchor that lists, or may list, a message of the room that was missing; null when there is none, or it is accepted. */
  last(room: RoomId): number | null {
    const last = this.select.get(ANY, room) ?? null;
    return last !== null && last > (this.selectAccepted.get(ACCEPTED) ?? -1) ? last : null;
  }

  /** The user does without what is missing of anchors up to this one. */
  accept(anchorIndex: number): void {
    this.setAccepted.run(ACCEPTED, anchorIndex);
  }

  /** @param listings a room, or null where it may be any, and the anchor */
  replace(listings: Iterable<readonly [RoomId | null, number]>): void {
    this.clear.run();
    for (const [room, anchorIndex] of listings) this.insert.run(room ?? ANY, anchorIndex);
  }
}
