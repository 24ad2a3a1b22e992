/** Python tools of a pinned list, in a virtual environment of their own that is made once. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./tool.ts";

/**
 * The folder of the commands that the packages bring. A list that changed gets a new environment.
 * @param requirements a file of pinned packages, all that they need among them
 */
export function pythonTools(requirements: string): string {
  const list = readFileSync(requirements);
  const name = createHash("sha256").update(list).digest("hex").slice(0, 16);
  const folder = join(ROOT, "node_modules", ".cache", `python-${name}`);
  const finished = join(folder, "finished");
  if (!existsSync(finished)) {
    // What an interrupted run left is not trusted.
    rmSync(folder, { recursive: true, force: true });
    run("python3", ["-m", "venv", folder]);
    run(join(folder, "bin", "pip"), [
      "install",
      "--quiet",
      "--no-deps",
      "--disable-pip-version-check",
      "-r",
      requirements,
    ]);
    writeFileSync(finished, "");
  }
  return join(folder, "bin");
}

function run(command: string, args: readonly string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (error !== undefined) throw new Error(`${command} is needed for this: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}`);
}
