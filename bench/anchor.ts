/** Anchoring at size: a million messages that wait in 20,000 rooms, then 100 more in 40 of them, on that history and on none. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { MAX_BLOCK_BYTES } from "../protocol/cbor.ts";
import type { AnchorResult, IncrementsResult, WorkResult } from "./anchor-work.ts";
import { median, type Comparison, type Limit } from "./measure.ts";

const MESSAGES_PER_ROOM = 50;
const NEW_MESSAGES = 100;
const NEW_ROOMS = 40;
const ROUNDS = 15;
const MIB = 1024 * 1024;

export interface AnchorBench {
  readonly comparisons: readonly Comparison[];
  readonly limits: readonly Limit[];
}

/** @param messages how many wait; fewer make a quick check that it all runs */
export async function benchAnchor(messages = 1_000_000): Promise<AnchorBench> {
  const rooms = Math.ceil(messages / MESSAGES_PER_ROOM);
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  try {
    const full = join(folder, "full");
    await work<unknown>("fill", full, messages, rooms);
    // The bound leaves everything in the mailbox as it was.
    const bound = await work<WorkResult>("bound", full);
    const anchor = await work<AnchorResult>("anchor", full);
    const { large, empty, sizeBytes } = await work<IncrementsResult>(
      "increments",
      full,
      join(folder, "empty"),
      ROUNDS,
      NEW_MESSAGES,
      Math.min(NEW_ROOMS, rooms),
    );
    const many = `anchor ${messages.toLocaleString("en")} messages in ${rooms.toLocaleString("en")} rooms`;
    const few = `anchor ${NEW_MESSAGES} messages in ${NEW_ROOMS} rooms on that history`;
    return {
      comparisons: [
        {
          name: many,
          goal: 0.5,
          bound: "hash and write the same blocks",
          ratio: bound.ms / anchor.ms,
          measuredUs: (anchor.ms * 1_000) / messages,
          boundUs: (bound.ms * 1_000) / messages,
        },
        {
          name: few,
          goal: 1 / 1.2,
          bound: "the same on an empty history",
          ratio: median(empty) / median(large),
          measuredUs: (median(large) * 1_000) / NEW_MESSAGES,
          boundUs: (median(empty) * 1_000) / NEW_MESSAGES,
        },
      ],
      limits: [
        { name: `${many}: manifests`, value: anchor.manifests, limit: 1, unit: "" },
        { name: `${many}: peak memory`, value: Math.ceil(anchor.peakRssBytes / MIB), limit: 512, unit: "MiB" },
        { name: `${many}: largest block`, value: anchor.largestBlockBytes, limit: MAX_BLOCK_BYTES, unit: "bytes" },
        { name: `${few}: written`, value: sizeBytes, limit: 10_500, unit: "bytes" },
      ],
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function work<T>(name: string, ...args: readonly (string | number)[]): Promise<T> {
  const script = join(import.meta.dirname, "anchor-work.ts");
  const { stdout } = await promisify(execFile)(process.execPath, [script, name, ...args.map(String)]);
  return (stdout === "" ? undefined : JSON.parse(stdout)) as T;
}
