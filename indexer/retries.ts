/** What was asked for and not found, and when it is asked for again: ever more rarely, for as long as it takes. */
import { addJitter, computeBackoffMs } from "../protocol/backoff.ts";
import type { Cid } from "../protocol/cid.ts";
import { OldestFirst } from "../protocol/oldest-first.ts";
import type { Clock } from "./clock.ts";
import type { Want } from "./want-list.ts";

export interface RetriesOptions {
  readonly firstRetryMs: number;
  readonly maxRetryMs: number;
  readonly random: () => number;
  readonly clock: Clock;
  /** Called when more is due. */
  readonly onDue: () => void;
  /** Called when one is not kept any more, since newer ones are. */
  readonly onDrop: () => void;
}

/** A block that was not found. */
interface Absent {
  readonly want: Want;
  attempts: number;
  /** In which slot it waits for its next attempt; null while it is due. */
  slot: number | null;
}

/** Attempts that are made together, so that a million of them need no timer each. */
interface Slot {
  readonly cids: Cid[];
  readonly cancel: () => void;
}

/** As many are timed one by one, the newest. */
const MAX_KEPT = 16_384;
/** The times of attempts are rounded up to this. */
const SLOT_MS = 10;
/** A block that was not found in this number of attempts is old. With the usual times, that is after two minutes. */
const YOUNG_ATTEMPTS = 8;
/** A document is asked for again after this many times as long as another block, at first and at most: a minute, and a day. */
const FIRST_DOCUMENT_FACTOR = 120;
const MAX_DOCUMENT_FACTOR = 1_440;
/** From the second retry of a document on, its waits are this many times as long as after the first: an hour, two, four. */
const LATER_DOCUMENT_FACTOR = 30;

export class Retries {
  private readonly options: RetriesOptions;
  private readonly absent = new Map<Cid, Absent>();
  private readonly oldest = new OldestFirst(this.absent);
  private readonly slots = new Map<number, Slot>();
  /** What is due, by the number of attempts; the last has all that is old, and documents. Sets, since shifting a long array copies it. */
  private readonly due: readonly Set<Cid>[] = Array.from({ length: YOUNG_ATTEMPTS + 1 }, () => new Set<Cid>());
  private readonly oldestDue = this.due.map((cids) => new OldestFirst(cids));

  constructor(options: RetriesOptions) {
    this.options = options;
  }

  get hasYoungDue(): boolean {
    return this.due.slice(0, YOUNG_ATTEMPTS).some((cids) => cids.size > 0);
  }

  has(cid: Cid): boolean {
    return this.absent.has(cid);
  }

  find(cid: Cid): Want | undefined {
    return this.absent.get(cid)?.want;
  }

  get size(): number {
    return this.absent.size;
  }

  /** It was not found, once more. */
  add(want: Want): void {
    const { clock } = this.options;
    const { cid } = want;
    const absent = this.absent.get(cid) ?? { want, attempts: 0, slot: null };
    this.absent.set(cid, absent);
    if (this.absent.size > MAX_KEPT) this.dropOldest();
    const delayMs = this.delayAfter(absent.attempts, want);
    absent.attempts += 1;
    const nowMs = clock.now();
    const number = Math.ceil((nowMs + delayMs) / SLOT_MS);
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

  /** One that is due, of those with the fewest attempts; it is not due any more. */
  takeYoung(): Want | undefined {
    for (let attempts = 0; attempts < YOUNG_ATTEMPTS; attempts++) {
      const want = this.takeFrom(attempts);
      if (want !== undefined) return want;
    }
    return undefined;
  }

  /** A document that is due, or a block with many attempts; it is not due any more. */
  takeOld(): Want | undefined {
    return this.takeFrom(YOUNG_ATTEMPTS);
  }

  clear(): void {
    for (const { cancel } of this.slots.values()) cancel();
    this.slots.clear();
    this.absent.clear();
    for (const cids of this.due) cids.clear();
  }

  private dropOldest(): void {
    const [oldest] = this.oldest.take() ?? [];
    if (oldest === undefined) return;
    for (const cids of this.due) cids.delete(oldest);
    this.options.onDrop();
  }

  private takeFrom(place: number): Want | undefined {
    const oldest = this.oldestDue[place];
    for (let next = oldest?.take(); next !== undefined; next = oldest?.take()) {
      // It may have come meanwhile.
      const want = this.absent.get(next[0])?.want;
      if (want !== undefined) return want;
    }
    return undefined;
  }

  /** @param before how many attempts there were before the last */
  private delayAfter(before: number, { kind }: Want): number {
    const { firstRetryMs, maxRetryMs, random } = this.options;
    let delayMs = computeBackoffMs(before + 1, firstRetryMs, maxRetryMs);
    if (kind === "document") {
      const factor = FIRST_DOCUMENT_FACTOR * (before === 0 ? 1 : LATER_DOCUMENT_FACTOR);
      delayMs = computeBackoffMs(before + 1, firstRetryMs * factor, maxRetryMs * MAX_DOCUMENT_FACTOR);
    }
    return addJitter(delayMs, random());
  }

  private makeDue(number: number): void {
    const { cids = [] } = this.slots.get(number) ?? {};
    this.slots.delete(number);
    for (const cid of cids) {
      const absent = this.absent.get(cid);
      // It came, or has another turn by now.
      if (absent?.slot !== number) continue;
      absent.slot = null;
      const place = absent.want.kind === "document" ? YOUNG_ATTEMPTS : Math.min(absent.attempts - 1, YOUNG_ATTEMPTS);
      this.due[place]?.add(cid);
    }
    this.options.onDue();
  }
}
