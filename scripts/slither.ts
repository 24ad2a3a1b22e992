/**
 * `npm run slither`: static analysis of the contracts. Whatever it finds fails; an exception stands in the source, with
 * its reason beside it (`slither-disable-next-line`).
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { readOptions } from "./options.ts";
import { installPythonTool } from "./python-tool.ts";
import { compileSolidity } from "./solidity.ts";
import { ROOT } from "./tool.ts";

/** Detectors that are not run, and why. */
const EXCLUDED: Readonly<Record<string, string>> = {
  pragma: "OpenZeppelin's files and our interfaces allow a range; what is deployed is pinned",
};

readOptions({
  command: "npm run slither",
  about: "Static analysis of the contracts: whatever Slither finds fails. Needs Python 3, and PyPI the first time.",
  options: {},
});

const python = installPythonTool("slither");
const folder = mkdtempSync(join(tmpdir(), "dmtp-slither-"));
try {
  // Slither doesn't read Hardhat 3's artifacts where they are; so the compiler's output is given to it as Hardhat 2's.
  const { version, input, output } = compileSolidity(["contracts/CIDStore.sol", "contracts/KeyRegistry.sol"]);
  mkdirSync(join(folder, "artifacts", "build-info"), { recursive: true });
  const buildInfo = { solcVersion: version.split("+")[0], solcLongVersion: version, input, output };
  writeFileSync(join(folder, "artifacts", "build-info", "contracts.json"), JSON.stringify(buildInfo));
  writeFileSync(join(folder, "hardhat.config.js"), "");
  symlinkSync(join(ROOT, "contracts"), join(folder, "contracts"));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(join(ROOT, "node_modules", "@openzeppelin"), join(folder, "node_modules", "@openzeppelin"));
  // It asks a Hardhat where things are; this one says, where they always are.
  mkdirSync(join(folder, "bin"));
  writeFileSync(join(folder, "bin", "hardhat"), "#!/bin/sh\necho '{}'\n", { mode: 0o755 });
  const options = ["--ignore-compile", "--npx-disable", "--exclude-dependencies"];
  const { status } = spawnSync(python, ["-m", "slither", ".", ...options, "--exclude", Object.keys(EXCLUDED).join()], {
    cwd: folder,
    env: { ...process.env, PATH: join(folder, "bin") },
    stdio: ["ignore", "inherit", "inherit"],
  });
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
