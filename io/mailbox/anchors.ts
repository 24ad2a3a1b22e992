/**
 * The mailbox's own anchors, and what they make of the line of manifests: its base, which is final or was replayed, and on it
 * the open anchors of the journal. A reorg takes open ones back, and the base stays as it is.
 */
import type { Database } from "better-sqlite3";

import { digestOfCid, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { AnchorEvent } from "../../protocol/event.ts";
import type { Tip } from "../../protocol/manifest.ts";
import { State, type RoomMessages } from "../../protocol/state.ts";
import { VERIFIED, type Verdict } from "../../protocol/verdict.ts";
import type { Attempt, AttemptLog } from "../chain/transactions/attempt.ts";
import { accessEach, accessMailbox } from "./access.ts";
import type { Backlog } from "./backlog.ts";
import type { ChainLog } from "./chain-log.ts";
import { Journal, type JournalRow } from "./journal.ts";
import type { AccountedLog, Line } from "./line.ts";
import { Looks } from "./looks.ts";
import type { OwnEntryJudge } from "./own-entry-judge.ts";

/** Runs work alone and keeps all of it, or nothing. */
export type Transaction = <T>(work: () => T) => T;

/** Every method may throw DATABASE_DAMAGED, DATABASE_BUSY, and DATABASE_WRITE_FAILED when it writes. */
export class Anchors {
  private readonly journal: Journal;
  private readonly line: Line;
  private readonly backlog: Backlog;
  private readonly log: ChainLog;
  private readonly judge: OwnEntryJudge;
  private readonly looks: Looks;
  private readonly transaction: Transaction;

  constructor(
    database: Database,
    line: Line,
    backlog: Backlog,
    log: ChainLog,
    judge: OwnEntryJudge,
    transaction: Transaction,
  ) {
    this.journal = new Journal(database);
    this.line = line;
    this.backlog = backlog;
    this.log = log;
    this.judge = judge;
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

  /** Which anchor that is; null when there is none. */
  tipIndex(): number | null {
    return this.mined().at(-1)?.index ?? accessMailbox(() => this.line.tipAnchor()?.index ?? null);
  }

  /** The anchors above the tip whose content was missing at the last replay: what they list is not known. */
  missingAboveTip(): AnchorEvent[] {
    return this.log.missingAbove(this.tipIndex() ?? -1);
  }

  /** Own anchors that are not ended, oldest first. Their entries follow each other, from the base's count on. */
  open(): JournalRow[] {
    return accessMailbox(() => this.journal.open());
  }

  row(id: number): JournalRow | null {
    return accessMailbox(() => this.journal.row(id));
  }

  /**
   * The next anchor: all messages that wait and can be anchored now, at most `maxMessages`. Null when there are none.
   * @param head CIDStore's, 32 bytes
   */
  plan(head: Uint8Array, index: number, maxMessages: number): JournalRow | null {
    return this.transaction(() => {
      const held = this.judge.heldPairs().map(({ id }) => id);
      // A crash after this leaves a plan; the next run makes the same manifest of it.
      return this.journal.plan({ prev: head, index }, (id) => this.backlog.list(id, held, maxMessages));
    });
  }

  /** Whether the row's messages still wait, all of them. */
  isWhole({ id, count }: JournalRow): boolean {
    return accessMailbox(() => this.backlog.waitingOf(id) === count);
  }

  /**
   * A row's messages by ascending room, each room's in the order in which they came; the same each time. Nothing can be written
   * while it is read.
   */
  *delta({ id }: JournalRow): Generator<RoomMessages> {
    yield* accessEach(this.backlog.delta(id));
  }

  /** The row's manifest and all that it links to is stored and pinned. @throws MAILBOX_OVERTAKEN */
  write({ id }: JournalRow, manifest: Cid): void {
    this.transaction(() => {
      this.journal.write(id, manifest);
    });
  }

  /** Where the row's transactions are written down before a node gets them. */
  attemptLog({ id }: JournalRow): AttemptLog {
    const { journal, transaction } = this;
    return {
      attempts: () => accessMailbox(() => journal.attempts.of(id)),
      // A crash before this returns: no node has it. After: a node may.
      record: (attempt: Attempt) => {
        transaction(() => {
          journal.submit(id, attempt);
        });
      },
      setHash: (hash) => {
        transaction(() => {
          journal.attempts.setHash(id, hash);
        });
      },
      offered: (account, nonce) => accessMailbox(() => journal.attempts.offered(account, nonce)),
    };
  }

  /** The chain has the row's entry in this block. What became of its messages is decided by {@link follow}. @throws MAILBOX_OVERTAKEN */
  mine({ id }: JournalRow, blockNumber: number): void {
    this.transaction(() => {
      this.journal.mine(id, blockNumber);
    });
  }

  /**
   * Brings own open anchors up to the log: those that it has are mined, and the verdicts on their messages are given by the registry;
   * those that it does not have wait to be mined again, and so do their messages.
   * @returns whether own anchors explain all that was logged since the base: null when they do not, and only a replay can tell
   */
  follow(): "current" | "journal" | null {
    return this.transaction(() => {
      const { count } = this.base();
      const logged = this.log.counts().anchors;
      if (count > 0 && !this.log.isAccounted(count - 1)) return null;
      const rows = this.open();
      const own = rows.slice(0, Math.max(0, logged - count));
      if (logged !== count + own.length) return null;
      const events = own.map(({ index }, i) => (index === count + i ? this.log.anchor(index) : null));
      if (!own.every((row, i) => row.manifest !== null && row.manifest === events[i]?.cid)) return null;
      // A manifest that was anchored before is rejected as a repetition.
      if (own.some(({ index, manifest }) => manifest !== null && this.log.indexOf(manifest) !== index)) return null;
      let result: "current" | "journal" = "current";
      for (const [i, row] of rows.entries()) {
        const event = events[i] ?? null;
        if (event !== null && this.log.isAccounted(event.index) && row.blockNumber === event.blockNumber) continue;
        if (event === null && row.state !== "mined") continue;
        result = "journal";
        this.backlog.unmark(row.index);
        if (event === null) this.journal.unmine(row.id);
        else this.mineLogged(row, event);
      }
      return result;
    });
  }

  /** The oldest open row's block is final: it goes into the base. The verdicts on its messages must be known. */
  finalize(row: JournalRow): void {
    const [before, tip] = accessMailbox(() => {
      const standing = this.line.tip();
      return [standing, this.after(standing, row)] as const;
    });
    this.transaction(() => {
      if (!this.isJudged(row) || this.line.tipAnchor()?.cid !== before?.cid) return;
      this.recordTip(tip);
      this.journal.end(row.id, "final", null);
    });
  }

  /** Whether the row's entry is in the log, and the verdicts on its messages are known. */
  isJudged({ id }: JournalRow): boolean {
    return accessMailbox(() => {
      const row = this.journal.row(id);
      return (
        row?.state === "mined" && this.log.anchor(row.index)?.cid === row.manifest && this.log.isAccounted(row.index)
      );
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
   * Ends all open rows after a replay, inside its transaction: those that the chain has are accounted for by it. One whose blocks
   * nobody gives is on the chain all the same, given up before or not: its messages are judged without them.
   */
  endAll(found: readonly { readonly event: AnchorEvent; readonly verdict: Verdict }[]): void {
    const onChain = new Set<Cid>();
    for (const { event, verdict } of found) {
      if (event.cid === null || verdict.status === "rejected") continue;
      onChain.add(event.cid);
      const row = verdict.status === "missing" ? this.journal.ofManifest(event.cid) : null;
      if (row !== null) this.judge.judge(row.id, event);
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

  private mineLogged(row: JournalRow, event: AnchorEvent): void {
    this.journal.mine(row.id, event.blockNumber);
    this.judge.judge(row.id, event);
    this.log.account(event.index, VERIFIED);
  }

  private after(tip: Tip | null, { id, index, manifest }: JournalRow): Tip {
    if (manifest === null) throw new DmtpError("INTERNAL", `anchor ${index} of the journal has no manifest`);
    const state = (tip?.state ?? State.EMPTY).after(this.backlog.delta(id), index);
    return { index, cid: manifest, seq: tip === null ? 0 : tip.seq + 1, state };
  }
}
