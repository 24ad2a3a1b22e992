/** Hardhat's runner of the Solidity tests, as a process of its own. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { addTestCounts, NO_TESTS, ONE_FAILURE, TestCountReader, type TestCounts } from "./test-counts.ts";
import { findTool, ROOT } from "./tool.ts";

export interface SolidityResult {
  readonly counts: TestCounts;
  /** The failed tests with reasons and counterexamples, to be read by people; empty when there are none. */
  readonly failures: string;
}

export class SolidityRun {
  readonly result: Promise<SolidityResult>;
  #end: (signal: NodeJS.Signals) => void = () => undefined;

  /** Runs the tests of these files, or all of them when none is named, on what is built already. */
  constructor(
    files: readonly string[],
    options: readonly string[],
    env: NodeJS.ProcessEnv,
    write: (text: string) => void,
  ) {
    const args = [findTool("hardhat"), "test", "solidity", "--no-compile", ...options, ...files];
    this.result = this.#run(args, env, write);
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    this.#end(signal);
  }

  async #run(args: readonly string[], env: NodeJS.ProcessEnv, write: (text: string) => void): Promise<SolidityResult> {
    const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "pipe"] });
    this.#end = (signal) => void child.kill(signal);
    const reader = new TestCountReader();
    createInterface({ input: child.stdout }).on("line", (line) => reader.readLine(line));
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", write);
    const code = await new Promise<string | number>((done, fail) => {
      child.once("error", fail);
      child.once("close", (status, signal) => done(status ?? signal ?? "nothing"));
    });
    const { counts } = reader;
    const failures = reader.failures.join("\n").trim();
    if (counts !== null && counts.failed > 0) return { counts, failures: `${failures}\n` };
    if (counts !== null && code === 0) return { counts, failures: "" };
    return {
      counts: addTestCounts(counts ?? NO_TESTS, ONE_FAILURE),
      failures: `hardhat test solidity ended with ${code} ${counts === null ? "before it had counted its tests" : "though no test failed"}; this counts as one failure\n`,
    };
  }
}
