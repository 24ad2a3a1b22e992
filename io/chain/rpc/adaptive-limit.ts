/** How much a provider grants at once, of blocks in a range or calls in a batch: learnt from its refusals, and tried again later. */

/** Answers that it takes, at most, to try a larger size. */
const MAX_PATIENCE = 4_096;

export class AdaptiveLimit {
  private readonly max: number;
  private current: number;
  /** Answers of the present size since the last refusal, and how many it takes to try a larger size again. */
  private granted = 0;
  private patience = 1;
  /** Whether the present size is a larger one that has not been granted yet. */
  private isTrial = false;

  constructor(initial: number, max: number) {
    this.current = initial;
    this.max = max;
  }

  /** How much to ask for. */
  get size(): number {
    return this.current;
  }

  /** As much as the present size was granted. */
  grow(): void {
    this.granted += 1;
    this.isTrial = false;
    if (this.granted < this.patience) return;
    this.granted = 0;
    this.isTrial = true;
    this.current = Math.min(this.max, this.current * 2);
  }

  /** So much was refused, or was answered with gaps. */
  shrink(size: number, factor = 2): void {
    this.shrinkTo(Math.floor(size / factor));
  }

  /** So much may be granted; `isNamed` by the provider's own word. */
  shrinkTo(size: number, isNamed = false): void {
    this.current = Math.max(1, size);
    this.granted = 0;
    // A limit that held when it was tried is tried ever more rarely, and one that was named hardly ever.
    if (isNamed) this.patience = MAX_PATIENCE;
    else this.patience = Math.max(16, this.isTrial ? Math.min(MAX_PATIENCE, this.patience * 2) : this.patience);
    this.isTrial = false;
  }
}
