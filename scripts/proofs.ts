/** `npm run proofs`: halmos proves the `check_` functions of test/contracts/*.symbolic.sol for all their arguments at once. */
import { spawnSync } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, delimiter, join } from "node:path";

import { readOptions } from "./options.ts";
import { installPythonTool } from "./python-tool.ts";
import { compileSolidity } from "./solidity.ts";
import { ROOT } from "./tool.ts";

const { values } = readOptions({
  command: "npm run proofs",
  about:
    "Halmos proves the check_ functions of test/contracts/*.symbolic.sol for all their arguments at once.\nNeeds Python 3, and PyPI the first time.",
  options: {
    only: { type: "text", value: "PREFIX", about: "The functions whose names begin with this", default: "check_" },
    verbose: { type: "flag", about: "Let halmos say what it does" },
  },
});

/** Strings of 59 bytes are copied word by word, in at most this many turns; a proof that needs more fails. */
const LOOP_BOUND = 4;

const python = installPythonTool("halmos");
const folder = mkdtempSync(join(tmpdir(), "dmtp-proofs-"));
try {
  writeArtifacts(join(folder, "out"));
  // Halmos starts a build by Foundry; what that would write is there already.
  const bin = join(folder, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "forge"), "#!/bin/sh\n", { mode: 0o755 });
  const options = [
    ...["--root", folder, "--match-contract", "Symbolic$", "--no-status", "--loop", String(LOOP_BOUND)],
    // With a millisecond to rule a branch out, as is the default, it follows branches that can't be.
    ...["--solver", "z3", "--solver-timeout-branching", "5s"],
    ...["--function", values.only, ...(values.verbose ? ["-v"] : [])],
  ];
  const { status, stdout } = spawnSync(python, ["-m", "halmos", ...options], {
    cwd: folder,
    env: { ...process.env, PATH: [bin, process.env["PATH"]].join(delimiter) },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.stdout.write(stdout);
  // A proof of less than all paths is none, though halmos only warns of it.
  const isProved = status === 0 && !stdout.includes("WARNING") && / [1-9]\d* passed; 0 failed/.test(stdout);
  process.exitCode = isProved ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** The compiler's output in the folders and files that Foundry writes, which is what halmos reads. */
function writeArtifacts(out: string): void {
  const { output } = compileSolidity(globSync("test/contracts/*.symbolic.sol", { cwd: ROOT }).sort());
  for (const [path, contracts] of Object.entries(output.contracts)) {
    const source = output.sources[path];
    for (const [name, { abi, metadata, evm }] of Object.entries(contracts)) {
      const { bytecode, deployedBytecode, methodIdentifiers } = evm;
      const artifact = {
        abi,
        bytecode,
        deployedBytecode,
        methodIdentifiers,
        metadata: JSON.parse(metadata) as unknown,
        ...source,
      };
      mkdirSync(join(out, basename(path)), { recursive: true });
      writeFileSync(join(out, basename(path), `${name}.json`), JSON.stringify(artifact));
    }
  }
}
