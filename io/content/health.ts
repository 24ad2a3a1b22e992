/** What a content source has done so far, and whether it is worth asking now. */
import { computeBackoffMs } from "../../protocol/backoff.ts";
import type { DmtpError } from "../../protocol/error.ts";
import { FAULTS, faultOf, type Fault } from "./source-fault.ts";

export interface SourceHealth {
  readonly name: string;
  /** `suspended`: not asked for a while, after faults that are its own. */
  readonly state: "ok" | "suspended";
  /** Blocks that it gave, and that it said it has not. */
  readonly found: number;
  readonly absent: number;
  readonly faults: Readonly<Record<Fault, number>>;
  readonly lastFault: { readonly fault: Fault; readonly message: string } | null;
  /** Of the blocks that it gave, in the mean; the newest weigh most. Null before the first. */
  readonly latencyMs: number | null;
}

/**
 * Faults that are the source's own. A block that is too large or that nobody has is its author's doing: anyone can anchor a
 * thousand such, and must not be able to take the honest sources away by it.
 */
const SUSPENDING: ReadonlySet<Fault> = new Set(["wrong", "slow", "redirected", "busy", "unreachable"]);
/** A connection may break once in a while. This number of breaks in a row is a fault of the source. */
const MAX_BREAKS = 2;
const FIRST_SUSPENSION_MS = 1_000;
const MAX_SUSPENSION_MS = 60_000;
const LATENCY_WEIGHT = 0.2;
/** A source that is known for nothing yet comes after one that answers quickly, and before one that does not. */
const UNKNOWN_LATENCY_MS = 500;

export class Health {
  private readonly name: string;
  private readonly now: () => number;
  private readonly faults = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
  /** What it failed with the last time. */
  lastError: DmtpError | null = null;
  private foundCount = 0;
  private absentCount = 0;
  private latencyMs: number | null = null;
  /** Since the last good answer. */
  private suspensions = 0;
  /** Answers in a row that were silence or an error status: neither can be told from a block that nobody has. */
  private failures = 0;
  private breaks = 0;
  private suspendedUntilMs = 0;

  /** @param now milliseconds, of a clock that only goes on */
  constructor(name: string, now: () => number) {
    this.name = name;
    this.now = now;
  }

  found(tookMs: number): void {
    this.foundCount += 1;
    this.latencyMs = this.latencyMs === null ? tookMs : this.latencyMs * (1 - LATENCY_WEIGHT) + tookMs * LATENCY_WEIGHT;
    this.suspensions = 0;
    this.failures = 0;
    this.breaks = 0;
    this.suspendedUntilMs = 0;
  }

  /** Another source was quicker, after this long. */
  outrun(afterMs: number): void {
    if (afterMs > this.expectedMs) this.latencyMs = afterMs;
  }

  absent(): void {
    this.absentCount += 1;
    // It answers; whether what it answers is any good, only a block shows.
    this.failures = 0;
    this.breaks = 0;
  }

  failed(error: DmtpError): void {
    const { fault, retryAfterMs = 0 } = faultOf(error);
    this.faults[fault] += 1;
    this.lastError = error;
    if (fault === "silent" || fault === "refused") this.failures += 1;
    if (fault === "unreachable") this.breaks += 1;
    if (!SUSPENDING.has(fault) || (fault === "unreachable" && this.breaks < MAX_BREAKS)) return;
    const backoffMs = computeBackoffMs(this.suspensions + 1, FIRST_SUSPENSION_MS, MAX_SUSPENSION_MS);
    const waitMs = Math.max(backoffMs, Math.min(MAX_SUSPENSION_MS, retryAfterMs));
    // Several that were on their way together fail together, and count once.
    if (!this.isSuspended) this.suspensions += 1;
    this.suspendedUntilMs = Math.max(this.suspendedUntilMs, this.now() + waitMs);
  }

  get isSuspended(): boolean {
    return this.now() < this.suspendedUntilMs;
  }

  /** Lower is asked sooner. What may be the block's fault costs a source its place only. */
  get rank(): number {
    return (this.latencyMs ?? UNKNOWN_LATENCY_MS) * 2 ** Math.min(this.failures, 20);
  }

  /** How long its answer is waited for before the next source is asked as well. */
  get expectedMs(): number {
    return this.latencyMs ?? UNKNOWN_LATENCY_MS;
  }

  read(): SourceHealth {
    return {
      name: this.name,
      state: this.isSuspended ? "suspended" : "ok",
      found: this.foundCount,
      absent: this.absentCount,
      faults: { ...this.faults },
      lastFault:
        this.lastError === null ? null : { fault: faultOf(this.lastError).fault, message: this.lastError.message },
      latencyMs: this.latencyMs === null ? null : Math.round(this.latencyMs * 10) / 10,
    };
  }
}
