/**
 * `npm run bench`: every figure is a ratio to a bound measured in the same run, or a limit.
 *
 *     npm run bench -- [--only GROUP] [--messages N]
 *
 * `--messages` makes anchoring and rebuilding at size smaller: a check that it runs, not a measurement.
 */
import { parseArgs } from "node:util";

import { benchAnchor } from "./anchor.ts";
import { benchEmbedded } from "./embedded.ts";
import { benchKubo } from "./kubo.ts";
import { benchSeal, benchVerify } from "./crypto.ts";
import { benchHostile } from "./hostile.ts";
import { benchHttp } from "./http.ts";
import { benchDenseChain, benchSparseChain } from "./index.ts";
import type { Comparison, Duration, Limit } from "./measure.ts";
import { benchRebuild } from "./rebuild.ts";
import { benchSend } from "./send.ts";
import { benchStarts } from "./start.ts";
import { benchVisible } from "./visible.ts";

const { values } = parseArgs({ options: { only: { type: "string" }, messages: { type: "string" } } });
const note = (text: string): void => void process.stderr.write(`${text}\n`);
const size = values.messages === undefined ? undefined : Number(values.messages);

const GROUPS: Readonly<Record<string, () => Promise<string[][]>>> = {
  seal: async () => [ratioRow(await benchSeal())],
  verify: async () => [ratioRow(await benchVerify())],
  send: async () => [ratioRow(await benchSend())],
  embedded: async () => [ratioRow(await benchEmbedded())],
  kubo: async () => {
    const comparison = await benchKubo(note);
    return comparison === null ? [] : [ratioRow(comparison)];
  },
  chain: async () => [ratioRow(await benchSparseChain()), ratioRow(await benchDenseChain())],
  http: async () => {
    const { comparison, latency } = await benchHttp();
    return [ratioRow(comparison), durationRow(latency)];
  },
  start: async () => (await benchStarts()).map(durationRow),
  visible: async () => (await benchVisible()).map(durationRow),
  rebuild: async () => {
    const { comparisons, durations, limits } = await benchRebuild(note, size);
    return [...comparisons.map(ratioRow), ...limits.map(limitRow), ...durations.map(durationRow)];
  },
  hostile: async () => {
    const { durations, limits } = await benchHostile(note, size);
    return [...durations.map(durationRow), ...limits.map(limitRow)];
  },
  anchor: async () => {
    const { comparisons, limits } = await benchAnchor(size);
    return [...comparisons.map(ratioRow), ...limits.map(limitRow)];
  },
};

const rows: string[][] = [["work", "ratio", "goal", "measured", "bound"]];
for (const [name, run] of Object.entries(GROUPS)) {
  if (values.only !== undefined && values.only !== name) continue;
  rows.push(...(await run()));
}
if (values.only !== undefined && GROUPS[values.only] === undefined) {
  note(`there is no "${values.only}": choose one of ${Object.keys(GROUPS).join(", ")}`);
  process.exitCode = 1;
}
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
