/** The rooms of which the last replay lacked a message: what is written there now may repeat a sequence number. */
import type { Database, Statement } from "better-sqlite3";

import type { RoomId } from "../../protocol/room.ts";

/** Prepared statements over one table of schema.ts; transactions and errors are the mailbox's. */
export class IncompleteRooms {
  private readonly find: Statement<[RoomId], number>;
  private readonly insert: Statement<[RoomId]>;
  private readonly clear: Statement<[]>;

  constructor(database: Database) {
    this.find = database.prepare<[RoomId], number>("SELECT 1 FROM incomplete_rooms WHERE room = ?").pluck();
    this.insert = database.prepare("INSERT INTO incomplete_rooms VALUES (?)");
    this.clear = database.prepare("DELETE FROM incomplete_rooms");
  }

  has(room: RoomId): boolean {
    return this.find.get(room) !== undefined;
  }

  replace(rooms: Iterable<RoomId>): void {
    this.clear.run();
    for (const room of rooms) this.insert.run(room);
  }
}
