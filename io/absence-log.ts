/**
 * The blocks that no source had when a command asked for them, from run to run: so that one that nobody has is searched for once, and
 * not by each command. It is only a memory: without it, or when it is deleted, everything is asked for again.
 */
import { join } from "node:path";

import type Database from "better-sqlite3";

import { digestOfCid, type Cid } from "../protocol/cid.ts";
import { openDatabase } from "./database.ts";

/** What is known of a block that was absent. */
export interface Absence {
  /** 0: it was taken for absent because others of its anchor were, and never asked for. */
  readonly attempts: number;
  /** In Unix milliseconds. */
  readonly firstAskedMs: number;
  readonly lastAskedMs: number;
  /** The last anchor that named it then; -1 for none. */
  readonly lastAnchor: number;
}

const FILE = "absences.sqlite";
const TABLES = `
  CREATE TABLE IF NOT EXISTS sources (fingerprint TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS absent_blocks (
    digest BLOB PRIMARY KEY, attempts INTEGER NOT NULL, first_asked INTEGER NOT NULL, last_asked INTEGER NOT NULL,
    last_anchor INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;
/** Each takes about 60 bytes of disk. What comes beyond is asked for again by the next command. */
const MAX_ROWS = 1_000_000;
/** Changes that are kept in memory until they are written together. */
const MAX_PENDING = 256;

export class AbsenceLog {
  private readonly path: string;
  private readonly fingerprint: string;
  private database: Database.Database | null = null;
  private select: Database.Statement<[Uint8Array], Absence> | null = null;
  private rows = 0;
  /** Not written yet; null for one that was found. */
  private pending = new Map<Cid, Absence | null>();

  /** @param sources names what is asked: a block that other sources did not have may be in these */
  constructor(folder: string, sources: string) {
    this.path = join(folder, FILE);
    this.fingerprint = sources;
    this.attempt(() => {
      const database = openDatabase(this.path, "the log of absent blocks");
      this.database = database;
      // What is lost with the machine's power is asked for again.
      database.pragma("synchronous = OFF");
      database.exec(TABLES);
      const known = database.prepare<[], string>("SELECT fingerprint FROM sources").pluck().get();
      if (known !== this.fingerprint) {
        database.exec("DELETE FROM absent_blocks; DELETE FROM sources");
        database.prepare("INSERT INTO sources VALUES (?)").run(this.fingerprint);
      }
      this.select = database.prepare<[Uint8Array], Absence>(
        `SELECT attempts, first_asked AS firstAskedMs, last_asked AS lastAskedMs, last_anchor AS lastAnchor
         FROM absent_blocks WHERE digest = ?`,
      );
      this.rows = database.prepare<[], number>("SELECT count(*) FROM absent_blocks").pluck().get() ?? 0;
    });
  }

  /** Null for a block that was never absent, or was found since. */
  find(cid: Cid): Absence | null {
    const pending = this.pending.get(cid);
    if (pending !== undefined) return pending;
    return this.attempt(() => this.select?.get(digestOfCid(cid)) ?? null);
  }

  /** @param isAsked false when it was not asked for, and is only taken for absent */
  add(cid: Cid, nowMs: number, { isAsked, lastAnchor }: { isAsked: boolean } & Pick<Absence, "lastAnchor">): void {
    const before = this.find(cid);
    if (before === null && this.rows >= MAX_ROWS) return;
    if (before === null) this.rows += 1;
    const attempts = (before?.attempts ?? 0) + (isAsked ? 1 : 0);
    const lastAskedMs = isAsked ? nowMs : (before?.lastAskedMs ?? nowMs);
    this.note(cid, { attempts, firstAskedMs: before?.firstAskedMs ?? nowMs, lastAskedMs, lastAnchor });
  }

  /** It was found. @returns whether it was absent before */
  delete(cid: Cid): boolean {
    if (this.find(cid) === null) return false;
    this.rows -= 1;
    this.note(cid, null);
    return true;
  }

  close(): void {
    this.flush();
    this.database?.close();
    this.database = null;
  }

  private note(cid: Cid, absence: Absence | null): void {
    this.pending.set(cid, absence);
    // A crash before this loses the memory of a few.
    if (this.pending.size >= MAX_PENDING) this.flush();
  }

  private flush(): void {
    const { pending, database } = this;
    this.pending = new Map();
    if (pending.size === 0 || database === null) return;
    this.attempt(() => {
      const put = database.prepare("INSERT OR REPLACE INTO absent_blocks VALUES (?, ?, ?, ?, ?)");
      const remove = database.prepare("DELETE FROM absent_blocks WHERE digest = ?");
      database.transaction(() => {
        for (const [cid, absence] of pending) {
          const digest = digestOfCid(cid);
          if (absence === null) remove.run(digest);
          else {
            const { attempts, firstAskedMs, lastAskedMs, lastAnchor } = absence;
            put.run(digest, attempts, firstAskedMs, lastAskedMs, lastAnchor);
          }
        }
      })();
    });
  }

  /** A disk that is full or damaged, or another command at the same moment, costs the memory and no command. */
  private attempt<T>(work: () => T): T | null {
    try {
      return work();
    } catch {
      return null;
    }
  }
}
