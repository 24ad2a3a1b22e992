/**
 * `npm run bench`: every figure is a ratio to a bound measured in the same run, or a limit.
 *
 *     npm run bench -- [--only anchor] [--messages N]
 *
 * `--messages` makes anchoring at size smaller: a check that it runs, not a measurement.
 */
import { parseArgs } from "node:util";

import { benchAnchor } from "./anchor.ts";
import { benchEmbedded } from "./embedded.ts";
import { benchKubo } from "./kubo.ts";
import { benchSeal, benchVerify } from "./crypto.ts";
import { benchHttp } from "./http.ts";
import { benchDenseChain, benchSparseChain } from "./index.ts";
import type { Comparison, Duration, Limit } from "./measure.ts";
import { benchSend } from "./send.ts";
import { benchStarts } from "./start.ts";

const { values } = parseArgs({ options: { only: { type: "string" }, messages: { type: "string" } } });
const note = (text: string): void => void process.stderr.write(`${text}\n`);
const comparisons = [
  benchSeal,
  benchVerify,
  benchSend,
  benchEmbedded,
  () => benchKubo(note),
  benchSparseChain,
  benchDenseChain,
];

const rows: string[][] = [["work", "ratio", "goal", "measured", "bound"]];
if (values.only === undefined) {
  for (const run of comparisons) {
    const comparison = await run();
    if (comparison !== null) rows.push(ratioRow(comparison));
  }
  const http = await benchHttp();
  rows.push(ratioRow(http.comparison), durationRow(http.latency));
  for (const duration of await benchStarts()) rows.push(durationRow(duration));
}
const anchor = await benchAnchor(values.messages === undefined ? undefined : Number(values.messages));
rows.push(...anchor.comparisons.map(ratioRow), ...anchor.limits.map(limitRow));
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
    `≥ ${Number(goal.toFixed(2))}`,
    `${measuredUs.toFixed(1)} µs`,
    `${boundUs.toFixed(1)} µs (${bound})`,
  ];
}

function durationRow({ name, ms, goalMs }: Duration): string[] {
  return [name, ms <= goalMs ? "✓" : "✗", `≤ ${goalMs} ms`, `${ms.toFixed(0)} ms`, ""];
}

function limitRow({ name, value, limit, unit }: Limit): string[] {
  const text = (number: number): string => `${number.toLocaleString("en")} ${unit}`.trimEnd();
  return [name, value <= limit ? "✓" : "✗", `≤ ${text(limit)}`, text(value), ""];
}
