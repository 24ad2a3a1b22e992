/** What was asked for in vain, and when it is asked for again: ever more rarely, for as long as it takes. */
import type { Cid } from "../protocol/cid.ts";
import type { Clock } from "./clock.ts";

export interface RetriesOptions {
  readonly firstRetryMs: number;
  readonly maxRetryMs: number;
  readonly random: () => number;
  readonly clock: Clock;
  /** Called when more is due. */
  readonly onDue: () => void;
}

/** A block that was asked for in vain. */
interface Absent {
  attempts: number;
  /** In which slot it waits for its next attempt; null while it is due. */
  slot: number | null;
}

/** Attempts that are made together, so that a million of them need no timer each. */
interface Slot {
  readonly cids: Cid[];
  readonly cancel: () => void;
}

/** The times of attempts are rounded up to this. */
const SLOT_MS = 10;

export class Retries {
  private readonly options: RetriesOptions;
  private readonly absent = new Map<Cid, Absent>();
  private readonly slots = new Map<number, Slot>();
  /** In order. A set, since shifting a long array copies it. */
  private readonly due = new Set<Cid>();

  constructor(options: RetriesOptions) {
    this.options = options;
  }

  get hasDue(): boolean {
    return this.due.size > 0;
  }

  has(cid: Cid): boolean {
    return this.absent.has(cid);
  }

  cids(): Iterable<Cid> {
    return this.absent.keys();
  }

  /** It was asked for in vain, once more. */
  add(cid: Cid): void {
    const { firstRetryMs, maxRetryMs, random, clock } = this.options;
    const absent = this.absent.get(cid) ?? { attempts: 0, slot: null };
    this.absent.set(cid, absent);
    const delayMs = Math.min(maxRetryMs, firstRetryMs * 2 ** Math.min(absent.attempts, 30));
    absent.attempts += 1;
    // Spread by a quarter either way, so that what went missing together is not asked for together.
    const nowMs = clock.now();
    const number = Math.ceil((nowMs + delayMs * (0.75 + random() / 2)) / SLOT_MS);
    absent.slot = number;
    const slot = this.slots.get(number);
    if (slot !== undefined) slot.cids.push(cid);
    else {
      const cancel = clock.after(number * SLOT_MS - nowMs, () => this.makeDue(number));
      this.slots.set(number, { cids: [cid], cancel });
    }
  }

  /** It came, or is not wanted any more. */
  delete(cid: Cid): void {
    this.absent.delete(cid);
  }

  /** The first that is due; it is not due any more. */
  takeDue(): Cid | undefined {
    const [first] = this.due;
    if (first !== undefined) this.due.delete(first);
    return first;
  }

  /** Whatever waits is due now. */
  hasten(): void {
    for (const [cid, absent] of this.absent) {
      if (absent.slot === null) continue;
      absent.slot = null;
      this.due.add(cid);
    }
    this.clearSlots();
  }

  clear(): void {
    this.clearSlots();
    this.absent.clear();
  }

  private makeDue(number: number): void {
    const { cids = [] } = this.slots.get(number) ?? {};
    this.slots.delete(number);
    for (const cid of cids) {
      const absent = this.absent.get(cid);
      // It came, or has another turn by now.
      if (absent?.slot !== number) continue;
      absent.slot = null;
      this.due.add(cid);
    }
    this.options.onDue();
  }

  private clearSlots(): void {
    for (const { cancel } of this.slots.values()) cancel();
    this.slots.clear();
  }
}
