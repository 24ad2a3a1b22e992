/** Threads that verify signatures while the index writes. Nothing depends on them: what they don't answer is verified without them. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";

import { KEY_BYTES } from "../protocol/crypto/lengths.ts";
import type { Log } from "../io/log.ts";
import type { Answers, Batch } from "./signature-thread.ts";

export interface SignatureThreadsOptions {
  /** By default one for each core but the one that writes, at most {@link MAX_THREADS}. */
  readonly count?: number;
  /** They are started once this number of messages had to be verified: an index that is up to date has no use for them. */
  readonly startAfter?: number;
  readonly log?: Log;
}

/** A message whose sender's key is known. */
export interface Question {
  /** An envelope. */
  readonly block: Uint8Array;
  readonly publicKey: Uint8Array;
}

interface Asked {
  readonly question: Question;
  readonly answer: (isValid: boolean | null) => void;
}

interface Thread {
  readonly worker: Worker;
  /** What it was given, by batch, the oldest first. */
  readonly asked: (readonly Asked[])[];
}

const MAX_THREADS = 4;
/** A thread that fails is replaced, until this number of threads have failed. */
const MAX_FAILURES = 8;
/** Nothing that it holds outlives a batch. */
const LIMITS = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 64 };
const START_AFTER = 1_000;
/** A batch costs two messages between threads. */
const BATCH = 64;

export class SignatureThreads {
  private readonly count: number;
  private readonly startAfter: number;
  private readonly log: Log;
  private failures = 0;
  private threads: Thread[] = [];
  private gathered: Asked[] = [];
  private askedCount = 0;
  private isClosed = false;

  constructor(options: SignatureThreadsOptions = {}) {
    this.count = options.count ?? Math.min(MAX_THREADS, availableParallelism() - 1);
    this.startAfter = options.startAfter ?? START_AFTER;
    this.log = options.log ?? (() => undefined);
  }

  /** @returns an answer to each question; null when no thread can say. Never rejects. */
  verify(questions: readonly Question[]): Promise<(boolean | null)[]> {
    const before = this.askedCount;
    this.askedCount += questions.length;
    if (before < this.startAfter && this.askedCount >= this.startAfter) this.start();
    const answers: (boolean | null)[] = questions.map(() => null);
    let open = questions.length;
    if (this.threads.length === 0 || open === 0) return Promise.resolve(answers);
    return new Promise((resolve) => {
      questions.forEach((question, i) => {
        const answer = (isValid: boolean | null): void => {
          answers[i] = isValid;
          open -= 1;
          if (open === 0) resolve(answers);
        };
        this.gathered.push({ question, answer });
        if (this.gathered.length === BATCH) this.send();
        else if (this.gathered.length === 1) setImmediate(() => this.send());
      });
    });
  }

  close(): void {
    this.isClosed = true;
    for (const thread of this.threads) this.end(thread);
    this.send();
  }

  private start(): void {
    if (this.isClosed) return;
    for (let i = 0; i < this.count; i++) this.startOne();
  }

  private startOne(): void {
    const worker = new Worker(new URL("signature-thread.ts", import.meta.url), { resourceLimits: LIMITS });
    const thread: Thread = { worker, asked: [] };
    worker.unref();
    worker.on("message", (answers: Answers) => {
      thread.asked.shift()?.forEach(({ answer }, at) => answer(answers[at] === 1));
    });
    worker.on("exit", () => {
      if (this.threads.includes(thread)) this.replace(thread, "it ended");
    });
    worker.on("error", (error) => this.replace(thread, error instanceof Error ? error.message : "unknown"));
    this.threads.push(thread);
  }

  private replace(thread: Thread, reason: string): void {
    this.end(thread);
    this.failures += 1;
    const isReplaced = !this.isClosed && this.failures < MAX_FAILURES;
    const what = isReplaced ? "another one is started" : "signatures are verified without it";
    this.log(`a thread that verifies signatures failed: ${reason}; ${what}`, { level: "warning" });
    if (isReplaced) this.startOne();
  }

  private send(): void {
    const asked = this.gathered;
    this.gathered = [];
    if (asked.length === 0) return;
    const [least] = this.threads.toSorted((a, b) => a.asked.length - b.asked.length);
    if (least === undefined) {
      for (const { answer } of asked) answer(null);
      return;
    }
    const batch = batchOf(asked.map(({ question }) => question));
    least.asked.push(asked);
    least.worker.postMessage(batch, [batch.blocks.buffer, batch.keys.buffer]);
  }

  /** Whoever still waits for it waits for nothing. */
  private end(thread: Thread): void {
    this.threads = this.threads.filter((other) => other !== thread);
    for (const { answer } of thread.asked.splice(0).flat()) answer(null);
    void thread.worker.terminate();
  }
}

function batchOf(questions: readonly Question[]): Batch {
  const ends: number[] = [];
  let size = 0;
  for (const { block } of questions) ends.push((size += block.length));
  const blocks = new Uint8Array(size);
  const keys = new Uint8Array(KEY_BYTES * questions.length);
  questions.forEach(({ block, publicKey }, i) => {
    blocks.set(block, ends[i - 1] ?? 0);
    keys.set(publicKey, KEY_BYTES * i);
  });
  return { blocks, ends, keys };
}
