/** A lock that one process has at a time, and that ends with it however it ends: the operating system's, on a SQLite file. */
import { basename } from "node:path";

import Database from "better-sqlite3";

import { DmtpError } from "../protocol/error.ts";
import { translated } from "./database.ts";

interface ProcessLock {
  release(): void;
}

/**
 * Null when another process has it.
 * @param path a file made for this, which holds nothing
 * @throws DATABASE_WRITE_FAILED, DATABASE_DAMAGED
 */
export function lockProcess(path: string): ProcessLock | null {
  try {
    return translated(() => lock(path), `the lock ${basename(path)}`);
  } catch (error) {
    if (error instanceof DmtpError && error.code === "DATABASE_BUSY") return null;
    throw error;
  }
}

function lock(path: string): ProcessLock {
  const database = new Database(path, { timeout: 0 });
  try {
    // Not WAL: there, two may hold a file open for writing. An exclusive transaction holds the file's lock until it ends.
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    throw error;
  }
  return {
    release: () => {
      database.close();
    },
  };
}
