/**
 * Checkpoints of the index's write-ahead log, by a thread of their own: one moves up to a hundred megabytes and waits for the disk, and
 * the thread that writes also answers HTTP. Nothing depends on it: a log that grows too long is moved by whoever writes
 * (database.ts), and what is left in it at the end is read from there at the next start.
 */
import { Worker } from "node:worker_threads";

import type Database from "better-sqlite3";

import type { Log } from "../../io/log.ts";
import type { CheckpointWork } from "./checkpoint-thread.ts";

export interface CheckpointsOptions extends Partial<Omit<CheckpointWork, "path">> {
  readonly startMs?: number;
}

/** A start has other things to do, and an index that is used for a moment needs no checkpoint but the one of its end. */
const START_MS = 1_500;
const INTERVAL_MS = 1_000;
/** 96 MiB: a page that changes often is written once for all that came before it. */
const LONG_PAGES = 24_576;
const LIMITS = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 };

export class Checkpoints {
  private readonly database: Database.Database;
  private readonly log: Log;
  private readonly work: CheckpointWork;
  private readonly timer: NodeJS.Timeout;
  private worker: Worker | null = null;

  /** @param database the connection that writes, between two transactions whenever this thread's messages are read */
  constructor(database: Database.Database, log: Log, options: CheckpointsOptions = {}) {
    const { startMs = START_MS, intervalMs = INTERVAL_MS, longPages = LONG_PAGES } = options;
    this.database = database;
    this.work = { path: database.name, intervalMs, longPages };
    this.log = log;
    this.timer = setTimeout(() => this.start(), startMs).unref();
  }

  /** Resolves when the thread has closed the database. */
  async close(): Promise<void> {
    clearTimeout(this.timer);
    const { worker } = this;
    this.worker = null;
    if (worker === null) return;
    const ended = new Promise((resolve) => worker.once("exit", resolve));
    worker.ref();
    worker.postMessage("close");
    await ended;
  }

  private start(): void {
    const worker = new Worker(new URL("checkpoint-thread.ts", import.meta.url), {
      workerData: this.work,
      resourceLimits: LIMITS,
    });
    worker.unref();
    worker.on("message", () => this.finish());
    worker.on("error", (error) => {
      this.worker = null;
      const reason = error instanceof Error ? error.message : "unknown";
      this.log(`the thread that makes checkpoints failed: ${reason}; they are made without it`, { level: "warning" });
    });
    this.worker = worker;
  }

  /** Moves what little was written since the thread's last pass, so that the log begins anew: only who writes can do that between two transactions. */
  private finish(): void {
    try {
      if (this.database.open) this.database.pragma("wal_checkpoint(PASSIVE)");
    } catch {
      // As in the thread.
    }
  }
}
