/** What the chain says that a mailbox's log does not know: only what is new is read, and what a reorg replaced is found by its block's hash. */
import { DmtpError } from "../protocol/error.ts";
import type { ChainHead } from "./chain/agreement/chain-view.ts";
import { isHeadAfter } from "./chain/events/stored-entry.ts";
import type { ChainClient } from "./chain/client.ts";
import type { ChainLog, LogUpdate, LogView } from "./mailbox/chain-log.ts";

type Reader = Pick<ChainClient, "startBlock" | "block" | "newEvents">;

/**
 * Null when the log has all of it up to this head.
 * @throws CHAIN_UNREACHABLE, CHAIN_INCOMPLETE, CHAIN_DISAGREES; DATABASE_FOREIGN when a block that was final has another hash
 */
export async function readLogUpdate(log: ChainLog, reader: Reader, head: ChainHead): Promise<LogUpdate | null> {
  const since = log.view();
  if (since?.hash === head.block.hash) return null;
  let keptUpTo = since === null ? reader.startBlock - 1 : await findKept(log, reader, head, since);
  for (;;) {
    const before = log.countsUpTo(keptUpTo);
    const { events, anchorHead } = await reader.newEvents(keptUpTo + 1, head, before);
    const kept = before.anchors === 0 ? null : log.anchor(before.anchors - 1);
    // A node that lied about the digest of the last entry says now what CIDStore's head is: that entry is read again.
    if (kept === null || events.some(({ kind }) => kind === "anchor") || isHeadAfter(kept, anchorHead))
      return { since, keptUpTo, events, head };
    keptUpTo = kept.blockNumber - 1;
  }
}

/** The highest block up to which the log is that of the chain. */
async function findKept(log: ChainLog, reader: Reader, head: ChainHead, since: LogView): Promise<number> {
  const { number: newest } = head.block;
  const isThere = async (number: number, hash: string): Promise<boolean> => {
    return number <= newest && (await reader.block(number))?.hash === hash;
  };
  if (await isThere(since.number, since.hash)) return since.number;
  // Nothing was logged between the blocks with events, and what is final is not replaced.
  const final = Math.min(since.finalized, newest);
  for (const { number, hash } of log.blocks()) {
    if (await isThere(number, hash)) return Math.max(number, final, reader.startBlock - 1);
    if (number > since.finalized) continue;
    if (number > newest)
      throw new DmtpError("CHAIN_INCOMPLETE", `the node is at block ${newest}, and block ${number} was final before`);
    throw new DmtpError("DATABASE_FOREIGN", `the mailbox has read another chain, on which block ${number} was final`, {
      hint: "Use another DMTP_DATA_DIR for a chain that was made anew, and for a fork; otherwise the RPC URL leads to the wrong chain.",
    });
  }
  return Math.max(final, reader.startBlock - 1);
}
