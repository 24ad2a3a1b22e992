/** The manifest of one row of the journal: made, and stored so that nothing on chain ever names what is not there. */
import type { Standing } from "../io/catch-up.ts";
import { equal } from "../protocol/bytes.ts";
import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { draftRooms, type Block, type ManifestDraft } from "../protocol/manifest.ts";
import type { JournalRow } from "../io/mailbox/journal.ts";
import type { AnchorOptions } from "./anchor-options.ts";
import { pin } from "./pin.ts";
import type { Session } from "./session.ts";
import { plural } from "./terminal.ts";

/** What is told of a manifest whose blocks are stored: those of a million messages need not stay in memory for it. */
export interface StoredManifest {
  readonly cid: Cid;
  /** Which anchor it builds on; null for a first. */
  readonly base: number | null;
  /** The state root after it, 32 bytes. */
  readonly state: Uint8Array;
  /** How many it adds to. */
  readonly rooms: number;
  /** Shards, heads and itself. */
  readonly blocks: number;
  readonly sizeBytes: number;
}

/** What of a session it takes. */
type Place = Pick<Session, "mailbox" | "content" | "terminal">;

/** The row to go on with, or a new one for what waits; null when nothing does. */
export function nextRow(
  { mailbox: { anchors } }: Session,
  { head, count }: Standing,
  { maxMessages }: AnchorOptions,
): JournalRow | null {
  for (const row of anchors.open()) {
    if (row.state === "mined") continue;
    if (row.index === count && equal(row.prev, head)) return row;
    anchors.abandon(row, "the head that it builds on is gone");
  }
  return anchors.plan(head, count, maxMessages);
}

/**
 * The same manifest each time it is made. Null, and the row is given up, when its messages are no longer those that were
 * planned, or make another manifest than the one that was stored.
 */
export function makeDraft({ mailbox }: Pick<Session, "mailbox">, row: JournalRow): ManifestDraft | null {
  const { anchors } = mailbox;
  const draft = mailbox.snapshot(() => (anchors.isWhole(row) ? draftRooms(anchors.tip(), anchors.delta(row)) : null));
  if (draft !== null && (row.manifest === null || row.manifest === draft.cid)) return draft;
  anchors.abandon(row, "its messages are no longer those that were planned");
  return null;
}

/**
 * Stores and pins all that a row's manifest links to, then itself. Null as {@link makeDraft} says.
 * @throws CONTENT_MISSING that names a message that neither the store nor the mailbox has; CONTENT_WRITE_FAILED, CONTENT_UNREACHABLE
 */
export async function storeManifest(session: Place, row: JournalRow): Promise<StoredManifest | null> {
  // Messages are pinned before anything names them, so that no manifest ever points at what garbage collection may take.
  await pin(session);
  const draft = makeDraft(session, row);
  if (draft === null) return null;
  const { cid, manifest, touched, blocks } = draft;
  session.terminal.progress(`storing ${plural(blocks.length, "block")}`);
  // A crash after this leaves blocks that nothing names; the next run makes the same ones.
  await putWhole(session, draft);
  return {
    cid,
    base: manifest.base?.index ?? null,
    state: manifest.state,
    rooms: touched.length,
    blocks: blocks.length,
    sizeBytes: sizeOf(blocks),
  };
}

export function sizeOf(blocks: readonly Block[]): number {
  return blocks.reduce((sizeBytes, { bytes }) => sizeBytes + bytes.length, 0);
}

/** How many lost messages are put again at once. */
const REPAIR_BATCH = 1_000;

/** Puts and pins a manifest. What the store has lost since it was pinned is put again from the mailbox. */
export async function putWhole(
  { content, mailbox, terminal }: Place,
  { cid: manifest, blocks: draft }: ManifestDraft,
): Promise<void> {
  let repaired = 0;
  for (;;) {
    try {
      await content.put(draft);
      await content.pin([manifest], { isSearching: false });
      break;
    } catch (error) {
      if (!(error instanceof DmtpError && error.code === "CONTENT_MISSING")) throw error;
    }
    const lost = await content.missing([manifest], REPAIR_BATCH);
    const blocks = lost.map((cid) => {
      const bytes = mailbox.block(cid);
      if (bytes !== null) return { cid, bytes };
      throw new DmtpError(
        "CONTENT_MISSING",
        `${content.name} has lost message ${cid}, and the mailbox does not have it`,
      );
    });
    await content.put(blocks);
    repaired += blocks.length;
  }
  if (repaired === 0) return;
  terminal.note(`warning: ${content.name} had lost ${plural(repaired, "message")}, which the mailbox had: put again`);
}
