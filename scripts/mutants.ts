/**
 * `npm run mutants`: changes one thing in the contracts at a time, in a copy, and demands that the Solidity tests notice.
 *
 * A mutant that no test catches is a hole in the tests, or means the same as the original; then EQUIVALENT says why.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";

import { mutantsOf, type Mutant } from "./mutation.ts";
import { failWithUsage, readOptions } from "./options.ts";
import { checkSolidity } from "./solidity.ts";
import { findTool, ROOT } from "./tool.ts";

/** The tests of each contract. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  "CIDStore.sol": ["CIDStore.t.sol", "CIDStore.invariant.t.sol"],
  "CanonicalCID.sol": ["CanonicalCID.t.sol"],
  "KeyRegistry.sol": [
    "KeyRegistry.t.sol",
    "KeyRegistry.relayed.t.sol",
    "KeyRegistry.signed.t.sol",
    "KeyRegistry.invariant.t.sol",
  ],
};

interface Equivalent {
  readonly line: string;
  readonly change: string;
  readonly why: string;
}

const ONE_BIT_MORE = "the bit more is zero when packing, and the next step masks it away when unpacking";

const EQUIVALENT: readonly Equivalent[] = [
  {
    line: "uint256 private constant _COUNT_BITS = 64;",
    change: "64 → 65",
    why: "the anchorer lies one bit higher, where there is room for it, and is read from there",
  },
  {
    line: "uint256 private constant _LANE_BITS = 40;",
    change: "40 → 41",
    why: "six lanes of 41 bits fit into a word too, and each is read where it was written",
  },
  {
    line: "uint256 private constant _RIGHT_MASK = (1 << _RIGHT_BITS) - 1;",
    change: "1 → 2",
    why: "the bit more is one of those that both words have, and in the text it lies before the last 20 characters",
  },
  {
    line: "uint256 private constant _LOW_10 = (2 ** 10 - 1) * ((2 ** 256 - 1) / (2 ** 32 - 1));",
    change: "10 → 11",
    why: ONE_BIT_MORE,
  },
  {
    line: "uint256 private constant _LOW_20 = (2 ** 20 - 1) * ((2 ** 256 - 1) / (2 ** 64 - 1));",
    change: "20 → 21",
    why: ONE_BIT_MORE,
  },
  {
    line: "uint256 private constant _LOW_40 = (2 ** 40 - 1) * ((2 ** 256 - 1) / (2 ** 128 - 1));",
    change: "40 → 41",
    why: ONE_BIT_MORE,
  },
  { line: "uint256 private constant _LOW_80 = 2 ** 80 - 1;", change: "80 → 81", why: ONE_BIT_MORE },
];

/** Mutants are compiled and tested together: what takes long is to start the compiler and the runner. */
const BATCH_SIZE = 16;
/** If a batch takes longer, it is taken one by one, and a mutant that takes as long alone counts as caught. */
const TIMEOUT_MS = 600_000;

/** A part of the name of every test that isn't fuzzed. */
const CHEAP = "test_";

type FileMutant = Mutant & { readonly file: string };

const usage = {
  command: "npm run mutants",
  about: "Changes one thing in the contracts at a time, in a copy, and demands that the Solidity tests notice.",
  options: {
    only: {
      type: "text",
      value: "TEXT",
      about: "The mutants whose place or line holds TEXT, such as CIDStore.sol:37 or keyAt",
      default: "",
    },
    every: { type: "count", value: "N", about: "One mutant in N", default: 1 },
    list: { type: "flag", about: "Print the mutants, and test nothing" },
  },
} as const;
const { values } = readOptions(usage);
if (values.every < 1) failWithUsage(usage, "--every takes a number from 1");

const all = Object.keys(TESTS).flatMap((file) =>
  mutantsOf(file, readContract(file)).map((mutant): FileMutant => ({ file, ...mutant })),
);
const chosen = all
  .filter(({ place, line }) => `${place} ${line}`.includes(values.only))
  .filter((_, index) => index % values.every === 0);

if (values.list) for (const mutant of chosen) console.log(describe(mutant));
else process.exitCode = (await main()) ? 0 : 1;

async function main(): Promise<boolean> {
  const startedAtMs = performance.now();
  const stale = EQUIVALENT.filter((entry) => !all.some((mutant) => isEntryOf(mutant, entry)));
  for (const { line, change } of stale) console.error(`EQUIVALENT has no such mutant any more: ${change} in ${line}`);

  const different = chosen.filter((mutant) => findEquivalent(mutant) === undefined);
  const programs = different.filter(isProgram);
  // If the originals failed too, everything would seem to be caught.
  const originals = [...new Set(programs.map(({ file }) => file))].map((file) => ({
    file,
    source: readContract(file),
  }));
  const failing = await findCaught(originals, []);
  if (failing.size > 0)
    throw new Error(`tests fail without any change: ${[...failing].map(({ file }) => file).join()}`);

  // The cheap tests first, and the fuzzers only for what those have not noticed.
  const survivors: FileMutant[] = [];
  for (let start = 0; start < programs.length; start += BATCH_SIZE) {
    const batch = programs.slice(start, start + BATCH_SIZE);
    const caught = await findCaught(batch, ["--grep", CHEAP]);
    const left = batch.filter((mutant) => !caught.has(mutant));
    const caughtLate = await findCaught(left, ["--grep-exclude", CHEAP]);
    for (const mutant of left.filter((one) => !caughtLate.has(one))) {
      survivors.push(mutant);
      console.log(`survived: ${describe(mutant)}`);
    }
    console.error(`${Math.min(start + BATCH_SIZE, programs.length)} of ${programs.length} …`);
  }
  console.log(
    `${chosen.length} of ${all.length} mutants: ${programs.length - survivors.length} caught, ` +
      `${survivors.length} survived, ${chosen.length - different.length} equivalent, ` +
      `${different.length - programs.length} do not compile; ` +
      `${((performance.now() - startedAtMs) / 1_000).toFixed(0)} s`,
  );
  return stale.length === 0 && survivors.length === 0 && programs.length > 0;
}

function readContract(file: string): string {
  return readFileSync(join(ROOT, "contracts", file), "utf8");
}

/** Whether the compiler takes it. */
function isProgram({ file, source }: FileMutant): boolean {
  try {
    checkSolidity(`contracts/${file}`, source);
    return true;
  } catch {
    return false;
  }
}

/** Those of which a test fails, or doesn't end. */
async function findCaught<Changed extends Pick<FileMutant, "file" | "source">>(
  batch: readonly Changed[],
  options: readonly string[],
): Promise<Set<Changed>> {
  if (batch.length === 0) return new Set();
  const project = mkdtempSync(join(tmpdir(), "dmtp-mutants-"));
  try {
    const output = await runTests(project, batch, options);
    if (output !== null) {
      if (!output.includes("Running Solidity tests")) throw new Error(`the tests did not run:\n${output}`);
      const failed = failedCopies(output);
      return new Set(batch.filter((_, index) => failed.has(index)));
    }
  } finally {
    rmSync(project, { recursive: true, force: true });
  }
  if (batch.length === 1) return new Set(batch);
  const caught = new Set<Changed>();
  for (const one of batch) for (const found of await findCaught([one], options)) caught.add(found);
  return caught;
}

/** Runs the tests of every mutant, each in a copy of its own in `copies/`; null when time was up. */
function runTests(
  project: string,
  batch: readonly Pick<FileMutant, "file" | "source">[],
  options: readonly string[],
): Promise<string | null> {
  const { version } = JSON.parse(readFileSync(join(ROOT, "node_modules", "solc", "package.json"), "utf8")) as {
    version: string;
  };
  symlinkSync(join(ROOT, "node_modules"), join(project, "node_modules"));
  writeFileSync(join(project, "package.json"), JSON.stringify({ type: "module" }));
  const config = {
    // Without the optimizer it compiles in a third of the time.
    solidity: { version, path: join(ROOT, "node_modules", "solc", "soljson.js"), settings: { evmVersion: "cancun" } },
    paths: { sources: "none", tests: { solidity: "copies" } },
  };
  writeFileSync(join(project, "hardhat.config.js"), `export default ${JSON.stringify(config)};\n`);
  const files = batch.flatMap(({ file, source }, index) => {
    const copy = join(project, "copies", String(index));
    cpSync(join(ROOT, "contracts"), join(copy, "contracts"), { recursive: true });
    cpSync(join(ROOT, "test", "contracts"), join(copy, "test", "contracts"), { recursive: true });
    writeFileSync(join(copy, "contracts", file), source);
    return (TESTS[file] ?? []).map((name) => join(copy, "test", "contracts", name));
  });
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [findTool("hardhat"), "test", "solidity", ...options, ...files], {
      cwd: project,
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    }
    child.once("error", reject);
    child.once("close", (_, signal) => resolve(signal === "SIGKILL" ? null : output));
  });
}

/** `copies/3/test/contracts/CIDStore.t.sol:CIDStoreTest` heads its tests; one that fails has a number and no tick. */
function failedCopies(output: string): Set<number> {
  const failed = new Set<number>();
  let copy = -1;
  for (const line of stripVTControlCharacters(output).split("\n")) {
    const heading = /^ {2}copies\/(\d+)\/\S+$/.exec(line)?.[1];
    if (heading !== undefined) copy = Number(heading);
    if (/^ {4}\d+\) /.test(line)) failed.add(copy);
  }
  return failed;
}

function findEquivalent(mutant: Mutant): Equivalent | undefined {
  return EQUIVALENT.find((entry) => isEntryOf(mutant, entry));
}

function isEntryOf(mutant: Mutant, { line, change }: Equivalent): boolean {
  return mutant.line === line && mutant.change === change;
}

function describe({ place, line, change }: Mutant): string {
  return `${place}  ${change}  in  ${line}`;
}
