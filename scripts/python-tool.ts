/** Programs from PyPI, pinned in scripts/python/, each in an environment of its own outside the repository. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

import { ROOT } from "./tool.ts";

/**
 * The Python that has this program: `<python> -m <name>` runs it. Installed the first time, kept in the user's cache.
 *
 * A new environment gets its name when it is complete, so that an interrupted install is not taken for one.
 */
export function installPythonTool(name: string): string {
  const requirements = join(ROOT, "scripts", "python", `${name}.txt`);
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "dmtp");
  const version = run("python3", ["--version"]);
  const hash = createHash("sha256").update(version).update(readFileSync(requirements)).digest("hex");
  const environment = join(cache, `${name}-${hash.slice(0, 16)}`);
  if (!existsSync(environment)) {
    mkdirSync(cache, { recursive: true });
    const unfinished = mkdtempSync(join(cache, `${name}-`));
    try {
      run("python3", ["-m", "venv", unfinished]);
      run(join(unfinished, "bin", "python"), ["-m", "pip", "install", "--quiet", "--requirement", requirements]);
      renameSync(unfinished, environment);
    } catch (error) {
      rmSync(unfinished, { recursive: true, force: true });
      // Another run was first: its environment is as good.
      if (!existsSync(environment)) throw error;
    }
  }
  return join(environment, "bin", "python");
}

function run(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}
