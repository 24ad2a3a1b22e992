/**
 * Which files are Mocha tests: `*.test.ts`, so that fixtures can lie beside them.
 *
 * Hardhat's own rule is every .ts and .js file under `paths.tests.mocha`, and it has no setting for it. The default
 * export is the action of an override of `test mocha` for hardhat.config.ts; `npx hardhat test` goes through it too.
 */
import { globSync } from "node:fs";
import { join, resolve } from "node:path";

import type { TaskOverrideActionFunction } from "hardhat/types/tasks";

/** Absolute paths of the Mocha tests in a folder and the folders below it, sorted. */
export function listTestFiles(folder: string): string[] {
  return globSync("**/*.test.ts", { cwd: folder })
    .map((file) => join(folder, file))
    .sort();
}

const runTestFiles: TaskOverrideActionFunction = (args, hre, runSuper) => {
  const named = args.testFiles as string[];
  const testFiles = named.length > 0 ? named : listTestFiles(resolve(hre.config.paths.tests.mocha));
  return runSuper({ ...args, testFiles });
};

export default runTestFiles;
