/** A batch of 10,000 messages in the embedded store, against bare files with the same durability: each written, synced, renamed. */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { EmbeddedStore } from "../io/content/embedded.ts";
import { syncFolder } from "../io/durable-folder.ts";
import { makeConversation, makePerson, sealBlock } from "./conversation.ts";
import { compare, type Comparison } from "./measure.ts";

const COUNT = 10_000;

export async function benchEmbedded(): Promise<Comparison> {
  const conversation = makeConversation(makePerson("alice", 0), makePerson("bob", 1));
  const blocks = Array.from({ length: COUNT }, (_, i) => {
    const { cid, block } = sealBlock(conversation, i + 1);
    return { cid, bytes: block };
  });
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  let round = 0;
  try {
    return await compare({
      name: "write 10,000 messages to the block folder",
      goal: 0.5,
      bound: "a file each: write, fsync, rename, and one fsync of the folder",
      units: COUNT,
      measured: async () => {
        const store = new EmbeddedStore(join(folder, String(round++)));
        await store.put(blocks);
        await store.close();
      },
      bare: () => {
        const home = join(folder, String(round++));
        mkdirSync(home);
        for (const { cid, bytes } of blocks) {
          const part = join(home, `${cid}.part`);
          const file = openSync(part, "w");
          writeSync(file, bytes);
          fsyncSync(file);
          closeSync(file);
          renameSync(part, join(home, cid));
        }
        syncFolder(home);
      },
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}
