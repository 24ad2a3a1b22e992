/** Processes whose system calls on some paths are counted, or fail: strace(1), which the kernel lets change their results. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";

/** What a file system does when it is written to. Those with a `?` are not on every processor. */
const CALLS = [
  ...["write", "writev", "pwrite64", "pwritev", "fsync", "fdatasync", "ftruncate", "?truncate", "fallocate"],
  ...["?open", "openat", "?mkdir", "mkdirat", "?unlink", "unlinkat", "?rename", "?renameat", "renameat2"],
  ...["?chmod", "fchmod", "fchmodat", "?chown", "fchown", "fchownat", "?link", "linkat"],
];
const TIMEOUT_MS = 60_000;

export type Errno = "ENOSPC" | "EIO";

/** A system call that fails: the `at`-th one on the paths, counted from 1, or that one and all after it. */
export interface Fault {
  readonly call: string;
  readonly at: number;
  readonly isLasting: boolean;
  readonly error: Errno;
}

export interface Ending {
  /** Null: it was ended by a signal, or had to be. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The calls on the paths, as far as they were traced: each with its name and its first argument, a descriptor or a path. */
  readonly calls: readonly { readonly name: string; readonly on: string }[];
  /** How many calls failed because they were made to. */
  readonly injected: number;
}

/** Why processes can't be traced here; null when they can. */
export function whyNoStrace(): string | null {
  const { error, status, stderr } = spawnSync("strace", ["-f", "-qq", "-o", "/dev/null", "true"], { encoding: "utf8" });
  if (error !== undefined) return "strace is not installed";
  return status === 0 ? null : `strace cannot trace here: ${stderr.trim()}`;
}

/** Runs Node with these arguments; calls on `paths` only are traced. @param traceFile written, read and removed */
export async function runTraced(
  args: readonly string[],
  paths: readonly string[],
  traceFile: string,
  fault: Fault | null,
): Promise<Ending> {
  const inject =
    fault === null
      ? []
      : ["-e", `inject=${fault.call}:error=${fault.error}:when=${fault.at}${fault.isLasting ? "+" : ""}`];
  const trace = fault === null ? CALLS.join(",") : fault.call;
  const options = ["-f", "--seccomp-bpf", "-qq", "-o", traceFile, "-e", `trace=${trace}`, "-e", "signal=none"];
  const filter = paths.flatMap((path) => ["-P", path]);
  // A group of its own: strace and what it traces are ended together.
  const child = spawn("strace", [...options, ...filter, ...inject, process.execPath, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].on("data", (chunk: Buffer) => (output[name] += chunk.toString()));
  const timer = setTimeout(() => {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  }, TIMEOUT_MS);
  const [code] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  const lines = readFileSync(traceFile, "utf8").split("\n");
  rmSync(traceFile);
  const calls = lines.flatMap((line) => {
    const [, name, on] = /^\d+ +(\w+)\((?:AT_FDCWD, )?([^,)]*)/.exec(line) ?? [];
    return name === undefined || on === undefined ? [] : [{ name, on }];
  });
  return { code, ...output, calls, injected: lines.filter((line) => line.endsWith("(INJECTED)")).length };
}
