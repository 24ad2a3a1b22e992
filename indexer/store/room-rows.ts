/** The rooms that any anchor lists, one row each; what the tip has of them is in its state (state-rows.ts). */
import type Database from "better-sqlite3";

import type { RoomId } from "../../protocol/room.ts";
import { Statements } from "./statements.ts";
import type { Tally } from "./tally.ts";

/** Rooms whose numbers are kept in mind. */
const MAX_KEPT = 100_000;

export class RoomRows {
  private readonly statements: Statements;
  private readonly tally: Tally;
  private readonly numbers = new Map<RoomId, number>();

  constructor(database: Database.Database, tally: Tally) {
    this.statements = new Statements(database);
    this.tally = tally;
  }

  /** @returns the number by which entries name it */
  add(room: RoomId): number {
    const known = this.numbers.get(room);
    if (known !== undefined) return known;
    const { changes, lastInsertRowid } = this.statements.run(
      "INSERT INTO rooms (id) VALUES (?) ON CONFLICT DO NOTHING",
      room,
    );
    this.tally.countRooms(changes);
    const number = changes === 1 ? Number(lastInsertRowid) : this.find(room);
    if (this.numbers.size >= MAX_KEPT) this.numbers.clear();
    this.numbers.set(room, number);
    return number;
  }

  private find(room: RoomId): number {
    return this.statements.prepare<{ number: number }>("SELECT number FROM rooms WHERE id = ?").get(room)?.number ?? 0;
  }

  /** Takes out those of these that no anchor lists any more. */
  prune(rooms: Iterable<RoomId>): void {
    const statement = this.statements.prepare(
      "DELETE FROM rooms WHERE id = ? AND NOT EXISTS (SELECT 1 FROM entries WHERE room_number = number)",
    );
    this.numbers.clear();
    for (const room of rooms) this.tally.countRooms(-statement.run(room).changes);
  }
}
