/** Time, as what waits sees it: tests put another in its place. */
export interface Clock {
  /** Milliseconds; never goes back. */
  now(): number;
  /** Does some work later, unless the returned function is called before. */
  after(ms: number, work: () => void): () => void;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  after(ms, work) {
    const timer = setTimeout(work, ms);
    return () => clearTimeout(timer);
  },
};
