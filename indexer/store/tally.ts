/** How many messages each room and anchor has by verdict, and how many of everything there are: kept as they change. */
import type Database from "better-sqlite3";

import { Statements } from "./statements.ts";
import type { Status } from "./verdict-columns.ts";

type Change = Record<Status, number>;
/** What has no verdict is counted under none. */
type Total = Record<Status | "", number>;
/** By the room's number, or the anchor's index. */
type Changes = Map<number, Change>;

/** What changed is noted here, and written by {@link flush} once for a transaction: a room's row is not written for each message. */
export class Tally {
  private readonly statements: Statements;
  private readonly rooms: Changes = new Map();
  private readonly anchors: Changes = new Map();
  private readonly totals = { messages: none(), anchors: none(), rooms: none(), keys: none() };

  constructor(database: Database.Database) {
    this.statements = new Statements(database);
  }

  /** `by` more entries of this status in a room, listed by an anchor. */
  countMessage(roomNumber: number, anchorIndex: number, status: Status, by: number): void {
    changeOf(this.rooms, roomNumber)[status] += by;
    changeOf(this.anchors, anchorIndex)[status] += by;
    this.totals.messages[status] += by;
  }

  countAnchor(status: Status, by: number): void {
    this.totals.anchors[status] += by;
  }

  countRooms(by: number): void {
    this.totals.rooms[""] += by;
  }

  countKeys(by: number): void {
    this.totals.keys[""] += by;
  }

  flush(): void {
    const set = "verified = verified + ?, rejected = rejected + ?, missing = missing + ?";
    this.write(this.rooms, `UPDATE rooms SET ${set} WHERE number = ?`);
    this.write(this.anchors, `UPDATE anchors SET ${set} WHERE anchor_index = ?`);
    const add = this.statements.prepare("UPDATE totals SET n = n + ? WHERE kind = ? AND status = ?");
    for (const [kind, total] of Object.entries(this.totals)) {
      for (const [status, by] of Object.entries(total)) if (by !== 0) add.run(by, kind, status);
      Object.assign(total, none());
    }
  }

  private write(changes: Changes, sql: string): void {
    const update = this.statements.prepare(sql);
    for (const [owner, { verified, rejected, missing }] of changes) {
      if (verified !== 0 || rejected !== 0 || missing !== 0) update.run(verified, rejected, missing, owner);
    }
    changes.clear();
  }
}

function none(): Total {
  return { verified: 0, rejected: 0, missing: 0, "": 0 };
}

function changeOf(changes: Changes, owner: number): Change {
  let change = changes.get(owner);
  if (change === undefined) {
    change = { verified: 0, rejected: 0, missing: 0 };
    changes.set(owner, change);
  }
  return change;
}
