/** The numbers by which all other tables name CIDs. */
import type Database from "better-sqlite3";

import type { Cid } from "../../protocol/cid.ts";

export class CidRows {
  private readonly insert: Database.Statement<[Cid]>;
  private readonly find: Database.Statement<[Cid], number>;

  constructor(database: Database.Database) {
    this.insert = database.prepare("INSERT INTO cids (cid) VALUES (?) ON CONFLICT DO NOTHING");
    this.find = database.prepare<[Cid], number>("SELECT id FROM cids WHERE cid = ?").pluck();
  }

  /** @returns its number, and whether it was never seen before */
  add(cid: Cid): { readonly id: number; readonly isNew: boolean } {
    const { changes, lastInsertRowid } = this.insert.run(cid);
    return { id: changes === 1 ? Number(lastInsertRowid) : (this.find.get(cid) ?? 0), isNew: changes === 1 };
  }
}
