/**
 * `npm run fuzz`: bytes that are nearly right, for every decoder, for as long as it is told.
 *
 * What a decoder does with bytes and may not is printed with the bytes, and how to see it again; it belongs in a test of that decoder.
 */
import { fromHex, toHex } from "../protocol/bytes.ts";
import { failWithUsage, readOptions } from "../scripts/options.ts";
import { decoderChecks } from "./fixtures/decoder-checks.ts";
import { Mutator } from "./fixtures/mutation.ts";
import { SeededRandom } from "./fixtures/random.ts";

const usage = {
  command: "npm run fuzz",
  about:
    "Bytes that are nearly right, for every decoder. What a decoder may not do with them is printed with the bytes.",
  options: {
    minutes: { type: "count", value: "N", about: "How long; one round at least", default: 10 },
    seed: { type: "count", value: "N", about: "Where chance begins (default: by chance)" },
    only: { type: "text", value: "NAME", about: "This decoder alone" },
    input: { type: "text", value: "HEX", about: "These bytes alone" },
  },
} as const;
const { values } = readOptions(usage);
const seed = values.seed ?? Math.floor(Math.random() * 2 ** 32);
/** A decoder that needs longer for 16 kB could stop somebody with 1 MiB. */
const SLOW_MS = 250;
/** Of what was taken for a value, so many are kept to go on from: changes then add up. */
const MAX_KEPT = 500;
const BATCH = 500;

const checks = decoderChecks().filter(({ name }) => values.only === undefined || name === values.only);
if (checks.length === 0) {
  const names = decoderChecks().map(({ name }) => name);
  failWithUsage(usage, `there is no decoder "${values.only ?? ""}": choose one of ${names.join(", ")}`);
}
const pool = checks.flatMap(({ seeds }) => seeds);
const random = new SeededRandom(seed);
const mutator = new Mutator(random, pool);
const corpus = new Map(checks.map(({ name, seeds }) => [name, [...seeds]]));
const rounds = new Map(checks.map(({ name }) => [name, { taken: 0, refused: 0, slowestMs: 0 }]));
let failed = 0;

async function run({ name, check }: (typeof checks)[number], bytes: Uint8Array): Promise<void> {
  const count = rounds.get(name);
  const startedAtMs = performance.now();
  try {
    const isTaken = await check(bytes);
    const tookMs = performance.now() - startedAtMs;
    if (count === undefined) return;
    count[isTaken ? "taken" : "refused"] += 1;
    count.slowestMs = Math.max(count.slowestMs, tookMs);
    const kept = corpus.get(name);
    if (isTaken && kept !== undefined && kept.length < MAX_KEPT) kept.push(bytes);
    // Twice, since once may be somebody else's fault: a garbage collection, another process.
    if (tookMs > SLOW_MS) await runAgain(name, check, bytes);
  } catch (error) {
    report(name, bytes, error instanceof Error ? error.message : "something was thrown");
  }
}

async function runAgain(name: string, check: (typeof checks)[number]["check"], bytes: Uint8Array): Promise<void> {
  const startedAtMs = performance.now();
  await check(bytes);
  const tookMs = performance.now() - startedAtMs;
  if (tookMs > SLOW_MS) report(name, bytes, `takes ${tookMs.toFixed(0)} ms`);
}

function report(name: string, bytes: Uint8Array, what: string): void {
  failed += 1;
  process.stdout.write(`FAILED  ${what}\n        npm run fuzz -- --only '${name}' --input ${toHex(bytes)}\n`);
}

if (values.input !== undefined) {
  for (const check of checks) await run(check, fromHex(values.input));
} else {
  const endMs = performance.now() + values.minutes * 60_000;
  do {
    for (const check of checks) {
      for (let i = 0; i < BATCH; i++) await run(check, mutator.mutate(random.pick(corpus.get(check.name) ?? [])));
    }
  } while (performance.now() < endMs && failed < 10);
}
for (const [name, { taken, refused, slowestMs }] of rounds) {
  process.stdout.write(
    `${name.padEnd(16)} ${String(taken + refused).padStart(10)} tried, ${String(taken).padStart(9)} taken, slowest ${slowestMs.toFixed(1)} ms\n`,
  );
}
process.stdout.write(`seed ${seed}, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
