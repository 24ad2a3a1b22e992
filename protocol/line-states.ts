/**
 * The states after verified anchors. An anchor may build on any before it, so each may be asked for; but a state shares little with
 * one of a thousand messages later, so only the newest and one in so many are kept. Any other is made again from the nearest kept one
 * below it in its line.
 */
import { State, type Delta } from "./state.ts";

/** A verified anchor as its state is made of it. */
export interface LineStep {
  /** Null for the first of a line. */
  readonly base: number | null;
  readonly delta: Delta;
}

const NEWEST = 4;
const ONE_IN = 32;

export class LineStates {
  private readonly steps = new Map<number, LineStep>();
  private readonly kept = new Map<number, State>();
  private readonly newest: number[] = [];

  /** Takes a verified anchor, and the state that its line has after it. */
  add(index: number, step: LineStep, state: State): void {
    this.steps.set(index, step);
    this.keep(index, state);
  }

  /** @param index of a verified anchor */
  at(index: number): State {
    const above: (readonly [number, LineStep])[] = [];
    let state: State | undefined;
    for (let at: number | null = index; at !== null && state === undefined;) {
      state = this.kept.get(at);
      if (state !== undefined) break;
      const step = this.steps.get(at);
      if (step === undefined) throw new RangeError(`anchor ${at} has no state`);
      above.push([at, step]);
      at = step.base;
    }
    state ??= State.EMPTY;
    for (const [at, { delta }] of above.reverse()) state = state.after(delta, at);
    if (above.length > 0) this.keep(index, state);
    return state;
  }

  private keep(index: number, state: State): void {
    this.kept.set(index, state);
    this.newest.push(index);
    if (this.newest.length <= NEWEST) return;
    const oldest = this.newest.shift();
    if (oldest !== undefined && oldest % ONE_IN !== 0 && !this.newest.includes(oldest)) this.kept.delete(oldest);
  }
}
