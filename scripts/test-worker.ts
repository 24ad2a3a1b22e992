/**
 * The process of a shard: runs the Mocha tests of one file after another, as the parent names them (scripts/test-shard.ts).
 *
 *     node scripts/test-worker.ts OPTIONS     with OPTIONS as JSON
 *
 * It holds the one Hardhat runtime environment of all its files. At the end of a file it writes a mark to both of its streams and
 * sends the result: so the parent knows which output belongs to which file.
 */
import { relative } from "node:path";
import { format } from "node:util";

import hre from "hardhat";
import Mocha from "mocha";

import { ONE_FAILURE, type TestCounts } from "./test-counts.ts";
import { ROOT } from "./tool.ts";
import { END_OF_FILE, type FileResult, type ShardOptions } from "./test-shard.ts";

const { Base, Spec } = Mocha.reporters;
const options = JSON.parse(process.argv[2] ?? "{}") as ShardOptions;
/** The failed tests of the file that runs. */
let failures: Mocha.Test[] = [];

// As `hardhat test` sets them: plugins ask for the first one.
process.env["HH_TEST"] = "true";
process.env["NODE_ENV"] ??= "test";

// With a listener Mocha only hears of what is thrown: it then fails the test that runs.
process.on("unhandledRejection", (reason) => {
  throw reason;
});

/** Mocha's own, without the counts at the end, which are the parent's. */
class FileReporter extends Spec {
  override epilogue(): void {
    failures = this.failures;
    if (failures.length > 0) Base.list(failures);
  }
}

async function runFile(file: string): Promise<FileResult> {
  const startedAtMs = performance.now();
  const openBefore = countOpen();
  failures = [];
  printUnder(relative(ROOT, file));
  const mocha = new Mocha({ ...hre.config.test.mocha, bail: options.bail, reporter: FileReporter });
  const filter = buildFilter(options);
  if (filter !== null) mocha.grep(filter);
  mocha.addFile(file);
  const { counts, report } = await runMocha(mocha);
  const openAfter = countOpen();
  const open = [...openAfter].filter(([kind, count]) => count > (openBefore.get(kind) ?? 0)).map(([kind]) => kind);
  return { counts, failures: report, open, durationMs: performance.now() - startedAtMs };
}

async function runMocha(mocha: Mocha): Promise<{ readonly counts: TestCounts; readonly report: string }> {
  try {
    await mocha.loadFilesAsync();
  } catch (error) {
    // The file itself, or something that it imports, does not load.
    const report = `${format(error)}\n`;
    Base.consoleLog(report);
    return { counts: ONE_FAILURE, report };
  }
  const counts = await new Promise<TestCounts>((done) => {
    const runner = mocha.run(() => {
      const { passes = 0, failures: failed = 0, pending = 0 } = runner.stats ?? {};
      done({ passed: passes, failed, skipped: pending });
    });
  });
  return { counts, report: listFailures() };
}

/** Mocha's reporters print by this function; a file of which no test is chosen prints nothing. */
function printUnder(heading: string): void {
  let isHeaded = false;
  Base.consoleLog = (...parts: unknown[]): void => {
    const text = format(...parts);
    if (!isHeaded && text.trim() === "") return;
    if (!isHeaded) process.stdout.write(`\n${heading}\n`);
    isHeaded = true;
    process.stdout.write(`${text}\n`);
  };
}

/** The failed tests, as the reporter shows them, to be shown again at the end of everything. */
function listFailures(): string {
  let text = "";
  Base.consoleLog = (...parts: unknown[]): void => void (text += `${format(...parts)}\n`);
  if (failures.length > 0) Base.list(failures);
  return text;
}

/** Tests whose full title holds the one pattern and not the other. */
function buildFilter({ grep, grepExclude }: ShardOptions): RegExp | null {
  if (grepExclude !== undefined) return new RegExp(`^(?=[^]*(?:${grep ?? ""}))(?![^]*(?:${grepExclude}))`);
  return grep === undefined ? null : new RegExp(grep);
}

/** What would keep this process from ending, by kind. */
function countOpen(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

async function answer(file: string): Promise<void> {
  const result = await runFile(file);
  for (const stream of [process.stdout, process.stderr]) stream.write(END_OF_FILE);
  process.send?.(result);
}

process.on("message", (message: { readonly file: string } | "end") => {
  if (message === "end") process.disconnect();
  else void answer(message.file);
});
