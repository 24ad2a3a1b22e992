/**
 * Lets one process at a time install: a folder, because making one is atomic everywhere. Its modification time is the
 * owner's heartbeat, so that a lock whose owner was killed does not hold for ever.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, rmdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const HEARTBEAT_MS = 1_000;
/** A heartbeat that stood still for this long, as seen by one who waits, is that of a killed process. */
const STALE_MS = 15_000;
const POLL_MS = 250;

const say = (line) => process.stderr.write(`${line}\n`);

/** Waits until this process holds the lock folder; returns the function that gives it back. */
export async function takeLock(folder) {
  for (let waitedMs = 0, stoodMs = 0, beat; ; waitedMs += POLL_MS, await sleep(POLL_MS)) {
    try {
      mkdirSync(dirname(folder), { recursive: true }); // each time: who gives the lock back may remove it
      mkdirSync(folder);
      break;
    } catch (error) {
      if (error.code === "ENOENT") continue; // removed between the two
      if (error.code !== "EEXIST") throw error;
    }
    if (waitedMs === 0) say("Another process is installing the dependencies; waiting for it.");
    else if (waitedMs % 10_000 === 0) say(`  still waiting, ${waitedMs / 1000} s`);
    const mtimeMs = statSync(folder, { throwIfNoEntry: false })?.mtimeMs;
    stoodMs = mtimeMs === beat ? stoodMs + POLL_MS : 0;
    beat = mtimeMs;
    if (stoodMs > STALE_MS && mtimeMs !== undefined && !isWorkerAlive(folder)) removeStaleLock(folder);
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    if (statSync(folder, { throwIfNoEntry: false })) utimesSync(folder, now, now);
  }, HEARTBEAT_MS);
  return () => {
    clearInterval(heartbeat);
    rmSync(folder, { recursive: true, force: true });
    try {
      rmdirSync(dirname(folder)); // the data folder, when nothing else is in it
    } catch {
      // it holds data, or somebody waits
    }
  };
}

/** Records the process that works under this lock: it may outlive the owner. */
export function recordWorker(folder, pid) {
  writeFileSync(join(folder, "worker"), String(pid));
}

/** True while what a killed owner started still works. */
function isWorkerAlive(folder) {
  try {
    return process.kill(Number(readFileSync(join(folder, "worker"), "utf8")), 0);
  } catch {
    return false;
  }
}

/** Of several who wait, the one whose rename succeeds clears the lock away. */
function removeStaleLock(folder) {
  const aside = `${folder}.${process.pid}`;
  try {
    renameSync(folder, aside);
    rmSync(aside, { recursive: true, force: true });
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}
