/**
 * `npm run disk-faults`: `anchor` and `send` while the disk is full or fails, at each system call that writes.
 *
 * Each run has one fault, and ends by itself with 0 or with 75, a code and a hint; nothing that it acknowledged is lost, and the
 * run after it anchors everything exactly once.
 */
import { availableParallelism } from "node:os";

import { readOptions } from "../../scripts/options.ts";
import { Laboratory, SCENARIOS, type Observation, type Scenario } from "./laboratory.ts";
import { allFaults, placesOf, someFaults } from "./places.ts";
import { whyNoStrace, type Fault } from "./strace.ts";

interface Case {
  readonly scenario: Scenario;
  readonly fault: Fault;
}

/** A row of the table. */
interface Tally {
  readonly places: Set<number>;
  refused: number;
  succeeded: number;
  failed: number;
  /** The run never came to the call: it wrote less than the one before it. */
  unreached: number;
}

/** The first scenario comes to nearly every place that the others come to, so of theirs one in four is enough. */
const OTHERS_STRIDE = 4;

const { values } = readOptions({
  command: "npm run disk-faults",
  about:
    "anchor and send while the disk is full or fails, at each system call that writes. Needs Linux and strace.\nOf calls in a row the first and the last are taken, with one of four faults in turn.",
  options: {
    all: { type: "flag", about: "Every call with both errors, once and for good: half an hour" },
    only: { type: "text", value: "TEXT", about: "The scenarios that have this in their names", default: "" },
  },
});
const reason = whyNoStrace();
if (reason === null) process.exitCode = await main();
else process.stdout.write(`${reason}\n0 passed, 0 failed, 1 skipped\n`);

/** @returns the exit code */
async function main(): Promise<number> {
  const laboratories = await Promise.all(
    Array.from({ length: Math.min(4, availableParallelism()) }, () => Laboratory.open()),
  );
  try {
    const [first] = laboratories as [Laboratory];
    const cases: Case[] = [];
    for (const [turn, scenario] of SCENARIOS.filter(({ name }) => name.includes(values.only)).entries()) {
      const { ending, problems } = await first.run(scenario, null);
      if (problems.length > 0) throw new Error(`${scenario.name}, without a fault: ${problems.join("; ")}`);
      const places = placesOf(ending);
      const faults = values.all ? allFaults(places) : someFaults(places, turn === 0 ? 1 : OTHERS_STRIDE, turn);
      cases.push(...faults.map((fault) => ({ scenario, fault })));
    }
    process.stdout.write(`${cases.length} runs, each with one fault\n`);
    const tallies = new Map<string, Tally>();
    // One queue for all: each takes the next when it has done one.
    const queue = cases.values();
    await Promise.all(
      laboratories.map(async (laboratory) => {
        for (const one of queue) record(tallies, one, await laboratory.run(one.scenario, one.fault));
      }),
    );
    return report(tallies);
  } finally {
    await Promise.all(laboratories.map((laboratory) => laboratory.close()));
  }
}

function record(tallies: Map<string, Tally>, { scenario, fault }: Case, { ending, problems }: Observation): void {
  const key = `${scenario.name}\t${fault.call}`;
  const tally = tallies.get(key) ?? { places: new Set(), refused: 0, succeeded: 0, failed: 0, unreached: 0 };
  tallies.set(key, tally);
  tally.places.add(fault.at);
  if (problems.length > 0) {
    tally.failed += 1;
    const which = `${fault.error} at ${fault.call} ${fault.at}${fault.isLasting ? " and all after it" : ""}`;
    process.stdout.write(`${scenario.name}, ${which}: ${problems.join("; ")}\n`);
  } else if (ending.injected === 0) tally.unreached += 1;
  else if (ending.code === 0) tally.succeeded += 1;
  else tally.refused += 1;
}

function report(tallies: ReadonlyMap<string, Tally>): number {
  const rows = [["command", "system call", "places", "refused with 75", "succeeded", "not reached", "failed"]];
  let [passed, failed] = [0, 0];
  for (const [key, { places, refused, succeeded, unreached, failed: wrong }] of tallies) {
    passed += refused + succeeded;
    failed += wrong;
    rows.push([...key.split("\t"), ...[places.size, refused, succeeded, unreached, wrong].map(String)]);
  }
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  "),
  );
  process.stdout.write(`\n${lines.join("\n")}\n\n${passed} passed, ${failed} failed\n`);
  return failed > 0 || passed === 0 ? 1 : 0;
}
