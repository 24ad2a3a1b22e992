/**
 * What is missing and not kept in memory, asked for in turn, at a bounded pace, for as long as it takes: a walk through all of it, a
 * rest, and the next walk.
 */
import type { Clock } from "./clock.ts";
import { Survey } from "./survey.ts";
import type { Want, WantList } from "./want-list.ts";

export interface SweepOptions {
  /** Between two walks. */
  readonly restMs: number;
  readonly clock: Clock;
  /** Called when there is more to ask for. */
  readonly onDue: () => void;
}

/** Between two requests. */
const PACE_MS = 20;

export class Sweep {
  private readonly options: SweepOptions;
  private readonly survey: Survey;
  private list: WantList | null = null;
  /** Of the page that was read, what is left, the next one last. */
  private page: Want[] = [];
  private isNeeded = false;
  private hasFoundAny = false;
  private cancelRest: (() => void) | null = null;

  constructor(options: SweepOptions) {
    this.options = options;
    this.survey = new Survey(options);
  }

  /** Whether something is missing that is not kept in memory, as far as is known. */
  get isOn(): boolean {
    return this.isNeeded;
  }

  /** To be called when something was left out of memory. */
  start(): void {
    this.isNeeded = true;
    this.hasFoundAny = true;
  }

  /** What is missing is another list. */
  reset(list: WantList): void {
    this.stop();
    this.list = list;
  }

  stop(): void {
    this.survey.end();
    this.page = [];
    this.cancelRest?.();
    this.cancelRest = null;
  }

  /** @param isNew whether a block is not kept in memory */
  take(isNew: (want: Want) => boolean): Want | undefined {
    const { list, survey } = this;
    if (!this.isNeeded || list === null || this.cancelRest !== null) return undefined;
    if (survey.isOver && this.page.length === 0) {
      this.hasFoundAny = false;
      survey.begin(list);
    }
    const want = this.findNext(isNew);
    if (want !== undefined) this.hasFoundAny = true;
    const isEnd = survey.isOver && this.page.length === 0;
    // A walk that came upon nothing was the last one.
    if (isEnd && !this.hasFoundAny) this.isNeeded = false;
    else if (isEnd) this.rest(this.options.restMs);
    else if (want !== undefined) this.rest(PACE_MS);
    return want;
  }

  private findNext(isNew: (want: Want) => boolean): Want | undefined {
    for (;;) {
      for (let want = this.page.pop(); want !== undefined; want = this.page.pop()) if (isNew(want)) return want;
      const page = this.survey.next();
      if (page === null) return undefined;
      this.page = page.toReversed();
    }
  }

  private rest(ms: number): void {
    const { clock, onDue } = this.options;
    this.cancelRest = clock.after(ms, () => {
      this.cancelRest = null;
      onDue();
    });
  }
}
