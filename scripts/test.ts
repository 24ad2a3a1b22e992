/**
 * `npm test`: builds, then runs the Solidity tests and the Mocha tests, several files side by side. It ends with a list of what
 * failed and one line `N passed, N failed`.
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative, resolve } from "node:path";

import { failWithUsage, readOptions, UsageError } from "./options.ts";
import { formatTestCounts } from "./test-counts.ts";
import { listTestFiles } from "./test-files.ts";
import { TestRun, type Job } from "./test-run.ts";
import { findTool, ROOT } from "./tool.ts";

/** One more than there are cores, as every shard waits for a chain or a process now and then; more take memory and give no time. */
const SHARDS = Math.min(availableParallelism() + 1, 4);

const usage = {
  command: "npm test",
  about:
    "Builds, then runs the Solidity and the Mocha tests, and ends with a list of what failed and one line: N passed, N failed.\n" +
    "npm run test:all is npm test -- --all.",
  positionals: "file or folder …",
  options: {
    all: { type: "flag", about: "The long forms: more seeds, more kills, larger sizes" },
    grep: { type: "text", value: "PATTERN", about: "The tests whose names match" },
    "grep-exclude": { type: "text", value: "PATTERN", about: "The tests whose names do not match" },
    bail: { type: "flag", about: "Begin no other file after the first failure" },
    shards: {
      type: "count",
      value: "N",
      about: "So many files side by side",
      default: SHARDS,
    },
    seed: { type: "text", value: "SEED", about: "The Solidity fuzzer's: 0x and 64 hex digits, or random" },
  },
} as const;

/** What is to run, in order: what takes long stands first, so that no shard is left alone with it at the end. */
function planJobs(paths: readonly string[]): Job[] {
  if (paths.length === 0) return [{ kind: "solidity", files: [] }, ...planMochaJobs(listTestFiles(join(ROOT, "test")))];
  const files = paths.flatMap((path) => {
    const file = resolve(ROOT, path);
    if (!existsSync(file)) {
      const similar = join("test", path);
      throw new UsageError(
        `${path} does not exist${existsSync(join(ROOT, similar)) ? `: did you mean ${similar}?` : ""}`,
      );
    }
    return statSync(file).isDirectory() ? listTestFiles(file) : [file];
  });
  const solidity = files.filter((file) => file.endsWith(".sol"));
  const mocha = planMochaJobs(files.filter((file) => !file.endsWith(".sol")));
  return solidity.length === 0 ? mocha : [{ kind: "solidity", files: solidity }, ...mocha];
}

/** The tests of protocol/ are last: they start no process and wait for nothing, so each of them is short. */
function planMochaJobs(files: readonly string[]): Job[] {
  const isShort = (file: string): boolean => relative(ROOT, file).startsWith(join("test", "protocol"));
  return [...files.filter((file) => !isShort(file)), ...files.filter(isShort)].map((file) => ({ kind: "mocha", file }));
}

function plan() {
  const { values, positionals } = readOptions(usage);
  const { all, grep, "grep-exclude": grepExclude, bail, shards } = values;
  if (!Number.isInteger(shards) || shards < 1) throw new UsageError("--shards takes a whole number from 1 on");
  for (const pattern of [grep, grepExclude]) if (pattern !== undefined) checkPattern(pattern);
  const seed = values.seed === "random" ? `0x${randomBytes(32).toString("hex")}` : values.seed;
  if (seed !== undefined && !/^0x[0-9a-f]{64}$/i.test(seed)) {
    throw new UsageError("--seed takes 0x and 64 hex digits, or random");
  }
  if (seed !== undefined) console.log(`the Solidity fuzzer's seed is ${seed}`);
  return {
    jobs: planJobs(positionals),
    shards,
    filter: { ...(grep === undefined ? {} : { grep }), ...(grepExclude === undefined ? {} : { grepExclude }), bail },
    env: {
      ...process.env,
      // What runs the tests prints into a pipe, so it has to be told that a terminal is behind it.
      ...(process.stdout.isTTY ? { FORCE_COLOR: "1" } : {}),
      ...(all ? { DMTP_TESTS: "all" } : {}),
      ...(seed === undefined ? {} : { DMTP_FUZZ_SEED: seed }),
    },
  };
}

function checkPattern(pattern: string): void {
  try {
    new RegExp(pattern);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Compiles what has changed. */
function build(env: NodeJS.ProcessEnv): boolean {
  const args = [findTool("hardhat"), "build"];
  return spawnSync(process.execPath, args, { cwd: ROOT, env, stdio: ["ignore", "inherit", "inherit"] }).status === 0;
}

try {
  const { jobs, shards, filter, env } = plan();
  if (build(env)) {
    const { counts, report } = await new TestRun(jobs, shards, filter, env).run();
    if (report !== "") console.log(`\n=== What failed\n\n${report}`);
    if (counts.passed + counts.failed === 0) console.error("error[NO_TESTS]: no test was run");
    if (counts.passed === 0 || counts.failed > 0) process.exitCode = 1;
    console.log(`\n${formatTestCounts(counts)}`);
  } else {
    console.error("error[BUILD]: the contracts do not compile; this counts as one failure");
    process.exitCode = 1;
    console.log("\n0 passed, 1 failed");
  }
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  failWithUsage(usage, error.message);
}
