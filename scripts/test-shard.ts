/** A process that runs the Mocha tests of one file after another (scripts/test-worker.ts), and what becomes of it. */
import { spawn, type ChildProcess } from "node:child_process";
import { join, relative } from "node:path";

import { ONE_FAILURE, type TestCounts } from "./test-counts.ts";
import { ROOT } from "./tool.ts";

/** The process writes it to stdout and to stderr after each file: the ASCII record separator, which no test prints. */
export const END_OF_FILE = "\u001e";

/** A test's own time limit ends it long before: only code that never gives control back is silent for so long. */
const SILENT_FOR_MS = 600_000;
/** A process without tests that still does not end has left a server, a timer or a database open. */
const END_WITHIN_MS = 30_000;

/** What the process is started with. */
export interface ShardOptions {
  readonly grep?: string;
  readonly grepExclude?: string;
  readonly bail: boolean;
}

export interface FileResult {
  readonly counts: TestCounts;
  /** The failed tests with their errors, to be read by people; empty when there are none. */
  readonly failures: string;
  /** Kinds of resources that the file opened and did not close, by Node's names. */
  readonly open: readonly string[];
  readonly durationMs: number;
}

/** The file that runs, and where its output goes. */
interface Running {
  readonly file: string;
  readonly write: (text: string) => void;
  readonly settle: (result: FileResult) => void;
  readonly startedAtMs: number;
  marks: number;
  result: FileResult | null;
}

export class TestShard {
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;
  #running: Running | null = null;
  #silent: NodeJS.Timeout | undefined;
  #ending = "";
  /** Files that left something open, with what. */
  readonly #leaks: string[] = [];

  constructor(options: ShardOptions, env: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, [join(ROOT, "scripts", "test-worker.ts"), JSON.stringify(options)], {
      cwd: ROOT,
      env,
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      // A process group of its own: whatever a test has started and left behind can be ended with it.
      detached: true,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    }
    this.#child.on("message", (result: FileResult) => {
      if (this.#running !== null) this.#running.result = result;
      this.#settle();
    });
    this.#closed = new Promise((done) => {
      this.#child.once("exit", () => this.kill());
      this.#child.once("error", (error) => (this.#ending = error.message));
      this.#child.once("close", (code, signal) => {
        if (this.#ending === "") this.#ending = `the test process ended with ${signal ?? code ?? "nothing"}`;
        this.#fail();
        done();
      });
    });
  }

  /** Whether its process is gone, and another one is needed. */
  get hasEnded(): boolean {
    return this.#ending !== "";
  }

  /** Runs a file; when the process ends or falls silent meanwhile, that is the file's failure. One file at a time. */
  run(file: string, write: (text: string) => void): Promise<FileResult> {
    return new Promise((settle) => {
      this.#running = { file, write, settle, startedAtMs: performance.now(), marks: 0, result: null };
      this.#watch();
      // Without a process there is nobody to tell, and the end of the process fails the file.
      if (this.#child.connected) this.#child.send({ file });
    });
  }

  /** Lets the process end. @returns what is wrong with it, or null */
  async end(withinMs = END_WITHIN_MS): Promise<string | null> {
    if (this.hasEnded) return null;
    if (this.#child.connected) this.#child.send("end");
    const state = { isHung: false };
    const timer = setTimeout(() => {
      state.isHung = true;
      this.kill();
    }, withinMs);
    await this.#closed;
    clearTimeout(timer);
    if (state.isHung) {
      const suspects = this.#leaks.length === 0 ? "" : `; files that may have: ${this.#leaks.join(", ")}`;
      return `a test process still ran ${withinMs / 1_000} s after its last test, so a test left something open${suspects}`;
    }
    return this.#child.exitCode === 0 ? null : this.#ending;
  }

  /** Ends the process and whatever it has started. */
  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, signal);
    } catch {
      // nothing is left of the group
    }
  }

  #read(text: string): void {
    const running = this.#running;
    if (running === null) {
      // Said between two files, or after the last one.
      process.stderr.write(text.replaceAll(END_OF_FILE, ""));
      return;
    }
    this.#watch();
    const parts = text.split(END_OF_FILE);
    running.marks += parts.length - 1;
    const output = parts.join("");
    if (output !== "") running.write(output);
    this.#settle();
  }

  /** The result and the ends of both streams come by three ways, in any order. */
  #settle(): void {
    const running = this.#running;
    const result = running?.result ?? null;
    if (running === null || result === null || running.marks < 2) return;
    this.#running = null;
    clearTimeout(this.#silent);
    const { open } = result;
    if (open.length > 0) this.#leaks.push(`${relative(ROOT, running.file)} (${open.join(", ")})`);
    running.settle(result);
  }

  #fail(): void {
    const running = this.#running;
    if (running === null) return;
    this.#running = null;
    clearTimeout(this.#silent);
    running.settle({
      counts: ONE_FAILURE,
      failures: `  ${this.#ending} while it ran this file; this counts as one failure\n`,
      open: [],
      durationMs: performance.now() - running.startedAtMs,
    });
  }

  #watch(): void {
    clearTimeout(this.#silent);
    this.#silent = setTimeout(() => {
      this.#ending = `the test process was silent for ${SILENT_FOR_MS / 60_000} minutes`;
      this.kill();
    }, SILENT_FOR_MS);
  }
}
