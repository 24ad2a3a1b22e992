/**
 * The mailbox's own anchors, and what they make of the line of manifests: its base, which is final or was replayed, and on it
 * the open anchors of the journal. A reorg takes open ones back, and the base stays as it is.
 */
import type { Database } from "better-sqlite3";

import type { Anchor } from "../../protocol/replay/memory-store.ts";
import { digestOfCid, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Tip } from "../../protocol/manifest.ts";
import { State, type RoomMessages } from "../../protocol/state.ts";
import type { Attempt, AttemptLog } from "../chain/attempt.ts";
import { accessEach, accessMailbox } from "./access.ts";
import { Journal, type JournalRow } from "./journal.ts";
import type { AccountedLog, Line } from "./line.ts";
import { Looks } from "./looks.ts";
import type { Messages } from "./messages.ts";

/** Runs work alone and keeps all of it, or nothing. */
export type Transaction = <T>(work: () => T) => T;

/** Every method may throw DATABASE_DAMAGED, DATABASE_BUSY, and DATABASE_WRITE_FAILED when it writes. */
export class Anchors {
  private readonly journal: Journal;
  private readonly line: Line;
  private readonly mail: Messages;
  private readonly looks: Looks;
  private readonly transaction: Transaction;

  constructor(database: Database, line: Line, mail: Messages, transaction: Transaction) {
    this.journal = new Journal(database);
    this.line = line;
    this.mail = mail;
    this.looks = new Looks(database);
    this.transaction = transaction;
  }

  /** What of CIDStore went into the mailbox for good. */
  base(): AccountedLog {
    return accessMailbox(() => this.line.accounted());
  }

  /** What of CIDStore the mailbox knows, own anchors included that may still be taken back. */
  known(): AccountedLog {
    const base = this.base();
    const last = this.mined().at(-1);
    return last === undefined ? base : { ...base, count: last.index + 1, head: digestOfCid(last.manifest) };
  }

  /** What the next manifest builds on. */
  tip(): Tip | null {
    return accessMailbox(() => this.mined().reduce<Tip | null>((tip, row) => this.after(tip, row), this.line.tip()));
  }

  /** Own anchors that are not ended, oldest first. Their entries follow each other, from the base's count on. */
  open(): JournalRow[] {
    return accessMailbox(() => this.journal.open());
  }

  row(id: number): JournalRow | null {
    return accessMailbox(() => this.journal.row(id));
  }

  /**
   * The next anchor: all messages that wait and are in no open one, at most `maxMessages`. Null when none do.
   * @param head CIDStore's, 32 bytes
   */
  plan(head: Uint8Array, index: number, maxMessages: number): JournalRow | null {
    return this.transaction(() => {
      const afterId = this.open().at(-1)?.lastId ?? 0;
      const waiting = this.mail.backlog(afterId, maxMessages);
      if (waiting === null) return null;
      // A crash after this leaves a plan; the next run makes the same manifest of it.
      return this.journal.row(this.journal.plan({ prev: head, index, afterId, ...waiting }));
    });
  }

  /** Whether the row's messages still wait, all of them and no others. */
  isWhole({ afterId, lastId, count }: JournalRow): boolean {
    return accessMailbox(() => this.mail.backlogCount(afterId, lastId) === count);
  }

  /**
   * A row's messages by ascending room, each room's in the order in which they came; the same each time. Nothing can be written
   * while it is read.
   */
  *delta({ afterId, lastId }: JournalRow): Generator<RoomMessages> {
    yield* accessEach(this.mail.delta(afterId, lastId));
  }

  /** The row's manifest and all that it links to is stored and pinned. @throws ANCHOR_OVERTAKEN */
  write({ id }: JournalRow, manifest: Cid): void {
    this.transaction(() => {
      this.journal.write(id, manifest);
    });
  }

  /** Where the row's transactions are written down before a node gets them. */
  attemptLog({ id }: JournalRow): AttemptLog {
    const { journal, transaction } = this;
    return {
      attempts: () => accessMailbox(() => journal.attempts(id)),
      // A crash before this returns: no node has it. After: a node may.
      record: (attempt: Attempt) => {
        transaction(() => {
          journal.submit(id, attempt);
        });
      },
      setHash: (hash) => {
        transaction(() => {
          journal.setHash(id, hash);
        });
      },
      offered: (account, nonce) => {
        const offers = accessMailbox(() => journal.offers(account, nonce)).map(({ fees }) => fees);
        return offers.length === 0
          ? null
          : offers.reduce((most, { maxFeePerGas, maxPriorityFeePerGas }) => ({
              maxFeePerGas: maxFeePerGas > most.maxFeePerGas ? maxFeePerGas : most.maxFeePerGas,
              maxPriorityFeePerGas:
                maxPriorityFeePerGas > most.maxPriorityFeePerGas ? maxPriorityFeePerGas : most.maxPriorityFeePerGas,
            }));
      },
    };
  }

  /** The chain has the row's entry in this block; its messages no longer wait. @throws ANCHOR_OVERTAKEN */
  mine({ id, afterId, lastId, index }: JournalRow, blockNumber: number): void {
    this.transaction(() => {
      this.journal.mine(id, blockNumber);
      this.mail.markBacklog(afterId, lastId, index);
    });
  }

  /** A reorg took the row's entry back; its messages wait again, and its transaction can be mined again. */
  unmine({ id, index }: JournalRow): void {
    this.transaction(() => {
      this.journal.unmine(id);
      this.mail.unmarkAnchor(index);
    });
  }

  /** The oldest open row's block is final: it goes into the base. */
  settle(row: JournalRow): void {
    const [before, tip] = accessMailbox(() => {
      const standing = this.line.tip();
      return [standing, this.after(standing, row)] as const;
    });
    this.transaction(() => {
      if (this.journal.row(row.id)?.state !== "mined" || this.line.tipAnchor()?.cid !== before?.cid) return;
      this.recordTip(tip);
      this.journal.end(row.id, "final", null);
    });
  }

  /** The base goes up to this anchor, and the line with it. */
  recordTip(tip: Tip): void {
    this.transaction(() => {
      this.line.setTip(tip);
      this.line.setAccounted({ ...this.base(), count: tip.index + 1, head: digestOfCid(tip.cid) });
    });
  }

  /** Gives the row up; its messages wait for another. */
  abandon({ id }: JournalRow, why: string): void {
    this.transaction(() => {
      this.journal.end(id, "abandoned", why);
    });
  }

  /**
   * Up to which entry the chain is still the one that the mailbox knew, −1 when it is another from the start: an anchor names
   * the one before it, so that one which is where it was speaks for all below it.
   */
  lastUnmoved(found: readonly Anchor[]): number {
    const [tip, mined] = accessMailbox(() => [this.line.tipAnchor(), this.journal.mined()] as const);
    const known = [...mined, ...(tip === null ? [] : [{ index: tip.index, manifest: tip.cid }])];
    return known.reduce(
      (last, { index, manifest }) => (found[index]?.event.cid === manifest ? Math.max(last, index) : last),
      -1,
    );
  }

  /**
   * Ends all open rows after a replay, inside its transaction: those that the chain has are accounted for by it. One whose blocks
   * nobody gives is on the chain all the same, given up before or not, and its messages must not be anchored again.
   */
  endAll(found: readonly Anchor[]): void {
    const onChain = new Set<Cid>();
    for (const { event, verdict } of found) {
      if (event.cid === null || verdict.status === "rejected") continue;
      onChain.add(event.cid);
      const row = verdict.status === "missing" ? this.journal.ofManifest(event.cid) : null;
      if (row !== null) this.mail.markBacklog(row.afterId, row.lastId, event.index);
    }
    for (const { id, manifest } of this.open()) {
      if (manifest !== null && onChain.has(manifest)) this.journal.end(id, "adopted", null);
      else this.journal.end(id, "abandoned", "the chain has gone another way");
    }
  }

  /** A replay has looked for all content, and lacks some or none. */
  recordLook(nowMs: number, hasAll: boolean): void {
    accessMailbox(() => this.looks.record(nowMs, hasAll));
  }

  /** Whether content that was missing is worth another look: the pauses double, from a minute to an hour. */
  isDueToLookAgain(nowMs: number): boolean {
    return accessMailbox(() => this.looks.isDue(nowMs));
  }

  private mined(): (JournalRow & { readonly manifest: Cid })[] {
    return this.open().filter((row): row is JournalRow & { manifest: Cid } => row.state === "mined");
  }

  private after(tip: Tip | null, { index, manifest }: JournalRow): Tip {
    if (manifest === null) throw new DmtpError("INTERNAL", `anchor ${index} of the journal has no manifest`);
    const state = (tip?.state ?? State.EMPTY).after(this.mail.anchoredDelta(index), index);
    return { index, cid: manifest, seq: tip === null ? 0 : tip.seq + 1, state };
  }
}
