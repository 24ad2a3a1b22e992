/**
 * The real Kubo that tests and benches run against: `IPFS_BIN`, or `ipfs` on PATH, or built by Go from the module in
 * scripts/kubo, whose go.sum fixes every byte that goes into it.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

import { ROOT } from "./tool.ts";

export type KuboBinary = { readonly path: string } | { readonly path: null; readonly reason: string };

const MODULE = join(ROOT, "scripts", "kubo");
const PACKAGE = "github.com/ipfs/kubo/cmd/ipfs";
const EXECUTABLE = process.platform === "win32" ? "ipfs.exe" : "ipfs";
/** The series that the tests are written for. */
const VERSION = /^0\.43\.\d+$/;

let found: KuboBinary | undefined;

/**
 * Finds Kubo, or builds it: minutes the first time, nothing after that.
 * @throws when IPFS_BIN names something else than Kubo 0.43, or Go cannot build it
 */
export function findKubo(note: (text: string) => void): KuboBinary {
  return (found ??= find(note));
}

function find(note: (text: string) => void): KuboBinary {
  const given = process.env["IPFS_BIN"];
  if (given !== undefined && given !== "") {
    const version = versionOf(given);
    if (version === null || !VERSION.test(version))
      throw new Error(`IPFS_BIN is ${version ?? "no Kubo"}, not Kubo 0.43`);
    return { path: given };
  }
  const installed = onPath(EXECUTABLE);
  const version = installed === null ? null : versionOf(installed);
  if (installed !== null && version !== null && VERSION.test(version)) return { path: installed };

  const sums = ["go.mod", "go.sum"].map((name) => readFileSync(join(MODULE, name)));
  const key = createHash("sha256").update(Buffer.concat(sums)).digest("hex").slice(0, 16);
  const folder = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "dmtp", `kubo-${key}`);
  const built = join(folder, EXECUTABLE);
  if (existsSync(built)) return { path: built };
  if (onPath(process.platform === "win32" ? "go.exe" : "go") === null) {
    const other = version === null ? "" : `, the ipfs on PATH is ${version}`;
    return { path: null, reason: `no Kubo 0.43: IPFS_BIN is not set${other}, and there is no Go to build it` };
  }
  build(folder, built, note);
  return { path: built };
}

function build(folder: string, built: string, note: (text: string) => void): void {
  note("building Kubo 0.43 with Go, once; this takes some minutes …");
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(folder, "build-"));
  try {
    const output = join(scratch, EXECUTABLE);
    // -mod=readonly: what go.sum does not name is not built.
    const args = ["build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", output, PACKAGE];
    const { status, stderr, error } = spawnSync("go", args, { cwd: MODULE, encoding: "utf8" });
    if (status !== 0) throw new Error(`go could not build Kubo: ${error?.message ?? stderr.slice(-2_000)}`);
    // Two that build at once make the same file, and never a half of one.
    renameSync(output, built);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Null for a program that is not there or no Kubo. */
function versionOf(path: string): string | null {
  const { status, stdout } = spawnSync(path, ["version", "--number"], { encoding: "utf8", timeout: 10_000 });
  return status === 0 ? stdout.trim() : null;
}

function onPath(name: string): string | null {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}
