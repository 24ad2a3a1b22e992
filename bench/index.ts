/** The index against the least that its work needs, each in a process of its own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { runApart } from "./apart.ts";
import { startChainServer, type ChainShape } from "./chain-server.ts";
import type { ChainResult } from "./index-run.ts";
import { median, type Comparison } from "./measure.ts";

const RUN = fileURLToPath(new URL("index-run.ts", import.meta.url));
const ROUNDS = 3;

export const benchSparseChain = (): Promise<Comparison> =>
  benchChain("cold chain sync, 10,000 events in 10,000 blocks", { blocks: 10_000, eventsPerBlock: 1 });

export const benchDenseChain = (): Promise<Comparison> =>
  benchChain("cold chain sync, 100,000 events in 2,000 blocks", { blocks: 2_000, eventsPerBlock: 50 });

async function benchChain(name: string, shape: ChainShape): Promise<Comparison> {
  const server = await startChainServer(shape);
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  const events = shape.blocks * shape.eventsPerBlock;
  const rounds: (ChainResult & { readonly bareMs: number })[] = [];
  const run = async (mode: "bare" | "index"): Promise<ChainResult> => {
    const home = await mkdtemp(join(folder, "run-"));
    return runApart<ChainResult>(RUN, mode, server.url, home, String(shape.blocks));
  };
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const { ms: bareMs } = await run("bare");
      rounds.push({ ...(await run("index")), bareMs });
    }
  } finally {
    await server.stop();
    await rm(folder, { recursive: true });
  }
  const rssMiB = Math.max(...rounds.map((round) => round.rssMiB));
  return {
    name: `${name} (${rssMiB.toFixed(0)} MiB)`,
    goal: 0.5,
    bound: "raw logs, headers, one insert per event",
    ratio: median(rounds.map(({ ms, bareMs }) => bareMs / ms)),
    measuredUs: (median(rounds.map(({ ms }) => ms)) * 1_000) / events,
    boundUs: (median(rounds.map(({ bareMs }) => bareMs)) * 1_000) / events,
  };
}
