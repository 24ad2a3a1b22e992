/** A batch of 10,000 messages, durable in mailbox and block folder, against the native parts of sealing them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { ChainIdentity } from "../io/chain/agreement/chain-identity.ts";
import { EmbeddedStore } from "../io/content/embedded.ts";
import { Mailbox } from "../io/mailbox/mailbox.ts";
import { DEPLOYMENT, makeConversation, makePerson, sealBlock } from "./conversation.ts";
import { nativeParts } from "./crypto.ts";
import { compare, type Comparison } from "./measure.ts";

const COUNT = 10_000;
const CHAIN: ChainIdentity = {
  deployment: DEPLOYMENT,
  startBlock: 1,
  genesis: "0x",
  startBlockHash: "0x",
  fork: "0x",
  codes: ["0x", "0x"],
};

export async function benchSend(): Promise<Comparison> {
  const conversation = makeConversation(makePerson("alice", 0), makePerson("bob", 1));
  const bare = nativeParts();
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  let round = 0;
  try {
    return await compare({
      name: "send a batch of 10,000 messages, durable",
      goal: 0.4,
      bound: "the native parts of sealing them",
      units: COUNT,
      measured: async () => {
        // A new mailbox and folder each time, as the messages are the same.
        const home = join(folder, String(round++));
        const mailbox = Mailbox.open(home, CHAIN);
        const content = new EmbeddedStore(join(home, "blocks"));
        const sealed = Array.from({ length: COUNT }, (_, i) => sealBlock(conversation, i + 1));
        mailbox.transaction(() => {
          mailbox.add(sealed);
        });
        await content.put(sealed.map(({ cid, block }) => ({ cid, bytes: block })));
        mailbox.close();
        await content.close();
      },
      bare: () => {
        for (let i = 0; i < COUNT; i++) bare();
      },
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}
