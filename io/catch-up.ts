/** The mailbox, brought up to what the chain says: its own anchors by their journal, everything else by a replay. */
import { equal } from "../protocol/bytes.ts";
import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainHead } from "./chain/head.ts";
import type { ChainReader } from "./chain/reader.ts";
import { rebuild, type BlockReader } from "./history.ts";
import type { JournalRow } from "./mailbox/journal.ts";
import type { Mailbox } from "./mailbox/mailbox.ts";

/** CIDStore, as the mailbox now knows it. */
export interface Standing {
  /** `current`: nothing was new. `journal`: own anchors were mined, or taken back. `replay`: the whole history was read. */
  readonly by: "current" | "journal" | "replay";
  /** Entries; also the next one's index. */
  readonly count: number;
  /** CIDStore's head, 32 bytes: what the next anchor gives as `prev`. */
  readonly head: Uint8Array;
  readonly at: ChainHead;
}

type Reader = Pick<ChainReader, "deployment" | "entryHead" | "entries" | "findEntry" | "events" | "allEvents">;

/** What a look at the chain found, and what it makes of the mailbox. */
export interface Look {
  readonly standing: Standing;
  /** Writes it into the mailbox, in one transaction. @throws ANCHOR_OVERTAKEN when another command has meanwhile ended a row */
  readonly apply: () => void;
}

/**
 * Brings the mailbox up to the newest block, if the chain has gone on without it, or another way.
 * @throws what ChainReader, ContentStore and Mailbox throw; ANCHOR_OVERTAKEN
 */
export async function catchUp(
  mailbox: Mailbox,
  reader: Reader,
  content: BlockReader,
  now: () => number = Date.now,
): Promise<Standing> {
  const { standing, apply } = await lookAtChain(mailbox, reader, content, now);
  // A crash before this leaves the mailbox as it was; the next command reads the chain again.
  apply();
  return standing;
}

/** The part of {@link catchUp} that takes time, and only reads. */
export async function lookAtChain(
  mailbox: Mailbox,
  reader: Reader,
  content: BlockReader,
  now: () => number = Date.now,
): Promise<Look> {
  const { anchors } = mailbox;
  const { count, head, at } = await reader.entryHead();
  const known = anchors.known();
  const isKnown = known.count === count && equal(known.head, head);
  if (isKnown && (known.isSettled || !anchors.isDueToLookAgain(now()))) {
    return { standing: { by: "current", count, head, at }, apply: () => undefined };
  }
  const steps = isKnown || !known.isSettled ? null : await explain(mailbox, reader, count, head, at);
  if (steps !== null) {
    const apply = (): void =>
      mailbox.transaction(() => {
        for (const step of steps) step();
      });
    return { standing: { by: "journal", count, head, at }, apply };
  }

  const { events, head: seen } = await reader.allEvents();
  // Before anything is fetched, which may take hours: a node soon forgets the state of a block, or a reorg replaces it.
  const adopted = await reader.entryHead(seen.block.number);
  if (adopted.at.block.hash !== seen.block.hash) {
    throw new DmtpError("CHAIN_DISAGREES", `block ${seen.block.number} was replaced while it was read`);
  }
  const unknown = new Map<Cid, Uint8Array>();
  const source: BlockReader = {
    get: async (cid, options) => mailbox.block(cid) ?? (await content.get(cid, options)),
    isKnownAbsent: (cid) => content.isKnownAbsent?.(cid) ?? false,
  };
  const replay = await rebuild(reader.deployment, events, source, {
    keep: (cid, bytes, kind) => {
      if (kind === "message" && mailbox.block(cid) === null) unknown.set(cid, bytes);
    },
  });
  return {
    standing: { by: "replay", count: adopted.count, head: adopted.head, at: seen },
    apply: () => mailbox.adopt(replay, adopted.head, (cid) => unknown.get(cid), now()),
  };
}

/**
 * What to write into the journal if own anchors explain what CIDStore holds: those that were mined without this mailbox hearing
 * of it, and those that a reorg took back. Null when they do not, or when a node does not give an event yet that it counts.
 */
async function explain(
  { anchors }: Mailbox,
  reader: Reader,
  count: number,
  head: Uint8Array,
  { block }: ChainHead,
): Promise<(() => void)[] | null> {
  const base = anchors.base();
  const rows = anchors.open();
  const mined = rows.slice(0, Math.max(0, count - base.count));
  if (count !== base.count + mined.length) return null;
  const entries = await reader.entries(base.count, mined.length, block.number);
  if (!mined.every(({ manifest }, i) => manifest !== null && manifest === entries[i]?.cid)) return null;
  if (!equal(head, entries.at(-1)?.head ?? base.head)) return null;

  const steps: (() => void)[] = [];
  for (const row of mined) {
    if (row.state === "mined") continue;
    const event = await reader.findEntry(row.index, block.number);
    if (event?.cid !== row.manifest) return null;
    steps.push(() => anchors.mine(row, event.blockNumber));
  }
  for (const row of rows.slice(mined.length)) if (row.state === "mined") steps.push(() => anchors.unmine(row));
  return steps;
}

/**
 * Ends own anchors whose block is final. After this their messages can't wait again.
 * @param standing what {@link catchUp} has just returned: what the journal calls mined is on the chain
 */
export async function settleFinal({ anchors }: Mailbox, reader: Reader, standing: Standing): Promise<void> {
  const { finalized } = standing.at;
  for (const row of anchors.open()) {
    if (row.state !== "mined" || row.blockNumber === null || row.blockNumber > finalized) return;
    const blockNumber = await locate(reader, row, standing);
    if (blockNumber === null) return;
    if (blockNumber !== row.blockNumber) anchors.mine(row, blockNumber);
    if (blockNumber > finalized) return;
    anchors.settle(row);
  }
}

/** The block that a mined row's entry lies in now: a reorg may have mined it again, in another one. Null when a node lacks it. */
export async function locate(
  reader: Reader,
  { index, manifest, blockNumber }: JournalRow,
  { at }: Standing,
): Promise<number | null> {
  if (blockNumber !== null) {
    const events = await reader.events(blockNumber, blockNumber);
    const isThere = events.some((event) => event.kind === "anchor" && event.index === index && event.cid === manifest);
    if (isThere) return blockNumber;
  }
  const event = await reader.findEntry(index, at.block.number);
  return event?.cid === manifest ? event.blockNumber : null;
}
