/** A SQLite file that keeps what it acknowledged, and SQLite's errors in DMTP's codes. */
import Database from "better-sqlite3";

import { DmtpError, type ErrorCode } from "../protocol/error.ts";

const BUSY_TIMEOUT_MS = 5_000;
const RETRY_MS = 25;
const TEMPORARY_CACHE_KIB = 8_192;

/**
 * Opens a file, made when it is not there. `name` says in its errors which database it is: the mailbox, the index, and so on.
 * @throws DATABASE_BUSY, DATABASE_DAMAGED, DATABASE_WRITE_FAILED
 */
export function openDatabase(path: string, name: string): Database.Database {
  return translated(() => {
    const database = new Database(path, { timeout: BUSY_TIMEOUT_MS });
    try {
      // The change to WAL is the one statement that SQLite does not wait for a lock with; once made, it stays in the file.
      retriedWhileBusy(() => database.pragma("journal_mode = WAL"));
      // A commit returns after its WAL frames are on the disk. A WAL file reopens at NORMAL, which would lose the last ones.
      database.pragma("synchronous = FULL");
      database.pragma("foreign_keys = ON");
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  }, name);
}

/**
 * Opens tables that are gone when it is closed, or the process ends: in memory as far as the cache holds them, then in a file without
 * a name in the folder for temporary ones. Nothing in it can be undone.
 */
export function openTemporary(tables: string): Database.Database {
  const database = new Database("");
  database.pragma("journal_mode = OFF");
  database.pragma(`cache_size = -${TEMPORARY_CACHE_KIB}`);
  database.exec(`${tables}; BEGIN`);
  return database;
}

/** Runs `work` with SQLite's errors in DMTP's codes; `name` says which database they are about. */
export function translated<T>(work: () => T, name: string): T {
  try {
    return work();
  } catch (error) {
    const code = codeOf(error);
    throw code === null ? error : new DmtpError(code, `${name}: ${(error as Error).message}`, { cause: error });
  }
}

/** As {@link translated}, for what comes one by one. */
export function* translatedEach<T>(items: Generator<T>, name: string): Generator<T> {
  try {
    for (;;) {
      const next = translated(() => items.next(), name);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    // Whoever stops early must not leave a statement open, which would keep every write out.
    items.return(undefined);
  }
}

function codeOf(error: unknown): ErrorCode | null {
  if (!(error instanceof Database.SqliteError)) return null;
  // Extended codes, such as SQLITE_BUSY_SNAPSHOT and SQLITE_IOERR_FSYNC, begin with their primary one.
  if (/^SQLITE_(?:BUSY|LOCKED)/.test(error.code)) return "DATABASE_BUSY";
  // The statements fit the tables: where one does not, a damaged file says something else of its tables.
  if (/^SQLITE_(?:CORRUPT|NOTADB|ERROR)/.test(error.code)) return "DATABASE_DAMAGED";
  if (/^SQLITE_(?:FULL|IOERR|READONLY|CANTOPEN|PERM|NOLFS)/.test(error.code)) return "DATABASE_WRITE_FAILED";
  return null;
}

function retriedWhileBusy(work: () => void): void {
  const end = Date.now() + BUSY_TIMEOUT_MS;
  for (;;) {
    try {
      work();
      return;
    } catch (error) {
      if (codeOf(error) !== "DATABASE_BUSY" || Date.now() > end) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}
