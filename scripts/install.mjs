/**
 * Makes node_modules what package-lock.json says, and knows in a few milliseconds when it is that already.
 *
 * Plain JavaScript for Node 20 and later. Hardhat 3 and better-sqlite3 need Node 22.13, so the pinned Node (the npm
 * package `node`) does the installing and the running, whatever Node is on PATH.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { recordWorker, takeLock } from "./install-lock.mjs";

const WINDOWS = process.platform === "win32";
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const MODULES = join(ROOT, "node_modules");
export const BIN = join(MODULES, ".bin");
export const NODE = join(MODULES, "node", "bin", WINDOWS ? "node.exe" : "node");

/** Names the lockfile and the installed tree that were found to match. `npm ci` deletes it before anything else. */
const STAMP = join(MODULES, ".dmtp-install");
/** npm's own record of what it installed. It is written last, so an interrupted install does not have it. */
const INSTALLED = join(MODULES, ".package-lock.json");
/** In the data folder, which git ignores. */
const LOCK = join(ROOT, ".dmtp", "install.lock");

/** Whether trying again can help. */
export const EXIT = { input: 1, unavailable: 75 };

export class Failure extends Error {
  constructor(code, exitCode, message, hint) {
    super(message);
    Object.assign(this, { code, exitCode, hint });
  }
}

const say = (line) => process.stderr.write(`${line}\n`);
const readJson = (file) => JSON.parse(readFileSync(file, "utf8"));
const secondsSince = (startedAtMs) => `${Math.round((Date.now() - startedAtMs) / 1000)} s`;

/** Installs what is missing; throws a Failure, or an error with the `signal` that interrupted it. */
export async function ensureInstalled() {
  if (findReasonToInstall() === null) return;
  const release = await takeLock(LOCK);
  try {
    const reason = findReasonToInstall(); // again: the one we waited for has probably installed everything
    if (reason === null) return;
    say(`Installing the dependencies: ${reason}. This happens once and takes a minute or two.`);
    const startedAtMs = Date.now();
    const stop = showProgress(startedAtMs);
    await installAll().finally(stop);
    const problem = findReasonToInstall();
    if (problem !== null) {
      const hint = "delete node_modules, then run the same command again";
      throw new Failure("INSTALL_INCOMPLETE", EXIT.unavailable, `npm succeeded, but ${problem}`, hint);
    }
    say(`Installed in ${secondsSince(startedAtMs)}.`);
  } finally {
    release();
  }
}

/** Null when node_modules is complete, otherwise why it has to be installed. */
function findReasonToInstall() {
  if (!existsSync(MODULES)) return "node_modules is missing";
  if (!existsSync(INSTALLED)) return "an earlier install did not finish";
  const lockfile = readFileSync(join(ROOT, "package-lock.json"));
  const installed = readFileSync(INSTALLED);
  const hash = createHash("sha256").update(`${process.platform}-${process.arch}\n`).update(lockfile).update(installed);
  const stamp = hash.digest("hex");
  if (existsSync(NODE) && existsSync(STAMP) && readFileSync(STAMP, "utf8") === stamp) return null;

  // No stamp, or another one: somebody ran npm by hand. Look at the tree itself.
  const wanted = JSON.parse(lockfile).packages;
  const found = JSON.parse(installed).packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "" || !isForThisMachine(entry)) continue;
    const version = existsSync(join(ROOT, path, "package.json")) ? found[path]?.version : undefined;
    if (version !== entry.version) return `${path} is ${version ?? "missing"}, wanted is ${entry.version}`;
  }
  // npm's record can be wrong about files; without these nothing runs, so ask the files.
  for (const path of ["node_modules/hardhat", "node_modules/better-sqlite3"]) {
    const { version } = readJson(join(ROOT, path, "package.json"));
    if (version !== wanted[path].version) return `${path} is ${version}, wanted is ${wanted[path].version}`;
  }
  const version = spawnSync(NODE, ["--version"], { encoding: "utf8" }).stdout?.trim();
  const pinned = wanted["node_modules/node"].version;
  if (version !== `v${pinned}`) return `node_modules/.bin/node is ${version || "missing"}, wanted is v${pinned}`;
  writeFileSync(STAMP, stamp);
  return null;
}

/** True when npm has to install the package of this lockfile entry on this machine. */
function isForThisMachine({ optional, os, cpu, libc }) {
  const allows = (list, value) =>
    !list || list.includes(value) || (list[0]?.startsWith("!") && !list.includes(`!${value}`));
  if (!allows(os, process.platform) || !allows(cpu, process.arch)) return false;
  if (libc && process.platform === "linux" && !allows(libc, (libcName ??= getLibcName()))) return false;
  // An optional package for every machine may fail to build without harm.
  return !optional || Boolean(os ?? cpu ?? libc);
}

let libcName;
function getLibcName() {
  process.report.excludeNetwork = true; // else the report resolves host names
  return process.report.getReport().header.glibcVersionRuntime ? "glibc" : "musl";
}

/** Shows that it moves: a spinner on a terminal, a line every ten seconds elsewhere. Returns the function to stop. */
function showProgress(startedAtMs) {
  const terminal = process.stderr.isTTY;
  let turn = 0;
  const draw = () => {
    if (terminal) process.stderr.write(`\r  ${"⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"[turn++ % 10]} npm, ${secondsSince(startedAtMs)} `);
    else say(`  npm is running, ${secondsSince(startedAtMs)}`);
  };
  const timer = setInterval(draw, terminal ? 100 : 10_000);
  return () => {
    clearInterval(timer);
    if (terminal) process.stderr.write("\r\x1b[K");
  };
}

/**
 * Runs `npm ci`, then the install scripts that are needed and no others: npm would run node-gyp for better-sqlite3, which
 * ships its binary, and node-gyp fails on a machine without Python.
 */
async function installAll() {
  const { devDependencies, allowScripts } = readJson(join(ROOT, "package.json"));
  const scripts = Object.keys(allowScripts).filter((name) => allowScripts[name]);
  if ((await runNpm("npm", ["config", "get", "ignore-scripts"])) === "true") {
    const hint = "put npm_config_ignore_scripts=false before the command";
    throw new Failure(
      "IGNORE_SCRIPTS",
      EXIT.input,
      `ignore-scripts is set, and ${scripts.join(", ")} need theirs`,
      hint,
    );
  }
  // Under the pinned Node: npm leaves packages out that the Node it runs under is too old for.
  const npx = ["-y", "-p", `node@${devDependencies.node}`, "--"];
  const version = await runNpm("npx", [...npx, "node", "--version"]);
  if (version !== `v${devDependencies.node}`) {
    const hint = "npm keeps a broken copy: delete the folder _npx in the one that `npm config get cache` names";
    throw new Failure("NPX_BROKEN", EXIT.input, `npx runs Node ${version}, not v${devDependencies.node}`, hint);
  }
  // Everything is needed that is a devDependency or optional, whatever NODE_ENV and npm's configuration leave out.
  const ci = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--include=dev", "--include=optional"];
  await runNpm("npx", [...npx, "npm", `--prefix=${ROOT}`, ...ci], 3_000);
  await runNpm("npm", [`--prefix=${ROOT}`, "rebuild", ...scripts], 3_000);
}

/** Resolves to the trimmed standard output. An interrupted npm undoes what it did, and has `undoWithinMs` for it. */
function runNpm(command, args, undoWithinMs = 20_000) {
  // Neither the folder nor PATH leads to what is in node_modules: npx would take a broken `node` from there.
  const path = (process.env.PATH ?? "").split(delimiter).filter((folder) => resolve(folder) !== BIN);
  const env = { ...process.env, PATH: path.join(delimiter) };
  delete env.npm_config_local_prefix;
  const child = spawn(command, args, {
    cwd: tmpdir(),
    env,
    shell: WINDOWS,
    stdio: ["ignore", "pipe", "pipe"],
    detached: !WINDOWS, // a process group of its own, so that an interrupt reaches npm's install scripts too
  });
  if (child.pid !== undefined) recordWorker(LOCK, child.pid);
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) {
    child[name].setEncoding("utf8").on("data", (text) => (output[name] = (output[name] + text).slice(-20_000)));
  }
  return new Promise((done, fail) => {
    let interruptedBy, killing;
    const kill = (signal) => (WINDOWS ? child.kill() : process.kill(-child.pid, signal));
    const interrupt = (signal) => {
      interruptedBy = signal;
      killing ??= setTimeout(kill, undoWithinMs, "SIGKILL");
      kill("SIGTERM");
    };
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    const stopListening = () => {
      clearTimeout(killing);
      for (const signal of signals) process.off(signal, interrupt);
    };
    for (const signal of signals) process.on(signal, interrupt);
    child.once("error", ({ message }) => {
      stopListening();
      fail(new Failure("NPM_NOT_FOUND", EXIT.input, `${command} does not start: ${message}`, "install npm"));
    });
    child.once("close", (code) => {
      stopListening();
      if (interruptedBy) fail(Object.assign(new Error("interrupted"), { signal: interruptedBy }));
      else if (code === 0) done(output.stdout.trim());
      else
        fail(
          describeFailure(
            args.includes("ci") ? "npm ci" : `${command} ${args[0]}`,
            code,
            Object.values(output).join(""),
          ),
        );
    });
  });
}

/** npm's last lines, and what to do about them. */
function describeFailure(command, code, output) {
  let hint = "run the same command again; if it fails again, delete node_modules first";
  if (/ENOSPC/.test(output)) hint = "the disk is full: free 2 GB, then run the same command again";
  else if (/EACCES|EPERM/.test(output)) hint = "this folder or npm's cache belongs to another user: see the path above";
  else if (/EUSAGE|in sync/.test(output)) hint = "package.json and package-lock.json differ: run npm install once";
  else if (/E404|ETARGET/.test(output)) hint = "the registry lacks a package: see npm config get registry";
  else if (/ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ERR_SOCKET/.test(output)) {
    hint = "the registry cannot be reached: check the network, npm config get registry and npm config get proxy";
  }
  // npm says what is wrong first; its usage and the path of its log come last.
  const lines = output.trimEnd().split("\n");
  const errors = lines.filter((line) => line.startsWith("npm error") && !line.startsWith("npm error     at "));
  const shown = errors.length > 0 ? errors.slice(0, 15) : lines.slice(-15);
  return new Failure(
    "INSTALL_FAILED",
    EXIT.unavailable,
    `${command} exited with ${code}\n  ${shown.join("\n  ")}`,
    hint,
  );
}
