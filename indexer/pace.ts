/** When a loop looks again: at once, after its interval, when it is told of something, and ever more rarely while it fails. */
import { addJitter, computeBackoffMs } from "../protocol/backoff.ts";
import type { Clock } from "./clock.ts";

/**
 * How a look ended: `progress` and `unchanged` have more to do, and the first came nearer to it; `current` has all there is, `behind`
 * has to wait for more.
 */
export type Outcome = "progress" | "unchanged" | "current" | "behind" | "failure";

/** With the spread, a node that is back is noticed within five seconds. */
const MAX_BACKOFF_MS = 4_000;
/** Who was silent for as long is asked. */
const SILENCE_MS = 10_000;

export interface PaceOptions {
  readonly intervalMs: number;
  readonly random: () => number;
  readonly clock: Clock;
}

export class Pace {
  private readonly options: PaceOptions;
  private failures = 0;
  private beganAtMs = 0;
  private toldAtMs: number | null = null;
  /** Whether it was told of something since the last look began. */
  private isTold = false;
  private wake: (() => void) | null = null;
  private isStopped = false;

  constructor(options: PaceOptions) {
    this.options = options;
  }

  get isFailing(): boolean {
    return this.failures > 0;
  }

  /** There is something new to look at. */
  tell(): void {
    this.toldAtMs = this.options.clock.now();
    this.isTold = true;
    this.wake?.();
  }

  /** A look begins. */
  begin(): void {
    this.beganAtMs = this.options.clock.now();
    this.isTold = false;
  }

  /** Resolves when it is time to look again. At once is not at all: between two looks, others get their turn. */
  async rest(outcome: Outcome): Promise<void> {
    if (outcome === "failure") this.failures += 1;
    else if (outcome === "current" || outcome === "behind") this.failures = 0;
    const waitMs = this.waitMsAfter(outcome);
    if (this.isStopped) return;
    await new Promise<void>((resolve) => {
      const cancel = this.options.clock.after(this.isTold ? 0 : waitMs, resolve);
      this.wake = () => {
        cancel();
        resolve();
      };
    });
    this.wake = null;
  }

  /** Ends a rest. */
  stop(): void {
    this.isStopped = true;
    this.wake?.();
  }

  private waitMsAfter(outcome: Outcome): number {
    const { intervalMs, random, clock } = this.options;
    switch (outcome) {
      case "progress":
        return 0;
      case "unchanged":
      case "behind":
        return intervalMs;
      case "failure":
        return addJitter(computeBackoffMs(this.failures + 1, intervalMs, MAX_BACKOFF_MS), random());
      case "current": {
        // While it is told of what is new, there is nothing to ask for.
        const silentMs = this.toldAtMs === null ? 0 : this.toldAtMs + SILENCE_MS - clock.now();
        // An interval is from look to look; a node that takes long to answer gets some rest all the same.
        return Math.max(intervalMs / 2, Math.max(intervalMs, silentMs) - (clock.now() - this.beganAtMs));
      }
    }
  }
}
