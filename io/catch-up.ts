/** The mailbox, brought up to what the chain says: its own anchors by their journal, everything else by a replay. */
import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainHead } from "./chain/agreement/chain-view.ts";
import type { ChainClient } from "./chain/client.ts";
import { rebuild, type BlockReader } from "./history.ts";
import { readLogUpdate } from "./log-update.ts";
import type { LogUpdate } from "./mailbox/chain-log.ts";
import type { Mailbox } from "./mailbox/mailbox.ts";

/** CIDStore, as the mailbox now knows it. */
export interface Standing {
  /** `current`: nothing was new. `journal`: own anchors were mined, or taken back. `replay`: the whole history was replayed. */
  readonly by: "current" | "journal" | "replay";
  /** Entries; also the next one's index. */
  readonly count: number;
  /** CIDStore's head, 32 bytes: what the next anchor gives as `prev`. */
  readonly head: Uint8Array;
  readonly at: ChainHead;
}

type Reader = Pick<ChainClient, "deployment" | "startBlock" | "entryHead" | "block" | "newEvents">;
/** What the log alone is brought up by. */
export type LogReader = Pick<ChainClient, "startBlock" | "head" | "block" | "newEvents">;

/** What a look at the chain found, and what it makes of the mailbox. */
export interface Look {
  readonly standing: Standing;
  /** Writes it into the mailbox, in one transaction. @throws MAILBOX_OVERTAKEN when another command has meanwhile read the chain */
  readonly apply: () => void;
}

interface LookOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Whether content that was missing is looked for again at once, and not only when a pause is over. */
  readonly isForced?: boolean;
}

const MAX_ATTEMPTS = 5;

/**
 * Brings the mailbox up to the newest block, if the chain has gone on without it, or another way.
 * @throws what ChainClient, ContentStore and Mailbox throw; MAILBOX_OVERTAKEN, DATABASE_FOREIGN
 */
export async function catchUp(
  mailbox: Mailbox,
  reader: Reader,
  content: BlockReader,
  options: LookOptions = {},
): Promise<Standing> {
  for (let attempt = 1; ; attempt++) {
    const { standing, apply } = await lookAtChain(mailbox, reader, content, options);
    try {
      // A crash before this leaves the mailbox as it was; the next command reads the chain again.
      apply();
      return standing;
    } catch (error) {
      const isOvertaken = error instanceof DmtpError && error.code === "MAILBOX_OVERTAKEN";
      if (!isOvertaken || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

/** The part of {@link catchUp} that takes time, and only reads. */
export async function lookAtChain(
  mailbox: Mailbox,
  reader: Reader,
  content: BlockReader,
  { now = Date.now, isForced = false }: LookOptions = {},
): Promise<Look> {
  const { count, head, at } = await reader.entryHead();
  const update = await readLogUpdate(mailbox.log, reader, at);
  const readLog = (): void => {
    if (update !== null) mailbox.readLog(update);
  };
  const { by, events } = mailbox.rehearse(() => {
    readLog();
    const explained = mailbox.anchors.follow();
    const isDue = (): boolean => isForced || mailbox.anchors.isDueToLookAgain(now());
    const isEnough = explained !== null && (mailbox.anchors.base().isSettled || !isDue());
    return isEnough ? { by: explained, events: [] } : { by: "replay" as const, events: [...mailbox.log.events()] };
  });
  const standing: Standing = { by, count, head, at };
  if (by !== "replay") {
    const apply = (): void => {
      if (by === "current" && update === null) return;
      mailbox.transaction(() => {
        readLog();
        if (mailbox.anchors.follow() === null) throw overtaken();
      });
    };
    return { standing, apply };
  }

  const unknown = new Map<Cid, Uint8Array>();
  const source: BlockReader = {
    get: async (cid, options) => mailbox.block(cid) ?? (await content.get(cid, options)),
    isKnownAbsent: (cid, anchors) => content.isKnownAbsent?.(cid, anchors) ?? false,
  };
  const replay = await rebuild(reader.deployment, events, source, {
    keep: (cid, bytes) => {
      if (mailbox.block(cid) === null) unknown.set(cid, bytes);
    },
  });
  const apply = (): void =>
    mailbox.transaction(() => {
      readLog();
      if (mailbox.log.view()?.hash !== at.block.hash) throw overtaken();
      mailbox.adopt(replay, head, (cid) => unknown.get(cid), now());
    });
  return { standing, apply };
}

/**
 * Brings the mailbox's log up to the newest block, and its own anchors and messages as far as the log alone can tell.
 * @returns whether it knows all that there is now; if not, what others anchored was not read
 * @throws what ChainClient and Mailbox throw; MAILBOX_OVERTAKEN, DATABASE_FOREIGN
 */
export async function followLog(mailbox: Mailbox, reader: Omit<LogReader, "head">, at: ChainHead): Promise<boolean> {
  const update: LogUpdate | null = await readLogUpdate(mailbox.log, reader, at);
  return mailbox.transaction(() => {
    if (update !== null) mailbox.readLog(update);
    return mailbox.anchors.follow() !== null;
  });
}

/** Ends own anchors whose block is final, once the verdicts on their messages are known. After this their messages can't wait again. */
export function finalizeOwn({ anchors }: Mailbox, { at }: Standing): void {
  for (const row of anchors.open()) {
    if (row.blockNumber === null || row.blockNumber > at.finalized || !anchors.isJudged(row)) return;
    anchors.finalize(row);
  }
}

function overtaken(): DmtpError {
  return new DmtpError("MAILBOX_OVERTAKEN", "another command has meanwhile read the chain");
}
