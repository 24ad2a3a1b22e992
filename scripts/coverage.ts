/** `npm run coverage`: runs the Solidity tests with every line and statement of contracts/ counted, and demands all of them. */
import { spawnSync } from "node:child_process";
import { globSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { readOptions } from "./options.ts";
import { findTool, ROOT } from "./tool.ts";

readOptions({
  command: "npm run coverage",
  about:
    "Runs the Solidity tests with every line and statement of contracts/ counted, and demands all of them.\nHardhat writes an HTML report to coverage/html/.",
  options: {},
});

const report = join(ROOT, "coverage", "lcov.info");

rmSync(report, { force: true });
const { status, stdout } = spawnSync(process.execPath, [findTool("hardhat"), "test", "solidity", "--coverage"], {
  cwd: ROOT,
  encoding: "utf8",
  maxBuffer: 64 * 1024 * 1024,
  stdio: ["ignore", "pipe", "inherit"],
});
if (status === 0) {
  const problems = [...missedLines(readFileSync(report, "utf8")), ...missedStatements(stdout)];
  console.log(stdout.slice(stdout.indexOf("╔")).trim());
  for (const problem of problems) console.error(`error[COVERAGE]: ${problem}`);
  process.exitCode = problems.length === 0 ? 0 : 1;
} else {
  process.stdout.write(stdout);
  process.exitCode = 1;
}

/** Lines that no test ran, and contracts that the report doesn't know, from lcov's `SF:file` and `DA:line,count`. */
function missedLines(lcov: string): string[] {
  const problems: string[] = [];
  const seen = new Set<string>();
  let file = "";
  for (const line of lcov.split("\n")) {
    if (line.startsWith("SF:")) seen.add((file = line.slice(3)));
    const missed = /^DA:(\d+),0$/.exec(line)?.[1];
    if (missed !== undefined) problems.push(`${file}:${missed} is run by no test`);
  }
  for (const contract of globSync("contracts/*.sol", { cwd: ROOT })) {
    if (!seen.has(contract)) problems.push(`${contract} is not in the report`);
  }
  return problems;
}

/** Statements are in the printed table only: `║ contracts/CIDStore.sol │ 100.00 │ 98.50 │ … ║`. */
function missedStatements(table: string): string[] {
  const rows = [...table.matchAll(/║ (contracts\/\S+) +│ +([\d.]+) +│ +([\d.]+) +│/g)];
  if (rows.length === 0) return ["the report has no table of statements"];
  return rows
    .filter(([, , , statements]) => statements !== "100.00")
    .map(([, file = "", , statements = ""]) => `${file}: only ${statements} % of the statements are run by a test`);
}
