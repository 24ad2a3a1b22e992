/**
 * The CIDs that rows of one kind wait for, where these are few: then a block that comes is known to be none of them without a look at the
 * rows. Most blocks are messages, and a look costs as much as a row.
 */
import type Database from "better-sqlite3";

import type { Cid } from "../../protocol/cid.ts";

/** As many are kept in memory. Where there are more, the rows have to be asked. */
const MAX_KEPT = 4_096;
/** Where there were too many, they are counted again after this number of changes. */
const RELOAD_AFTER = 1_024;

export class WaitingCids {
  private readonly select: Database.Statement<[], Cid>;
  /** Null for too many; undefined when that has to be found out. */
  private cids: Set<Cid> | null | undefined = undefined;
  private changes = 0;

  /** @param sql selects the CIDs that are waited for */
  constructor(database: Database.Database, sql: string) {
    this.select = database.prepare<[], Cid>(`${sql} LIMIT ${MAX_KEPT + 1}`).pluck();
  }

  /** False only when nothing waits for it. */
  mayHave(cid: Cid): boolean {
    if (this.cids === undefined) this.load();
    return this.cids?.has(cid) ?? true;
  }

  /** Something waits for it from now on. */
  add(cid: Cid): void {
    this.cids?.add(cid);
    if ((this.cids?.size ?? 0) > MAX_KEPT) this.cids = undefined;
  }

  /** Some rows do not wait any more. */
  forget(): void {
    // What is in the set and waits no more costs a look at the rows, until the set is full.
    if (this.cids !== null) return;
    this.changes += 1;
    if (this.changes % RELOAD_AFTER === 0) this.cids = undefined;
  }

  private load(): void {
    const cids = this.select.all();
    this.cids = cids.length > MAX_KEPT ? null : new Set(cids);
  }
}
