/**
 * What all requests together may take: memory for answers that have not left, compressions at a time, and the time between two looks
 * at the sockets. Whoever asks for more than there is waits in line, or is told to come again.
 */
import type { ServerResponse } from "node:http";

import { DmtpError } from "../protocol/error.ts";

export interface BudgetOptions {
  /** Of answers that were made and have not left. One may go above it. */
  readonly maxBytes?: number;
  /** Requests in line. */
  readonly maxWaiting?: number;
  readonly maxWaitMs?: number;
  readonly maxCompressions?: number;
  /** In bytes a second. A reader that is slower is cut off when others need its room. */
  readonly minRate?: number;
  /** For how long a reader may be slower than that, or take nothing at all. */
  readonly graceMs?: number;
  readonly now?: () => number;
}

interface Waiter {
  readonly sinceMs: number;
  readonly begin: () => void;
  readonly giveUp: (error: DmtpError) => void;
}

/** An answer that is on its way. */
interface Holder {
  readonly response: ServerResponse;
  readonly sizeBytes: number;
  readonly sinceMs: number;
  /** How much of it went to the socket, and when the last of that did. The system keeps up to some megabytes for a reader that reads nothing. */
  sentBytes: number;
  sentAtMs: number;
}

/** Answers are made for as long before the sockets are looked at again: `/health` waits for one more answer at most. */
const TURN_MS = 5;
const LOOK_AGAIN_MS = 100;
const PIECE_BYTES = 64 * 1024;
/** What every socket takes at once is not worth counting: of all connections there are, it is some megabytes. */
const SMALL_BYTES = 16 * 1024;

export class ServingBudget {
  /** Of answers on their way, those being compressed twice. */
  bytes = 0;
  compressions = 0;
  private readonly options: Required<BudgetOptions>;
  private readonly holders = new Set<Holder>();
  private readonly waiting: Waiter[] = [];
  private usedMs = 0;
  private isScheduled = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(options: BudgetOptions = {}) {
    this.options = {
      maxBytes: 48 * 1024 * 1024,
      maxWaiting: 512,
      maxWaitMs: 5_000,
      maxCompressions: 4,
      minRate: 64 * 1024,
      graceMs: 5_000,
      now: () => performance.now(),
      ...options,
    };
  }

  /**
   * Runs what makes an answer, as soon as there is room for it.
   * @throws SERVICE_BUSY when too many are in line, or its turn does not come in time
   */
  async run<T>(work: () => T): Promise<T> {
    if (this.waiting.length > 0 || !this.canBegin) await this.wait();
    const startedAtMs = this.options.now();
    try {
      return work();
    } finally {
      this.usedMs += this.options.now() - startedAtMs;
      if (this.waiting.length > 0) this.schedule();
      if (this.waiting.length > 0 && this.canBegin) this.admit();
    }
  }

  /** Whether one more answer may be compressed now; others leave as they are. */
  get canCompress(): boolean {
    return this.compressions < this.options.maxCompressions;
  }

  /** Runs a compression of `sizeBytes` bytes, which has them in memory twice. */
  async compress(sizeBytes: number, work: () => Promise<Buffer>): Promise<Buffer> {
    this.compressions += 1;
    this.bytes += 2 * sizeBytes;
    try {
      return await work();
    } finally {
      this.compressions -= 1;
      this.release(2 * sizeBytes);
    }
  }

  /** Sends a body, piece by piece as the client takes it, and counts it until it has left or the client is gone. */
  async send(response: ServerResponse, body: string | Buffer, sizeBytes: number): Promise<void> {
    if (isGone(response)) return;
    if (body.length <= SMALL_BYTES || response.req.method === "HEAD") {
      // As text: head and body then leave in one write.
      response.end(body);
      return;
    }
    const nowMs = this.options.now();
    const holder: Holder = { response, sizeBytes, sinceMs: nowMs, sentBytes: 0, sentAtMs: nowMs };
    this.holders.add(holder);
    this.bytes += sizeBytes;
    response.once("close", () => {
      this.holders.delete(holder);
      this.release(sizeBytes);
    });
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    for (let at = 0; at < sizeBytes; at += PIECE_BYTES) {
      const isRoomy = response.write(bytes.subarray(at, at + PIECE_BYTES));
      if (!isRoomy) await drained(response);
      if (isGone(response)) return;
      holder.sentBytes = at + PIECE_BYTES;
      holder.sentAtMs = this.options.now();
    }
    response.end();
  }

  private get hasRoom(): boolean {
    return this.bytes < this.options.maxBytes;
  }

  private get canBegin(): boolean {
    return this.usedMs < TURN_MS && this.hasRoom;
  }

  private wait(): Promise<void> {
    if (this.waiting.length >= this.options.maxWaiting) throw busy();
    return new Promise((begin, giveUp) => {
      this.waiting.push({ sinceMs: this.options.now(), begin, giveUp });
      // What was used of earlier turns is forgotten by the time that this one's comes.
      this.schedule();
    });
  }

  private release(sizeBytes: number): void {
    this.bytes -= sizeBytes;
    if (this.waiting.length > 0) this.schedule();
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.usedMs = 0;
      this.admit();
    });
  }

  /** Lets the first in line begin; the next follows when its answer is made. */
  private admit(): void {
    const { now, maxWaitMs } = this.options;
    while (this.waiting[0] !== undefined && now() - this.waiting[0].sinceMs > maxWaitMs) {
      this.waiting.shift()?.giveUp(busy());
    }
    if (this.waiting.length === 0) return;
    if (!this.hasRoom) this.cutOffSlowest();
    if (this.hasRoom) {
      this.waiting.shift()?.begin();
      return;
    }
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.schedule();
    }, LOOK_AGAIN_MS).unref();
  }

  /** Of the readers that are too slow, the one that holds most. */
  private cutOffSlowest(): void {
    const { now, graceMs, minRate } = this.options;
    let slowest: Holder | undefined;
    for (const holder of this.holders) {
      const ageMs = now() - holder.sinceMs;
      const isSlow =
        now() - holder.sentAtMs >= graceMs || (ageMs >= graceMs && holder.sentBytes < (minRate * ageMs) / 1_000);
      if (isSlow && (slowest === undefined || restOf(holder) > restOf(slowest))) slowest = holder;
    }
    slowest?.response.destroy();
  }
}

function restOf({ sizeBytes, sentBytes }: Holder): number {
  return sizeBytes - sentBytes;
}

function isGone({ destroyed, closed }: ServerResponse): boolean {
  return destroyed || closed;
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      response.off("drain", end);
      response.off("close", end);
      resolve();
    };
    response.once("drain", end);
    response.once("close", end);
  });
}

function busy(): DmtpError {
  return new DmtpError("SERVICE_BUSY", "more is asked for than can be answered now");
}
