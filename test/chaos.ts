/**
 * `npm run chaos`: the indexer's simulation, seed after seed, for as long as it is told; and with every fourth seed an operator and
 * an indexer on a real chain, over wires that fail.
 *
 * A seed that fails is printed with what went wrong, and belongs in test/indexer/simulation.test.ts or
 * test/end-to-end/faulty-wires.test.ts.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { readOptions } from "../scripts/options.ts";
import { FaultyWires } from "./fixtures/faulty-wires.ts";
import { Simulation } from "./fixtures/simulation.ts";

const { values } = readOptions({
  command: "npm run chaos",
  about:
    "The indexer in a world where everything goes wrong, seed after seed; and with every fourth seed an operator and an indexer\non a real chain, over wires that fail. A seed that fails is printed.",
  options: {
    minutes: { type: "count", value: "N", about: "How long; one seed at least", default: 30 },
    seed: { type: "count", value: "N", about: "The first seed (default: by chance)" },
    blocks: { type: "count", value: "N", about: "Blocks of each seed's chain", default: 300 },
    "all-wires": { type: "flag", about: "Take the wires with every seed" },
  },
});
const firstSeed = values.seed ?? Math.floor(Math.random() * 2 ** 32);

// The wires lead to contracts.
const { default: hre } = await import("hardhat");
await hre.tasks.getTask("build").run({ quiet: true, noTests: true });

const endMs = performance.now() + values.minutes * 60_000;
// In memory where there is such a folder: the disk's own speed is not what is tested here.
const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
let failed = 0;
let runs = 0;
const faults = new Map<string, number>();

async function simulate(seed: number, folder: string): Promise<string> {
  const { blocks, events, reorgs, crashes, requests, hours } = await new Simulation(seed, folder).run(values.blocks);
  return `${blocks} blocks, ${events} events, ${reorgs} reorgs, ${crashes} crashes, ${requests} requests, ${hours.toFixed(1)} h of its time`;
}

async function overWires(seed: number, folder: string): Promise<string> {
  const { messages, anchors, requests, faults: made, codes } = await new FaultyWires(seed, folder).run(6);
  for (const [fault, n] of made) faults.set(fault, (faults.get(fault) ?? 0) + n);
  const failures = [...codes.values()].reduce((sum, n) => sum + n, 0);
  return `${messages} messages, ${anchors} anchors, ${requests} requests over wires, ${failures} commands tried again`;
}

async function run(seed: number, work: (seed: number, folder: string) => Promise<string>): Promise<void> {
  const folder = mkdtempSync(join(base, "dmtp-chaos-"));
  const startedAtMs = performance.now();
  runs += 1;
  try {
    const what = await work(seed, folder);
    const seconds = (performance.now() - startedAtMs) / 1_000;
    process.stdout.write(`ok  seed ${seed}: ${what} in ${seconds.toFixed(1)} s\n`);
  } catch (error) {
    failed += 1;
    process.stdout.write(`FAILED  seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : "?"}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

for (let seed = firstSeed; performance.now() < endMs || runs === 0; seed++) {
  await run(seed, simulate);
  if (values["all-wires"] || seed % 4 === 0) await run(seed, overWires);
}
const made = [...faults].map(([fault, n]) => `${n} ${fault}`).join(", ");
if (made !== "") process.stdout.write(`on the wires: ${made}\n`);
process.stdout.write(`${runs} runs from seed ${firstSeed}, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
