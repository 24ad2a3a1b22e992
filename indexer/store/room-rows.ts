/** The rooms that verified anchors list, one row each; what the tip has of them is written by StateRows. */
import type Database from "better-sqlite3";

import type { RoomId } from "../../protocol/room.ts";
import { Statements } from "./statements.ts";
import type { Tally } from "./tally.ts";

export class RoomRows {
  private readonly statements: Statements;
  private readonly tally: Tally;

  constructor(database: Database.Database, tally: Tally) {
    this.statements = new Statements(database);
    this.tally = tally;
  }

  add(room: RoomId): void {
    this.tally.countRooms(this.statements.prepare("INSERT OR IGNORE INTO rooms (id) VALUES (?)").run(room).changes);
  }

  /** Takes out those of these that no anchor lists any more. */
  prune(rooms: Iterable<RoomId>): void {
    const statement = this.statements.prepare(
      "DELETE FROM rooms WHERE id = ? AND NOT EXISTS (SELECT 1 FROM entries WHERE room = id)",
    );
    for (const room of rooms) this.tally.countRooms(-statement.run(room).changes);
  }
}
