/** A delay that doubles with every failure in a row: `firstMs` after the first one, and never more than `maxMs`. */
export function computeBackoffMs(failures: number, firstMs: number, maxMs: number): number {
  // Beyond 30 doublings a millisecond has become twelve days; the bound keeps the number finite.
  return Math.min(maxMs, firstMs * 2 ** Math.min(Math.max(failures - 1, 0), 30));
}

/**
 * The delay made longer or shorter by up to a quarter, so that what failed together is not tried again together.
 * @param random a number from 0 up to, but not including, 1
 */
export function addJitter(delayMs: number, random: number): number {
  return delayMs * (0.75 + random / 2);
}
