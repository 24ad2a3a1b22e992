/** What was fetched, on its way into the history: many blocks at a time, for each time costs a transaction. */
import { computeBackoffMs } from "../protocol/backoff.ts";
import type { Cid } from "../protocol/cid.ts";
import type { Clock } from "./clock.ts";
import type { Log } from "../io/log.ts";

export interface DeliveryOptions {
  /** Takes what was fetched, each block the one that its CID names. */
  readonly deliver: (blocks: ReadonlyMap<Cid, Uint8Array>) => void;
  /** Works on blocks before they are delivered, beside all else. Never rejects. */
  readonly prepare?: (blocks: Iterable<Uint8Array>) => Promise<void>;
  /** Whether earlier deliveries are still worked on: then the next one waits, and with it, in time, whoever fetches. */
  readonly isBusy?: () => boolean;
  /** Called with what could not be delivered, after several tries. */
  readonly onFailure: (cids: Iterable<Cid>) => void;
  /** Called when something more can be taken. */
  readonly onRoom: () => void;
  readonly log: Log;
  readonly clock: Clock;
}

/** While more is on its way, a delivery waits this many times as long as the last one took. */
const PATIENCE = 10;
const MAX_WAIT_MS = 2_000;
/** Of what is prepared or held; a quarter of it, once it is ready, is delivered at once. */
const MAX_BYTES = 8 * 1024 * 1024;
/** What can't be delivered is held, and delivered again after this, twice as long each time. */
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 60_000;
/** What could not be delivered so often is given up: one block of it may be at fault. */
const MAX_TRIES = 4;

export class Delivery {
  private readonly options: DeliveryOptions;
  private readonly preparing = new Set<Cid>();
  private ready = new Map<Cid, Uint8Array>();
  private readyBytes = 0;
  private preparingBytes = 0;
  private cancel: (() => void) | null = null;
  private lastTookMs = 0;
  private lastAtMs = 0;
  /** How many deliveries failed in a row. */
  private failures = 0;
  private isStopped = false;

  constructor(options: DeliveryOptions) {
    this.options = options;
  }

  get isEmpty(): boolean {
    return this.ready.size === 0 && this.preparing.size === 0;
  }

  /** How many blocks it has. */
  get size(): number {
    return this.ready.size + this.preparing.size;
  }

  get isFull(): boolean {
    return this.readyBytes + this.preparingBytes >= MAX_BYTES;
  }

  has(cid: Cid): boolean {
    return this.ready.has(cid) || this.preparing.has(cid);
  }

  stop(): void {
    this.isStopped = true;
    this.cancel?.();
  }

  /** @param isLast asked when it is ready: whether nothing more is on its way, so that nothing has to be waited for */
  take(blocks: ReadonlyMap<Cid, Uint8Array>, isLast: () => boolean): void {
    const { prepare } = this.options;
    if (prepare === undefined) this.hold(blocks);
    else void this.prepare(blocks, prepare, isLast);
  }

  /** To be called when something changed on which it depends whether to wait. */
  schedule(isLast: boolean): void {
    const { clock, isBusy } = this.options;
    if (this.isStopped || this.ready.size === 0 || isBusy?.() === true) return;
    const isFailing = this.failures > 0;
    const waitMs = this.lastAtMs + this.pauseMs - clock.now();
    const isComplete = isLast && this.preparing.size === 0;
    const isEnough = isComplete || this.readyBytes >= MAX_BYTES / 4;
    if (waitMs <= 0 || (isEnough && !isFailing)) this.deliver();
    else this.cancel ??= clock.after(waitMs, () => this.resume(isLast));
  }

  private resume(isLast: boolean): void {
    this.cancel = null;
    this.schedule(isLast);
  }

  /** Between the last delivery and the next. */
  private get pauseMs(): number {
    const { failures, lastTookMs } = this;
    if (failures > 0) return computeBackoffMs(failures, FIRST_RETRY_MS, MAX_RETRY_MS);
    return Math.min(MAX_WAIT_MS, PATIENCE * lastTookMs);
  }

  private async prepare(
    blocks: ReadonlyMap<Cid, Uint8Array>,
    prepare: (blocks: Iterable<Uint8Array>) => Promise<void>,
    isLast: () => boolean,
  ): Promise<void> {
    for (const [cid, bytes] of blocks) {
      this.preparing.add(cid);
      this.preparingBytes += bytes.length;
    }
    await prepare(blocks.values());
    for (const [cid, bytes] of blocks) {
      this.preparing.delete(cid);
      this.preparingBytes -= bytes.length;
    }
    this.hold(blocks);
    this.schedule(isLast());
  }

  private hold(blocks: ReadonlyMap<Cid, Uint8Array>): void {
    for (const [cid, bytes] of blocks) {
      this.ready.set(cid, bytes);
      this.readyBytes += bytes.length;
    }
  }

  private deliver(): void {
    const { clock, deliver, log, onFailure, onRoom } = this.options;
    this.cancel?.();
    this.cancel = null;
    const blocks = this.ready;
    this.ready = new Map();
    this.readyBytes = 0;
    const startedAtMs = clock.now();
    try {
      deliver(blocks);
      this.failures = 0;
    } catch (error) {
      // The disk is full, say. Nothing is lost: what was not taken is delivered again, or asked for again.
      const reason = error instanceof Error ? error.message : "unknown";
      log(`fetched blocks could not be stored: ${reason}`, { level: "error" });
      this.failures += 1;
      if (this.failures % MAX_TRIES === 0) onFailure(blocks.keys());
      else this.hold(blocks);
    }
    this.lastAtMs = clock.now();
    this.lastTookMs = this.lastAtMs - startedAtMs;
    this.schedule(false);
    onRoom();
  }
}
