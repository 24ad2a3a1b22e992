/**
 * Runs one TypeScript entry point under the pinned Node, after installing what is missing.
 *
 *     node scripts/bootstrap.mjs <script.ts> [args…]
 *
 * Plain JavaScript without dependencies, for Node 20 and later: it is what a fresh clone starts with. It ends the way
 * the script ends, and never before it.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, resolve } from "node:path";
import { isatty } from "node:tty";

import { BIN, EXIT, Failure, NODE, ROOT, ensureInstalled } from "./install.mjs";

/**
 * V8 would let new objects take 128 MiB where it finds that much memory, and be no faster for it; and what is left of them grow to
 * several times what is used before it looks. Thirty per cent cost a twentieth of a rebuild's time, and save a third to a half of its memory.
 */
const NODE_OPTIONS = ["--max-semi-space-size=16", "--heap-growing-percent=30"];

async function main([script, ...args]) {
  if (Number(process.versions.node.split(".")[0]) < 20) {
    throw new Failure("NODE_TOO_OLD", EXIT.input, `this is Node ${process.version}`, "install Node 20 or later");
  }
  if (script === undefined || !existsSync(resolve(ROOT, script))) {
    const what = script === undefined ? "no script is named" : `${script} does not exist`;
    throw new Failure("USAGE", EXIT.input, what, "node scripts/bootstrap.mjs <script.ts> [args…]");
  }
  if (/[#%?]/.test(ROOT)) {
    const what = `the path ${ROOT} has #, % or ? in it, and Hardhat reads its compiler's path as a URL`;
    throw new Failure("FOLDER_NAME", EXIT.input, what, "move this folder to a path without them");
  }
  await ensureInstalled();

  // node_modules/.bin first, as npm does it: whatever the script starts finds the same Node.
  const env = {
    // Compiled code is kept beside the packages it is of: the indexer starts in half the time.
    NODE_COMPILE_CACHE: resolve(ROOT, "node_modules", ".cache", "compile"),
    ...process.env,
    PATH: [BIN, process.env.PATH].filter(Boolean).join(delimiter),
  };
  const child = spawn(NODE, [...NODE_OPTIONS, resolve(ROOT, script), ...args], { cwd: ROOT, env, stdio: "inherit" });
  exitLike(await waitFor(child));
}

/**
 * Waits for the child to end and passes signals on meanwhile.
 *
 * A terminal sends Ctrl-C to the whole process group, so the child has it already, and npm passes it to us a second
 * time: on a terminal SIGINT is not passed on, elsewhere only to a child that is still there half a second later.
 */
function waitFor(child) {
  return new Promise((done, fail) => {
    let timer;
    const pass = (signal) => child.kill(signal);
    const passLater = (signal) => {
      if (!isatty(0)) timer ??= setTimeout(pass, 500, signal);
    };
    process.on("SIGINT", passLater).on("SIGTERM", pass).on("SIGHUP", pass);
    child.once("error", fail);
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      process.off("SIGINT", passLater).off("SIGTERM", pass).off("SIGHUP", pass);
      done({ code, signal });
    });
  });
}

/** Ends this process the way its child ended, so that a shell sees the same thing. */
function exitLike({ code, signal }) {
  if (signal === null) process.exit(code);
  process.kill(process.pid, signal);
  // Still here: the signal was set to be ignored when this process was started.
  setTimeout(() => process.exit(128 + constants.signals[signal]), 1_000);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (error.signal) exitLike({ code: null, signal: error.signal });
  else if (error instanceof Failure) {
    process.stderr.write(`error[${error.code}]: ${error.message}\nhint: ${error.hint}\n`);
    process.exitCode = error.exitCode;
  } else throw error;
}
