/**
 * The thread that checkpoints.ts starts: again and again it moves what the write-ahead log holds into the database file, while another
 * connection goes on writing. Posts a message when the log has grown long.
 */
import { parentPort, workerData } from "node:worker_threads";

import Database from "better-sqlite3";

export interface CheckpointWork {
  /** Of the database. */
  readonly path: string;
  readonly intervalMs: number;
  /** A log of more pages than this should begin anew. */
  readonly longPages: number;
}

/** What SQLite says of a checkpoint: pages in the log, and how many of them are in the file now. */
interface Progress {
  readonly log: number;
  readonly checkpointed: number;
}

/** Each pass is shorter than the one before, and so is what is written meanwhile. */
const PASSES = 3;

const { path, intervalMs, longPages } = workerData as CheckpointWork;
const database = new Database(path);
database.pragma("wal_autocheckpoint = 0");
const timer = setInterval(checkpoint, intervalMs);
parentPort?.once("message", () => {
  clearInterval(timer);
  database.close();
  parentPort?.close();
});

function checkpoint(): void {
  try {
    let pages = 0;
    for (let pass = 0; pass < PASSES; pass++) {
      const [progress] = database.pragma("wal_checkpoint(PASSIVE)") as Progress[];
      if (progress === undefined || progress.log === pages) return;
      pages = progress.log;
    }
    if (pages >= longPages) parentPort?.postMessage("long");
  } catch {
    // A disk that is full or fails is told of by whoever writes to the log next.
  }
}
