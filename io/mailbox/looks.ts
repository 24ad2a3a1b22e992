/** When content that a replay lacks is worth another look: each look replays the whole history. */
import type { Database, Statement } from "better-sqlite3";

import { computeBackoffMs } from "../../protocol/backoff.ts";

const FIRST_PAUSE_MS = 60_000;
const MAX_PAUSE_MS = 3_600_000;

export class Looks {
  private readonly get: Statement<[], { readonly at: number; readonly tries: number }>;
  private readonly set: Statement<[number, number]>;
  private readonly delete: Statement<[]>;

  constructor(database: Database) {
    this.get = database.prepare("SELECT at, tries FROM looks");
    this.set = database.prepare("INSERT OR REPLACE INTO looks VALUES (1, ?, ?)");
    this.delete = database.prepare("DELETE FROM looks");
  }

  /** The pauses double, from a minute to an hour; a clock that was put back ends one. */
  isDue(nowMs: number): boolean {
    const last = this.get.get();
    if (last === undefined || nowMs < last.at) return true;
    return nowMs - last.at >= computeBackoffMs(last.tries, FIRST_PAUSE_MS, MAX_PAUSE_MS);
  }

  /** A replay has looked, and has found all of it or not. */
  record(nowMs: number, hasAll: boolean): void {
    if (hasAll) this.delete.run();
    else this.set.run(nowMs, (this.get.get()?.tries ?? 0) + 1);
  }
}
