import type { ContentStore } from "../io/content/store.ts";
import type { Mailbox } from "../io/mailbox/mailbox.ts";
import type { PinPage } from "../io/mailbox/messages.ts";
import { DmtpError } from "../protocol/error.ts";
import { command, type Outcome } from "./command.ts";
import { checkPins, copyTo, repairPins } from "./replicate.ts";
import type { Session } from "./session.ts";
import { plural } from "./terminal.ts";

interface PinArguments {
  readonly to: string | undefined;
  readonly check: boolean;
  readonly repair: boolean;
  readonly json: boolean;
}

export default command<PinArguments>((session, { to, check, repair }) => {
  if (Number(to !== undefined) + Number(check) + Number(repair) > 1) {
    throw new DmtpError("OPTION_INVALID", "--to, --check and --repair are given one at a time");
  }
  if (to !== undefined) return copyTo(session, to);
  if (check) return checkPins(session);
  return repair ? repairPins(session) : pin(session);
});

/** How many messages are pinned at once: memory stays bounded however many wait, and a sync to the disk is shared by many. */
const PAGE = 2_000;
const PUT_BYTES = 8 * 1024 * 1024;

/** Pins all that the mailbox holds; what the content store lost or never got is put again from the mailbox. */
export async function pin({
  mailbox,
  content,
  terminal,
}: Pick<Session, "mailbox" | "content" | "terminal">): Promise<Outcome> {
  mailbox.keepPinsOf(content.name);
  const { messages, unpinned } = mailbox.counts();
  let pinned = 0;
  for (let afterId = 0; ;) {
    const page = mailbox.unpinned(afterId, PAGE);
    if (page.cids.length === 0) break;
    await pinOrPut(content, mailbox, page);
    // A crash before this line pins the page once more, which changes nothing.
    mailbox.markPinned(page);
    afterId = page.lastId;
    pinned += page.cids.length;
    terminal.progress(`pinned ${pinned} of ${Math.max(pinned, unpinned)}`);
  }
  const already = messages - unpinned;
  return {
    data: { store: content.name, pinned, alreadyPinned: already },
    text: `pinned ${plural(pinned, "message")} in ${content.name}; ${plural(already, "message")} already pinned`,
  };
}

/** A message is in the store since it was sent, so nothing is sent again unless the store says that something is missing. */
async function pinOrPut(content: ContentStore, mailbox: Mailbox, page: PinPage): Promise<void> {
  try {
    await content.pin(page.cids, { isSearching: false });
    return;
  } catch (error) {
    if (!(error instanceof DmtpError) || error.code !== "CONTENT_MISSING") throw error;
  }
  const missing = new Set(await content.missing(page.cids, page.cids.length));
  for (const blocks of mailbox.blocks(page, PUT_BYTES)) await content.put(blocks.filter(({ cid }) => missing.has(cid)));
  await content.pin(page.cids, { isSearching: false });
}
