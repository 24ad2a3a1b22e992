/** All jobs of a test run, dealt to shards as these become free: whoever has a long file takes fewer. */
import { relative } from "node:path";

import { addTestCounts, NO_TESTS, ONE_FAILURE, type TestCounts } from "./test-counts.ts";
import { OrderedOutput } from "./test-output.ts";
import { TestShard, type ShardOptions } from "./test-shard.ts";
import { SolidityRun } from "./test-solidity.ts";
import { ROOT } from "./tool.ts";

/** The Solidity tests are one job; Hardhat's runner has threads of its own. No files mean all of them. */
export type Job =
  { readonly kind: "solidity"; readonly files: readonly string[] } | { readonly kind: "mocha"; readonly file: string };

/** The slowest files that are named at the end. */
const SLOWEST = 10;
/** A shorter run needs no such list. */
const LONG_RUN_MS = 60_000;

export class TestRun {
  readonly #jobs: readonly Job[];
  readonly #lanes: number;
  readonly #options: ShardOptions;
  readonly #env: NodeJS.ProcessEnv;
  readonly #output: OrderedOutput;
  readonly #processes = new Set<{ kill(signal?: NodeJS.Signals): void }>();
  readonly #durations: { readonly name: string; readonly ms: number }[] = [];
  readonly #reports: { readonly job: number; readonly text: string }[] = [];
  #next = 0;
  #counts: TestCounts = NO_TESTS;

  constructor(jobs: readonly Job[], lanes: number, options: ShardOptions, env: NodeJS.ProcessEnv) {
    this.#jobs = jobs;
    this.#lanes = Math.min(lanes, jobs.length);
    this.#options = options;
    this.#env = env;
    this.#output = new OrderedOutput(jobs.length, (text) => process.stdout.write(text));
  }

  /** @returns the counts of all jobs, and what failed, in their order */
  async run(): Promise<{ readonly counts: TestCounts; readonly report: string }> {
    const startedAtMs = performance.now();
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
    for (const signal of signals) process.once(signal, (name) => void this.#interrupt(name));
    await Promise.all(Array.from({ length: this.#lanes }, () => this.#runLane()));
    for (const signal of signals) process.removeAllListeners(signal);
    this.#output.endAll();
    const tookMs = performance.now() - startedAtMs;
    if (tookMs > LONG_RUN_MS) console.log(this.#formatDurations(tookMs));
    const report = this.#reports.sort((a, b) => a.job - b.job).map(({ text }) => text);
    return { counts: this.#counts, report: report.join("\n") };
  }

  async #runLane(): Promise<void> {
    let shard: TestShard | null = null;
    for (let next = this.#take(); next !== undefined; next = this.#take()) {
      const [job, todo] = next;
      if (todo.kind === "solidity") {
        await this.#runSolidity(job, todo.files);
      } else {
        if (shard === null || shard.hasEnded) {
          if (shard !== null) this.#processes.delete(shard);
          shard = new TestShard(this.#options, this.#env);
          this.#processes.add(shard);
        }
        const name = relative(ROOT, todo.file);
        const { counts, failures, durationMs } = await shard.run(todo.file, (text) => this.#output.write(job, text));
        this.#record(job, name, counts, failures, durationMs);
      }
    }
    if (shard === null) return;
    const problem = await shard.end();
    this.#processes.delete(shard);
    if (problem !== null) {
      this.#counts = addTestCounts(this.#counts, ONE_FAILURE);
      this.#reports.push({
        job: this.#jobs.length,
        text: `error[TEST_RUNNER]: ${problem}; this counts as one failure\n`,
      });
    }
  }

  async #runSolidity(job: number, files: readonly string[]): Promise<void> {
    const startedAtMs = performance.now();
    const { grep, grepExclude } = this.#options;
    const options = [
      ...(grep === undefined ? [] : ["--grep", grep]),
      ...(grepExclude === undefined ? [] : ["--grep-exclude", grepExclude]),
    ];
    const run = new SolidityRun(files, options, this.#env, (text) => this.#output.write(job, text));
    this.#processes.add(run);
    const { counts, failures } = await run.result;
    this.#processes.delete(run);
    this.#record(job, "the Solidity tests", counts, failures, performance.now() - startedAtMs);
  }

  #record(job: number, name: string, counts: TestCounts, failures: string, ms: number): void {
    this.#output.end(job);
    this.#durations.push({ name, ms });
    this.#counts = addTestCounts(this.#counts, counts);
    if (counts.failed > 0) this.#reports.push({ job, text: `${name}\n\n${failures.replace(/^\n+/, "").trimEnd()}\n` });
    // Whoever asks for the first failure gets no more files after it.
    if (counts.failed > 0 && this.#options.bail) this.#next = this.#jobs.length;
  }

  /** The next job and its number. */
  #take(): [number, Job] | undefined {
    const number = this.#next;
    const job = this.#jobs[number];
    if (job === undefined) return undefined;
    this.#next += 1;
    return [number, job];
  }

  #formatDurations(tookMs: number): string {
    const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
    const slowest = this.#durations.sort((a, b) => b.ms - a.ms).slice(0, SLOWEST);
    const lines = slowest.map(({ name, ms }) => `  ${seconds(ms).padStart(8)}  ${name}`);
    return `\n${this.#durations.length} jobs in ${this.#lanes} shards took ${seconds(tookMs)}; the slowest:\n${lines.join("\n")}`;
  }

  /** Ends everything, and this process as the signal would have: nothing is counted when somebody interrupts. */
  async #interrupt(signal: NodeJS.Signals): Promise<void> {
    this.#next = this.#jobs.length;
    for (const one of this.#processes) one.kill(signal);
    await new Promise((done) => setTimeout(done, this.#processes.size === 0 ? 0 : 1_000));
    for (const one of this.#processes) one.kill();
    process.kill(process.pid, signal);
  }
}
