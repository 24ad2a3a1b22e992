/** The index made anew from blocks and chain, started again, and one anchor further: on histories of two sizes. */
import { generateKeyPairSync, sign, verify } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

import { runApart } from "./apart.ts";
import { median } from "./measure.ts";
import type { ExportResult, RebuildResult, ServeResult } from "./rebuild-run.ts";
import type { Report } from "./report.ts";
import { writeHistory } from "./written-history.ts";

const RUN = fileURLToPath(new URL("rebuild-run.ts", import.meta.url));
const ROOMS = 1_000;
const SMALL = 100_000;
const LARGE = 1_000_000;
const ROUNDS = 3;
/** As many as the goal is of. */
const CORES = 2;
/** Signatures that each core verifies for the bound. */
const BOUND_COUNT = 20_000;

/** @param large messages of the larger history; fewer than the million is a check that it runs, not a measurement */
export async function benchRebuild(report: Report, large = LARGE): Promise<void> {
  const sized = (count: number): string => `${count.toLocaleString("en")} messages`;
  const small = Math.min(SMALL, large);
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  try {
    report.note(`writing ${sized(small)} …`);
    await writeHistory(folder, small, ROOMS);
    const rounds: { readonly us: number; readonly boundUs: number; readonly rssMiB: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      report.note(`rebuilding, round ${round + 1} of ${ROUNDS} …`);
      rounds.push(await rebuild(folder, small));
    }
    const smallUs = median(rounds.map(({ us }) => us));
    report.ratio({
      name: `rebuild with verification, ${sized(small)} in ${ROOMS.toLocaleString("en")} rooms`,
      goal: 0.6,
      bound: "node:crypto: Ed25519 verify on two cores",
      ratio: median(rounds.map(({ us, boundUs }) => boundUs / us)),
      measuredUs: smallUs,
      boundUs: median(rounds.map(({ boundUs }) => boundUs)),
    });
    report.limit({
      name: `  peak memory of the rebuild, ${sized(small)}`,
      value: Math.max(...rounds.map(({ rssMiB }) => Math.round(rssMiB))),
      limit: 400,
      unit: "MiB",
    });

    report.note(`writing ${sized(large)} …`);
    await rm(folder, { recursive: true });
    await mkdir(folder);
    await writeHistory(folder, large, ROOMS);
    report.note("rebuilding …");
    const whole = await rebuild(folder, large);
    report.ratio({
      name: `the same, ${sized(large)}`,
      goal: 0.85,
      bound: "a message of the smaller history",
      ratio: smallUs / whole.us,
      measuredUs: whole.us,
      boundUs: smallUs,
    });
    report.limit({ name: `  the same, ${sized(large)}`, value: Math.round(whole.rssMiB), limit: 600, unit: "MiB" });

    report.note("writing and verifying an archive …");
    const exported = await runApart<ExportResult>(RUN, "export", folder);
    if (exported.messages !== large) throw new Error(`the export has ${exported.messages} of ${large} messages`);
    const archive = `  peak memory of export, and of verifying its file, ${sized(large)}`;
    report.limit({ name: archive, value: Math.round(exported.rssMiB), limit: 256, unit: "MiB" });

    report.note("starting it again, and anchoring a little more …");
    const served = await runApart<ServeResult>(RUN, "serve", folder, String(large), String(ROOMS));
    report.duration({ name: `restart to ready at ${sized(large)}`, ms: served.readyMs, goalMs: 1_000 });
    const increment = "one anchor of 100 messages in 40 rooms more, until it is served";
    report.duration({ name: increment, ms: served.servedMs, goalMs: 50 });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Microseconds for each message: of the bound first, then of the index. */
async function rebuild(folder: string, count: number): Promise<{ us: number; boundUs: number; rssMiB: number }> {
  const boundUs = await verifyOnTwoCores();
  const { ms, rssMiB, verified } = await runApart<RebuildResult>(RUN, "rebuild", folder);
  if (verified !== count) throw new Error(`the rebuild verified ${verified} of ${count} messages`);
  return { us: (ms * 1_000) / count, boundUs, rssMiB };
}

/** Microseconds for each signature, with all of them at it. */
async function verifyOnTwoCores(): Promise<number> {
  const times = await Promise.all(
    Array.from({ length: CORES }, () => {
      return new Promise<number>((resolve, reject) => {
        const worker = new Worker(new URL(import.meta.url));
        worker.once("message", resolve);
        worker.once("error", reject);
      });
    }),
  );
  return (Math.max(...times) * 1_000) / (BOUND_COUNT * CORES);
}

/** Milliseconds that {@link BOUND_COUNT} verifications of a message's size take on this thread. */
function verifyMany(): number {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const message = new Uint8Array(112);
  const signature = sign(null, message, privateKey);
  const startedAtMs = performance.now();
  for (let i = 0; i < BOUND_COUNT; i++) if (!verify(null, message, publicKey, signature)) throw new Error("not valid");
  return performance.now() - startedAtMs;
}

if (!isMainThread) parentPort?.postMessage(verifyMany());
