/** Whether the content store answers at all. While it does not, it is asked for one block at a time, ever more rarely. */
import type { Cid } from "../protocol/cid.ts";
import type { Clock } from "./clock.ts";
import type { Want } from "./want-list.ts";

export interface OutageOptions {
  readonly firstRetryMs: number;
  readonly clock: Clock;
  /** Called when the store may be asked again. */
  readonly onDue: () => void;
}

const MAX_REST_MS = 15_000;
/** A block at which the store failed so often while it answered for others is at fault itself. */
const MAX_FAILURES = 3;
const MAX_COUNTED = 10_000;

export class Outage {
  private readonly options: OutageOptions;
  /** What the store failed at, the oldest first. */
  private readonly held: Want[] = [];
  private readonly failures = new Map<Cid, number>();
  private isOn = false;
  private restMs = 0;
  private cancel: (() => void) | null = null;

  constructor(options: OutageOptions) {
    this.options = options;
  }

  /** Whether the store answered the last time. */
  get isOver(): boolean {
    return !this.isOn;
  }

  get isResting(): boolean {
    return this.cancel !== null;
  }

  /** The store failed: nothing is asked for until a while has passed, longer each time. */
  begin(): void {
    this.isOn = true;
    if (this.cancel !== null) return;
    const { firstRetryMs, clock, onDue } = this.options;
    this.restMs = Math.min(Math.max(MAX_REST_MS, firstRetryMs), this.restMs === 0 ? firstRetryMs : 2 * this.restMs);
    this.cancel = clock.after(this.restMs, () => {
      this.cancel = null;
      onDue();
    });
  }

  /** Keeps it until the store answers again. False when the store failed at it too often: it is not kept. */
  hold(want: Want): boolean {
    const count = (this.failures.get(want.cid) ?? 0) + 1;
    if (this.failures.size >= MAX_COUNTED) this.failures.clear();
    this.failures.set(want.cid, count);
    if (count > MAX_FAILURES) return false;
    this.held.push(want);
    return true;
  }

  /** The one that was held longest, to see whether the store answers. */
  take(): Want | undefined {
    return this.held.shift();
  }

  /** The store answered. @returns what was held */
  end(): readonly Want[] {
    this.isOn = false;
    this.restMs = 0;
    this.cancel?.();
    this.cancel = null;
    return this.held.splice(0);
  }
}
