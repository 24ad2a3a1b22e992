/** What Hardhat's Solidity runner says at its end: `12 passing (3s)`, `1 pending`, `2 failing`, and then how each one failed. */

export interface TestCounts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const NO_TESTS: TestCounts = { passed: 0, failed: 0, skipped: 0 };
/** What a run counts as that could not be counted. */
export const ONE_FAILURE: TestCounts = { ...NO_TESTS, failed: 1 };

/** `1,234 passed, 0 failed` is never written: the numbers are plain, for a machine to read. */
export function formatTestCounts({ passed, failed, skipped }: TestCounts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

export function addTestCounts(a: TestCounts, b: TestCounts): TestCounts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** Mocha says pending where Hardhat's Solidity runner says skipped. */
const MEMBER: Partial<Record<string, keyof TestCounts>> = { failing: "failed", pending: "skipped", skipped: "skipped" };

/** Reads a runner's output line by line. The last summary counts: a test may print something alike before it. */
export class TestCountReader {
  counts: TestCounts | null = null;
  /** What follows the last summary: the failures, with their counterexamples. */
  failures: string[] = [];
  #inSummary = false;

  readLine(line: string): void {
    // eslint-disable-next-line no-control-regex -- colours, when a terminal is behind this
    const text = line.replaceAll(/\x1b\[[0-9;]*m/g, "");
    const [, number, word] = /^ {2}(\d+) (passing|failing|pending|skipped)(?: \([\d.]+\w+\))?\r?$/.exec(text) ?? [];
    const member = word === undefined ? undefined : MEMBER[word];
    if (word === "passing") {
      this.counts = { passed: Number(number), failed: 0, skipped: 0 };
      this.failures = [];
      this.#inSummary = true;
    } else if (this.#inSummary && member !== undefined && this.counts !== null) {
      this.counts = { ...this.counts, [member]: Number(number) };
    } else {
      this.#inSummary = false;
      if (this.counts !== null) this.failures.push(line);
    }
  }
}
