/** A measured run in a process of its own, so that its memory is its own, and it begins cold. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Runs a script with the flags of this process. @returns what it prints, which is JSON */
export async function runApart<Result>(script: string, ...args: readonly string[]): Promise<Result> {
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, script, ...args]);
  return JSON.parse(stdout) as Result;
}
