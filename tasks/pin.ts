import type { Cid } from "../protocol/cid.ts";
import { command, type Outcome } from "./command.ts";
import type { Session } from "./session.ts";
import { plural } from "./terminal.ts";

export default command<{ readonly json: boolean }>(pin);

/** How many blocks are put at once, so that memory stays bounded however many wait. */
const BATCH = 1_000;

/** Pins all that the mailbox holds; what the content store lost or never got is put again from the mailbox. */
export async function pin({ mailbox, content, terminal }: Session): Promise<Outcome> {
  const { messages } = mailbox.counts();
  const unpinned = mailbox.unpinned();
  for (let start = 0; start < unpinned.length; start += BATCH) {
    const batch = unpinned.slice(start, start + BATCH);
    await content.put(batch.flatMap((cid) => toBlock(cid, mailbox.block(cid))));
    await content.pin(batch);
    // A crash before this line pins the batch once more, which changes nothing.
    mailbox.markPinned(batch);
    terminal.progress(`pinned ${start + batch.length} of ${unpinned.length}`);
  }
  const already = messages - unpinned.length;
  return {
    data: { store: content.name, pinned: unpinned.length, alreadyPinned: already },
    text: `pinned ${plural(unpinned.length, "message")} in ${content.name}; ${plural(already, "message")} already pinned`,
  };
}

function toBlock(cid: Cid, bytes: Uint8Array | null): { cid: Cid; bytes: Uint8Array }[] {
  return bytes === null ? [] : [{ cid, bytes }];
}
