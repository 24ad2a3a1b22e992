/** Anchoring at size: a million messages that wait in 20,000 rooms, then 100 more in 40 of them, on that history and on none. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { MAX_BLOCK_BYTES } from "../protocol/cbor.ts";
import { MAX_MESSAGES } from "../protocol/manifest.ts";
import { startLocalChain } from "../scripts/service.ts";
import { findTool } from "../scripts/tool.ts";
import type { AnchorResult, BoundResult, IncrementsResult } from "./anchor-work.ts";
import { median } from "./measure.ts";
import { deployPost, type Post } from "./operator.ts";
import type { Report } from "./report.ts";

const MESSAGES_PER_ROOM = 50;
const NEW_MESSAGES = 100;
const NEW_ROOMS = 40;
const ROUNDS = 15;
const MIB = 1024 * 1024;

/** @param messages how many wait; fewer make a quick check that it all runs */
export async function benchAnchor(report: Report, messages = 1_000_000): Promise<void> {
  const rooms = Math.ceil(messages / MESSAGES_PER_ROOM);
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  const chain = await startLocalChain(findTool("hardhat"));
  try {
    const post = await deployPost(chain.url, folder);
    report.note(`sealing ${messages.toLocaleString("en")} messages …`);
    await work<unknown>("fill", post, messages, rooms);
    report.note("anchoring them …");
    const bound = await work<BoundResult>("bound", post);
    const anchor = await work<AnchorResult>("anchor", post);
    const many = `anchor ${messages.toLocaleString("en")} messages in ${rooms.toLocaleString("en")} rooms`;
    report.ratio({
      name: many,
      goal: 0.5,
      bound: "hash and write the same blocks",
      ratio: bound.ms / anchor.ms,
      measuredUs: (anchor.ms * 1_000) / messages,
      boundUs: (bound.ms * 1_000) / messages,
    });
    const manifests = Math.ceil(messages / MAX_MESSAGES);
    const peakMiB = Math.ceil(anchor.peakRssBytes / MIB);
    report.limit({ name: `${many}: left behind`, value: messages - anchor.messages, limit: 0, unit: "messages" });
    report.limit({ name: `${many}: manifests`, value: anchor.manifests, limit: manifests, unit: "" });
    report.limit({ name: `${many}: peak memory`, value: peakMiB, limit: 512, unit: "MiB" });
    report.limit({
      name: `${many}: largest block`,
      value: bound.largestBlockBytes,
      limit: MAX_BLOCK_BYTES,
      unit: "bytes",
    });

    report.note(`anchoring ${NEW_MESSAGES} messages more, ${ROUNDS} times …`);
    // One more than rounds, to warm up.
    const empty: string[] = [];
    for (let round = 0; round <= ROUNDS; round++) empty.push(JSON.stringify(await deployPost(chain.url, folder)));
    const newRooms = Math.min(NEW_ROOMS, rooms);
    const {
      large,
      empty: small,
      sizeBytes,
    } = await work<IncrementsResult>("increments", post, NEW_MESSAGES, newRooms, ...empty);
    const few = `anchor ${NEW_MESSAGES} messages in ${newRooms} rooms on that history`;
    report.ratio({
      name: few,
      goal: 1 / 1.2,
      bound: "the same on an empty history",
      ratio: median(small) / median(large),
      measuredUs: (median(large) * 1_000) / NEW_MESSAGES,
      boundUs: (median(small) * 1_000) / NEW_MESSAGES,
    });
    report.limit({ name: `${few}: written`, value: sizeBytes, limit: 10_500, unit: "bytes" });
  } finally {
    await chain.service.stop();
    await rm(folder, { recursive: true });
  }
}

async function work<T>(name: string, post: Post, ...args: readonly (string | number)[]): Promise<T> {
  const script = join(import.meta.dirname, "anchor-work.ts");
  const { stdout } = await promisify(execFile)(process.execPath, [
    script,
    name,
    JSON.stringify(post),
    ...args.map(String),
  ]);
  return (stdout === "" ? undefined : JSON.parse(stdout)) as T;
}
