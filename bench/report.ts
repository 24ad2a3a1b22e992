/** What `npm run bench` prints: a line on stdout for each figure as soon as it is known, and on stderr what is being done meanwhile. */
import type { Comparison, Duration, Limit } from "./measure.ts";

const WIDTHS = [86, 7, 14, 14];

export class Report {
  private readonly print: (line: string) => void;
  readonly note: (text: string) => void;

  constructor(print: (line: string) => void, note: (text: string) => void) {
    this.print = print;
    this.note = note;
    this.row("work", "ratio", "goal", "measured", "bound");
  }

  ratio({ name, ratio, goal, measuredUs, boundUs, bound }: Comparison): void {
    const [measured, bare] = [`${measuredUs.toFixed(1)} µs`, `${boundUs.toFixed(1)} µs (${bound})`];
    this.row(name, `${ratio.toFixed(2)} ${mark(ratio >= goal)}`, `≥ ${Number(goal.toFixed(2))}`, measured, bare);
  }

  duration({ name, ms, goalMs }: Duration): void {
    this.row(name, mark(ms <= goalMs), `≤ ${goalMs.toLocaleString("en")} ms`, `${ms.toFixed(0)} ms`);
  }

  limit({ name, value, limit, unit }: Limit): void {
    const text = (number: number): string => `${number.toLocaleString("en")} ${unit}`.trimEnd();
    this.row(name, mark(value <= limit), `≤ ${text(limit)}`, text(value));
  }

  private row(...cells: readonly string[]): void {
    this.print(
      cells
        .map((cell, column) => cell.padEnd(WIDTHS[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
  }
}

function mark(isMet: boolean): string {
  return isMet ? "✓" : "✗";
}
