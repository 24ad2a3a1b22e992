/** `npm test`: builds once, runs the Solidity and the Mocha tests, ends with one line `N passed, N failed`. */
import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { createInterface } from "node:readline";

import { failWithUsage, readOptions, UsageError } from "./options.ts";
import { addTestCounts, formatTestCounts, TestCountReader, type TestCounts } from "./test-counts.ts";
import { listTestFiles } from "./test-files.ts";
import { findTool, ROOT } from "./tool.ts";

/** A runner that has printed its counts and still does not end has left a server, a timer or a database open. */
const END_WITHIN_MS = 60_000;

interface Run {
  readonly runner: "solidity" | "mocha";
  readonly files: readonly string[];
}

/** Which runner gets which files. A file of one kind only starts that kind's runner. */
function planRuns(paths: readonly string[]): Run[] {
  if (paths.length === 0) {
    return [
      { runner: "solidity", files: [] },
      { runner: "mocha", files: listTestFiles(join(ROOT, "test")) },
    ];
  }
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
  const isSolidity = (file: string) => file.endsWith(".sol");
  const runs: Run[] = [
    { runner: "solidity", files: files.filter(isSolidity) },
    { runner: "mocha", files: files.filter((file) => !isSolidity(file)) },
  ];
  return runs.filter((run) => run.files.length > 0);
}

/** Runs `hardhat test <runner>` with its output passed through; resolves to what it counted. */
async function runTests({ runner, files }: Run, options: readonly string[]): Promise<TestCounts> {
  const child = spawn(process.execPath, [findTool("hardhat"), "test", runner, ...options, ...files], {
    cwd: ROOT,
    // What Hardhat and Mocha see is a pipe, so they have to be told that a terminal is behind it.
    env: { ...process.env, ...(process.stdout.isTTY ? { FORCE_COLOR: "1" } : {}) },
    stdio: ["ignore", "pipe", "inherit"],
    // A process group of its own: whatever a test has started and left behind can be ended with it.
    detached: true,
  });
  const end = (signal: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    } catch {
      // nothing is left of the group
    }
  };
  const ended: { bySignal?: NodeJS.Signals; isHung?: true } = {};
  const interrupt = (signal: NodeJS.Signals) => {
    ended.bySignal ??= signal;
    end(signal);
    setTimeout(end, 3_000, "SIGKILL").unref();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, interrupt);

  const reader = new TestCountReader();
  let hanging: NodeJS.Timeout | undefined;
  child.stdout.pipe(process.stdout, { end: false });
  createInterface({ input: child.stdout }).on("line", (line) => {
    reader.readLine(line);
    clearTimeout(hanging);
    if (reader.counts === null) return;
    hanging = setTimeout(() => {
      ended.isHung = true;
      end("SIGKILL");
    }, END_WITHIN_MS);
  });
  const exit = new Promise<string | number>((done, fail) => {
    child.once("error", fail);
    child.once("exit", (code, signal) => {
      end("SIGKILL");
      done(code ?? signal ?? "nothing");
    });
  });
  const closed = new Promise((done) => child.once("close", done));
  const code = await exit;
  await closed;
  clearTimeout(hanging);
  for (const signal of signals) process.off(signal, interrupt);
  if (ended.bySignal !== undefined) await endBy(ended.bySignal);

  const { counts } = reader;
  if (counts !== null && (counts.failed > 0 || code === 0)) return counts;
  const problem = ended.isHung
    ? `still ran ${END_WITHIN_MS / 1_000} s after its last test: a test left something open`
    : `ended with ${code} ${counts === null ? "before it had counted its tests" : "though no test failed"}`;
  console.error(`\nerror[TEST_RUNNER]: hardhat test ${runner} ${problem}; this counts as one failure`);
  return addTestCounts(counts ?? { passed: 0, failed: 0, skipped: 0 }, { passed: 0, failed: 1, skipped: 0 });
}

/** Ends this process as the signal would have: nothing is counted when somebody interrupts. */
function endBy(signal: NodeJS.Signals): Promise<never> {
  process.kill(process.pid, signal);
  return new Promise(() => undefined);
}

const usage = {
  command: "npm test",
  about: "Builds once, runs the Solidity and the Mocha tests, and ends with one line: N passed, N failed.",
  positionals: "file or folder …",
  options: {
    grep: { type: "text", value: "PATTERN", about: "The tests whose names match" },
    "grep-exclude": { type: "text", value: "PATTERN", about: "The tests whose names do not match" },
    bail: { type: "flag", about: "Stop at the first failure" },
  },
} as const;

async function main(): Promise<TestCounts> {
  const { values, positionals } = readOptions(usage);
  const filter = (["grep", "grep-exclude"] as const).flatMap((name) => {
    const pattern = values[name];
    return pattern === undefined ? [] : [`--${name}`, pattern];
  });
  let total: TestCounts = { passed: 0, failed: 0, skipped: 0 };
  for (const [index, run] of planRuns(positionals).entries()) {
    if (run.runner === "mocha" && run.files.length === 0) continue;
    const what = run.files.length === 0 ? "" : ` (${run.files.length} files in ${relative(ROOT, join(ROOT, "test"))}/)`;
    console.log(`\n${run.runner === "solidity" ? "Solidity" : "Mocha"} tests${what}\n`);
    const options = [...filter];
    if (index > 0) options.push("--no-compile"); // the first runner has built everything
    if (values.bail && run.runner === "mocha") options.push("--bail");
    total = addTestCounts(total, await runTests(run, options));
    if (values.bail && total.failed > 0) break;
  }
  return total;
}

try {
  const total = await main();
  if (total.passed + total.failed === 0) console.error("error[NO_TESTS]: no test was run");
  if (total.passed === 0 || total.failed > 0) process.exitCode = 1;
  console.log(formatTestCounts(total));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  failWithUsage(usage, error.message);
}
