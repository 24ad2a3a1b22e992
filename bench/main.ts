/** `npm run bench`: every figure is a ratio to a bound measured in the same run, or a start-up time. */
import { benchSeal, benchVerify } from "./crypto.ts";
import type { Comparison, Duration } from "./measure.ts";
import { benchSend } from "./send.ts";
import { benchStarts } from "./start.ts";

const comparisons = [benchSeal, benchVerify, benchSend];

const rows: string[][] = [["work", "ratio", "goal", "measured", "bound"]];
for (const run of comparisons) rows.push(ratioRow(await run()));
for (const duration of await benchStarts()) rows.push(durationRow(duration));
const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
for (const row of rows) {
  process.stdout.write(
    `${row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd()}\n`,
  );
}

function ratioRow({ name, ratio, goal, measuredUs, boundUs, bound }: Comparison): string[] {
  const mark = ratio >= goal ? "✓" : "✗";
  return [
    name,
    `${ratio.toFixed(2)} ${mark}`,
    `≥ ${goal}`,
    `${measuredUs.toFixed(1)} µs`,
    `${boundUs.toFixed(1)} µs (${bound})`,
  ];
}

function durationRow({ name, ms, goalMs }: Duration): string[] {
  return [name, ms <= goalMs ? "✓" : "✗", `≤ ${goalMs} ms`, `${ms.toFixed(0)} ms`, ""];
}
