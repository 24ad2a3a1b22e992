/**
 * `npm run chaos`: the indexer's simulation, seed after seed, for as long as it is told.
 *
 *     npm run chaos -- [--minutes 30] [--seed N] [--blocks 300]
 *
 * A seed that fails is printed with what went wrong, and belongs in test/indexer/simulation.test.ts.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { Simulation } from "./fixtures/simulation.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 32)) },
    blocks: { type: "string", default: "300" },
  },
});

const endMs = performance.now() + Number(values.minutes) * 60_000;
// In memory where there is such a folder: the disk's own speed is not what is tested here.
const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
let failed = 0;
let runs = 0;
for (let seed = Number(values.seed); performance.now() < endMs || runs === 0; seed++) {
  const folder = mkdtempSync(join(base, "dmtp-chaos-"));
  const startedAtMs = performance.now();
  runs += 1;
  try {
    const { blocks, events, reorgs, crashes, requests, hours } = await new Simulation(seed, folder).run(
      Number(values.blocks),
    );
    const seconds = (performance.now() - startedAtMs) / 1_000;
    process.stdout.write(
      `ok  seed ${seed}: ${blocks} blocks, ${events} events, ${reorgs} reorgs, ${crashes} crashes, ${requests} requests, ` +
        `${hours.toFixed(1)} h of its time in ${seconds.toFixed(1)} s\n`,
    );
  } catch (error) {
    failed += 1;
    process.stdout.write(`FAILED  seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : "?"}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
process.stdout.write(`${runs} seeds from ${values.seed}, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
