/** One measured run of the index, in a process of its own, so that its memory is its own: prints `{ms, rssMiB}`. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { openEngine } from "../indexer/indexer.ts";
import { ChainFeed } from "../io/chain/feed.ts";
import { httpRpc } from "../io/chain/http-rpc.ts";
import type { ContentStore } from "../io/content/store.ts";
import { DEPLOYMENT } from "./conversation.ts";

/** No content: what is measured is the chain. */
const NOTHING: ContentStore = {
  name: "nothing",
  get: () => Promise.resolve(null),
  put: () => Promise.resolve(),
  pin: () => Promise.resolve(),
  missing: (roots) => Promise.resolve([...roots]),
  isPinned: (cids) => Promise.resolve(cids.map(() => false)),
  close: () => Promise.resolve(),
};

const [url = "", folder = ""] = process.argv.slice(2);
const startedAtMs = performance.now();
const feed = await ChainFeed.open([httpRpc(url)], DEPLOYMENT);
const { index, follower, stop } = openEngine(feed, {
  content: NOTHING,
  indexPath: join(folder, "index.sqlite"),
  pollIntervalMs: 1_000,
});
while ((await follower.turn()) === "again") await sleep(0);
const ms = performance.now() - startedAtMs;
stop();
index.close();
process.stdout.write(`${JSON.stringify({ ms, rssMiB: process.resourceUsage().maxRSS / 1_024 })}\n`);
