/** A batch of 10,000 messages written to Kubo and pinned, against `ipfs dag import` of the same CAR typed by hand. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { encodeCar } from "../io/content/car.ts";
import { KuboStore } from "../io/content/kubo.ts";
import { encode } from "../protocol/cbor-encoder.ts";
import { cidOf, linkTo } from "../protocol/cid.ts";
import type { Block } from "../protocol/manifest.ts";
import { findKubo } from "../scripts/kubo-binary.ts";
import { KuboDaemon } from "../scripts/kubo-daemon.ts";
import { makeConversation, makePerson, sealBlock } from "./conversation.ts";
import { compare, type Comparison } from "./measure.ts";

const COUNT = 10_000;

/** Null, with a note that says why, where there is no Kubo. */
export async function benchKubo(note: (text: string) => void): Promise<Comparison | null> {
  const { path, ...rest } = findKubo(note);
  if (path === null) {
    note(`writing to Kubo is not measured: ${"reason" in rest ? rest.reason : "there is none"}`);
    return null;
  }
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  const daemon = await KuboDaemon.start({ binary: path });
  const store = new KuboStore(daemon.apiUrl);
  const car = join(folder, "messages.car");
  try {
    const { block, envelope } = sealBlock(makeConversation(makePerson("alice", 0), makePerson("bob", 1)), 1);
    const nonceAt = Buffer.from(block).indexOf(envelope.nonce);
    let made = 0;
    // Each round has messages of its own, for Kubo writes none that it has: one message, each time with another nonce.
    const make = (): Block[] =>
      Array.from({ length: COUNT }, () => {
        const bytes = block.slice();
        new DataView(bytes.buffer).setUint32(nonceAt, ++made);
        return { cid: cidOf(bytes), bytes };
      });
    let [byHand, byStore] = [make(), make()];
    return await compare({
      name: "write 10,000 messages to Kubo, pinned",
      goal: 0.7,
      bound: "`ipfs dag import` of the same CAR",
      units: COUNT,
      prepare: async () => {
        [byHand, byStore] = [make(), make()];
        const bytes = encode(byHand.map(({ cid }) => linkTo(cid)));
        const list = { cid: cidOf(bytes), bytes };
        await writeFile(car, Buffer.concat([...encodeCar([list.cid], [...byHand, list])]));
      },
      measured: () => store.put(byStore),
      bare: () => run(path, ["dag", "import", car], daemon.repository),
    });
  } finally {
    await store.close();
    await daemon.remove();
    await rm(folder, { recursive: true });
  }
}

function run(binary: string, args: readonly string[], repository: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { env: { ...process.env, IPFS_PATH: repository }, stdio: "ignore" });
    child.once("error", reject);
    child.once("exit", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`ipfs ${args.join(" ")} ended with ${code}`));
    });
  });
}
