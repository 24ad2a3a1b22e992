/**
 * `npm run mutants`: changes one thing in the contracts at a time, in a copy, and demands that the Solidity tests notice.
 *
 *     npm run mutants -- [--only TEXT] [--every N] [--list]
 *
 * `--only` takes the mutants whose place or line holds TEXT, such as `CIDStore.sol:37` or `keyAt`; `--every` one in N.
 * A mutant that no test catches is a hole in the tests, or means the same as the original; then EQUIVALENT says why.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { mutantsOf, type Mutant } from "./mutation.ts";
import { findTool, ROOT } from "./tool.ts";

/** The tests of each contract. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  "CIDStore.sol": ["CIDStore.t.sol", "CIDStore.invariant.t.sol"],
  "CanonicalCID.sol": ["CanonicalCID.t.sol", "CIDStore.t.sol"],
  "KeyRegistry.sol": ["KeyRegistry.t.sol", "KeyRegistry.relayed.t.sol", "KeyRegistry.invariant.t.sol"],
};

interface Equivalent {
  readonly line: string;
  readonly change: string;
  readonly why: string;
}

const EQUIVALENT: readonly Equivalent[] = [
  {
    line: "uint256 private constant _COUNT_BITS = 64;",
    change: "64 → 65",
    why: "the anchorer lies one bit higher, where there is room for it, and is read from there",
  },
];

/** A mutant in which a loop never ends is caught too. */
const TIMEOUT_MS = 180_000;

type Verdict = "caught" | "survived" | "does not compile";

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    every: { type: "string", default: "1" },
    list: { type: "boolean", default: false },
  },
});

const all = Object.keys(TESTS).flatMap((file) =>
  mutantsOf(file, readFileSync(join(ROOT, "contracts", file), "utf8")).map((mutant) => ({ file, ...mutant })),
);
const chosen = all
  .filter(({ place, line }) => `${place} ${line}`.includes(values.only))
  .filter((_, index) => index % Number(values.every) === 0);

if (values.list) for (const mutant of chosen) console.log(describe(mutant));
else process.exitCode = (await main()) ? 0 : 1;

async function main(): Promise<boolean> {
  const stale = EQUIVALENT.filter((entry) => !all.some((mutant) => isEntryOf(mutant, entry)));
  for (const { line, change } of stale) console.error(`EQUIVALENT has no such mutant any more: ${change} in ${line}`);

  const queue = chosen.filter((mutant) => findEquivalent(mutant) === undefined);
  const counts: Record<Verdict, number> = { caught: 0, survived: 0, "does not compile": 0 };
  const folder = mkdtempSync(join(tmpdir(), "dmtp-mutants-"));
  const startedAtMs = performance.now();
  try {
    await Promise.all(
      Array.from({ length: availableParallelism() }, async (_, index) => {
        const project = copyProject(join(folder, String(index)));
        if (index === 0) await judgeOriginals(project);
        for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
          const verdict = await judge(project, mutant);
          counts[verdict]++;
          if (verdict === "survived") console.log(`survived: ${describe(mutant)}`);
        }
      }),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const equivalent = chosen.length - counts.caught - counts.survived - counts["does not compile"];
  console.log(
    `${chosen.length} of ${all.length} mutants: ${counts.caught} caught, ${counts.survived} survived, ` +
      `${equivalent} equivalent, ${counts["does not compile"]} do not compile; ` +
      `${((performance.now() - startedAtMs) / 1_000).toFixed(0)} s`,
  );
  return stale.length === 0 && counts.survived === 0 && counts.caught > 0;
}

/** The contracts with their tests, and a configuration without the optimizer: it compiles in a third of the time. */
function copyProject(project: string): string {
  const { version } = JSON.parse(readFileSync(join(ROOT, "node_modules", "solc", "package.json"), "utf8")) as {
    version: string;
  };
  mkdirSync(join(project, "test"), { recursive: true });
  cpSync(join(ROOT, "contracts"), join(project, "contracts"), { recursive: true });
  cpSync(join(ROOT, "test", "contracts"), join(project, "test", "contracts"), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(project, "node_modules"));
  writeFileSync(join(project, "package.json"), JSON.stringify({ type: "module" }));
  const config = {
    solidity: { version, path: join(ROOT, "node_modules", "solc", "soljson.js"), settings: { evmVersion: "cancun" } },
    paths: { tests: { solidity: "test/contracts" } },
  };
  writeFileSync(join(project, "hardhat.config.js"), `export default ${JSON.stringify(config)};\n`);
  return project;
}

/** If the originals failed in the copy, everything would seem to be caught. */
async function judgeOriginals(project: string): Promise<void> {
  for (const file of new Set(chosen.map((mutant) => mutant.file))) {
    const { passed, output } = await runTests(project, file, ["--grep", "test_"]);
    if (!passed) throw new Error(`the tests of ${file} fail without any change:\n${output}`);
  }
}

/** Runs the cheap tests first, and the fuzzers only if those have noticed nothing. */
async function judge(project: string, { file, source }: Mutant & { file: string }): Promise<Verdict> {
  const path = join(project, "contracts", file);
  const original = readFileSync(path);
  writeFileSync(path, source);
  try {
    const first = await runTests(project, file, ["--grep", "test_"]);
    if (!first.output.includes("Running Solidity tests")) return "does not compile";
    if (!first.passed) return "caught";
    return (await runTests(project, file, ["--no-compile", "--grep-exclude", "test_"])).passed ? "survived" : "caught";
  } finally {
    writeFileSync(path, original);
  }
}

function runTests(
  project: string,
  file: string,
  options: readonly string[],
): Promise<{ readonly passed: boolean; readonly output: string }> {
  const files = (TESTS[file] ?? []).map((name) => join(project, "test", "contracts", name));
  const args = [findTool("hardhat"), "test", "solidity", ...options, ...files];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: project,
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
      stdio: ["ignore", "pipe", "ignore"],
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code) => resolve({ passed: code === 0, output }));
  });
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
