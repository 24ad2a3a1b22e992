/** `npm run check`: types, ESLint, Prettier and solhint in turn. */
import { spawnSync } from "node:child_process";

import { readOptions } from "./options.ts";
import { findTool, ROOT } from "./tool.ts";

interface Check {
  readonly name: string;
  readonly tool: string;
  readonly args: readonly string[];
}

const { values } = readOptions({
  command: "npm run check",
  about:
    "Types, ESLint, Prettier and solhint in turn. A tool speaks only when it finds something; at the end there is one line for each.",
  options: { fix: { type: "flag", about: "Let ESLint and Prettier mend what they can" } },
});

const checks: readonly Check[] = [
  // Writes types/ and artifacts/, which the sources import.
  { name: "build", tool: findTool("hardhat"), args: ["build", "--quiet"] },
  { name: "types", tool: findTool("typescript", "tsc"), args: ["--noEmit", "--pretty"] },
  { name: "eslint", tool: findTool("eslint"), args: ["--max-warnings=0", ...(values.fix ? ["--fix"] : []), "."] },
  { name: "prettier", tool: findTool("prettier"), args: ["--log-level=warn", values.fix ? "--write" : "--check", "."] },
  {
    name: "solhint",
    tool: findTool("solhint"),
    args: ["--noPoster", "--disc", "--max-warnings=0", "contracts/**/*.sol"],
  },
];

const lines = checks.map(({ name, tool, args }) => {
  console.error(`${name} …`);
  const startedAtMs = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, [tool, ...args], {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, ...(process.stdout.isTTY ? { FORCE_COLOR: "1" } : {}) },
    maxBuffer: 64 * 1024 * 1024,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const isFine = status === 0;
  if (!isFine) {
    process.exitCode = 1;
    process.stdout.write(`${stdout}${stderr}\n`);
  }
  return `${isFine ? "ok    " : "failed"}  ${name.padEnd(8)}  ${((performance.now() - startedAtMs) / 1_000).toFixed(1)} s`;
});
console.log(lines.join("\n"));
