/** SQLite's errors of the mailbox in DMTP's codes: every statement on its tables is run by one of these. */
import type { Database } from "better-sqlite3";

import { openDatabase, translated, translatedEach } from "../database.ts";

const NAME = "the mailbox";

/** @throws DATABASE_BUSY, DATABASE_DAMAGED, DATABASE_WRITE_FAILED */
export function openMailboxFile(path: string): Database {
  return openDatabase(path, NAME);
}

/** @throws DATABASE_BUSY, DATABASE_DAMAGED, DATABASE_WRITE_FAILED */
export function accessMailbox<T>(work: () => T): T {
  return translated(work, NAME);
}

/** As {@link accessMailbox}, for what comes one by one. */
export function accessEach<T>(items: Generator<T>): Generator<T> {
  return translatedEach(items, NAME);
}
