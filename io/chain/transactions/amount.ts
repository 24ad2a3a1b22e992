/** Amounts of wei for people. */

export const GWEI = 10n ** 9n;

/** In POL, as short as four digits say it; less than a billionth of one is 0. */
export function formatPol(wei: bigint): string {
  return (Number(wei / 10n ** 6n) / 1e12).toLocaleString("en", { maximumSignificantDigits: 4 });
}

export function formatGwei(wei: bigint): string {
  return (Number(wei / 10n ** 6n) / 1e3).toLocaleString("en", { maximumFractionDigits: 3 });
}
