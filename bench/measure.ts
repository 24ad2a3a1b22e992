/** Ratios, not times: two ways to spend the same work, measured in turn, so that a noisy machine is noisy for both. */

export interface Comparison {
  readonly name: string;
  /** Bound time divided by measured time: 1 is as quick as the bound. Median over the rounds. */
  readonly ratio: number;
  readonly goal: number;
  /** Per unit of work, microseconds. */
  readonly measuredUs: number;
  readonly boundUs: number;
  readonly bound: string;
}

export interface Duration {
  readonly name: string;
  readonly ms: number;
  readonly goalMs: number;
}

/** A size that must not be larger. */
export interface Limit {
  readonly name: string;
  readonly value: number;
  readonly limit: number;
  readonly unit: string;
}

interface Contestants {
  readonly name: string;
  readonly goal: number;
  /** What the bound is made of. */
  readonly bound: string;
  /** Units of work that one call of either does. */
  readonly units: number;
  /** Before each round, not measured. */
  readonly prepare?: () => void | Promise<void>;
  readonly measured: () => void | Promise<void>;
  readonly bare: () => void | Promise<void>;
}

const ROUNDS = 7;

/** One warm-up round, then {@link ROUNDS} in turn. */
export async function compare({ name, goal, bound, units, prepare, measured, bare }: Contestants): Promise<Comparison> {
  const rounds: { readonly measured: number; readonly bare: number }[] = [];
  for (let round = -1; round < ROUNDS; round++) {
    await prepare?.();
    const times = { bare: await time(bare), measured: await time(measured) };
    if (round >= 0) rounds.push(times);
  }
  return {
    name,
    goal,
    bound,
    ratio: median(rounds.map((times) => times.bare / times.measured)),
    measuredUs: (median(rounds.map((times) => times.measured)) * 1_000) / units,
    boundUs: (median(rounds.map((times) => times.bare)) * 1_000) / units,
  };
}

/** Milliseconds that a piece of work takes. */
export async function time(work: () => void | Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
