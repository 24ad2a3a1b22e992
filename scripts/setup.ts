/** `npm run setup`: makes a fresh clone ready for `npx hardhat …`. What is missing has been installed before this runs. */
import { spawnSync } from "node:child_process";

import { readOptions } from "./options.ts";
import { findTool, ROOT } from "./tool.ts";

readOptions({
  command: "npm run setup",
  about:
    "Installs what is missing, under the pinned Node, and compiles the contracts. Every other npm run installs what is missing, too.",
  options: {},
});

console.error("compiling the contracts: a quarter of a minute, the first time");
const { status } = spawnSync(process.execPath, [findTool("hardhat"), "build", "--quiet"], {
  cwd: ROOT,
  stdio: "inherit",
});
process.exitCode = status ?? 1;
if (status === 0) console.log("ready: npx hardhat --help lists the commands, npm run demo shows them at work");
