/**
 * Steps 8 and 9 of the flow, so that they can be broken off anywhere: all messages that wait become a manifest, its blocks are
 * stored and pinned, and its digest goes on chain. What is about to be done stands in the mailbox's journal before it is.
 */
import { join } from "node:path";

import { catchUp, settleFinal, type Standing } from "../io/catch-up.ts";
import type { Account } from "../io/chain/account.ts";
import { anchorCall, anchoredIndex, readAnchorer } from "../io/chain/anchor-call.ts";
import { readReceipt, type MinedTransaction } from "../io/chain/receipt.ts";
import { isPassing, Submission } from "../io/chain/submission.ts";
import type { JournalRow } from "../io/mailbox/journal.ts";
import { lockProcess } from "../io/process-lock.ts";
import { checksummed } from "../protocol/address.ts";
import { equal } from "../protocol/bytes.ts";
import { digestOfCid, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { MAX_MESSAGES } from "../protocol/manifest.ts";
import { storeManifest, type StoredManifest } from "./anchor-draft.ts";
import type { AnchorOptions } from "./anchor-options.ts";
import type { Session } from "./session.ts";

/** A manifest that this run brought onto the chain. */
export interface Anchored {
  readonly index: number;
  readonly messages: number;
  readonly manifest: StoredManifest;
  /** Whether an earlier run began it. */
  readonly resumed: boolean;
  readonly transaction: MinedTransaction;
}

export interface RoundResult {
  /** Why it ended before all was anchored; only given when something was: else it is thrown. */
  readonly error?: DmtpError;
  readonly anchored: readonly Anchored[];
  /** Who paid; null when there was nothing to do. */
  readonly account: Account | null;
}

/** How often a run starts over because the chain went another way. */
const MAX_TURNS = 5;
const TURN_PAUSE_MS = 500;
const POLL_MS = 1_000;

/**
 * Anchors everything that waits; with nothing to do it costs nothing.
 * @throws ANCHOR_RUNNING, NOT_ANCHORER, FEE_TOO_HIGH, FUNDS_INSUFFICIENT, HEAD_MOVED, TRANSACTION_PENDING, TRANSACTION_FAILED,
 *   CONTENT_MISSING, CONTENT_WRITE_FAILED, and what ChainReader and Mailbox throw
 */
export async function anchorRound(
  session: Session,
  options: AnchorOptions,
  signal?: AbortSignal,
): Promise<RoundResult> {
  const lock = lockProcess(join(session.folder, "anchor.lock"));
  if (lock === null) throw new DmtpError("ANCHOR_RUNNING", "another anchor of this mailbox is running");
  try {
    return await new Round(session, options, signal).run();
  } finally {
    lock.release();
  }
}

/** The row to go on with, or a new one for what waits; null when nothing does. */
export function nextRow({ mailbox: { anchors } }: Session, { head, count }: Standing): JournalRow | null {
  for (const row of anchors.open()) {
    if (row.state === "mined") continue;
    if (row.index === count && equal(row.prev, head)) return row;
    anchors.abandon(row, "the head that it builds on is gone");
  }
  return anchors.plan(head, count, MAX_MESSAGES);
}

/** The anchorer's account, before anything is done in its name. @throws NOT_ANCHORER, ACCOUNT_UNKNOWN */
export async function findAnchorer(session: Session, { from }: AnchorOptions, { at }: Standing): Promise<Account> {
  const chosen = await session.account(from);
  const anchorer = await readAnchorer(session.reader, at.block.number);
  if (chosen.address === anchorer) return chosen;
  throw new DmtpError("NOT_ANCHORER", `only ${checksummed(anchorer)} may anchor, not ${checksummed(chosen.address)}`);
}

class Round {
  private readonly session: Session;
  private readonly options: AnchorOptions;
  private readonly signal: AbortSignal | undefined;
  /** What this run worked on. */
  private readonly begun = new Map<number, { readonly row: JournalRow; readonly manifest: StoredManifest }>();
  private account: Account | null = null;
  private turns = 0;

  constructor(session: Session, options: AnchorOptions, signal: AbortSignal | undefined) {
    this.session = session;
    this.options = options;
    this.signal = signal;
  }

  async run(): Promise<RoundResult> {
    // By row: one that a reorg took back, or that a lagging node did not have yet, is reported once.
    const anchored = new Map<number, Anchored>();
    let failure: DmtpError | undefined;
    try {
      while (!(await this.step(anchored)));
    } catch (error) {
      // What is anchored is told in any case.
      if (anchored.size === 0 || !(error instanceof DmtpError)) throw error;
      failure = error;
    }
    await this.recall(anchored);
    for (const id of anchored.keys()) {
      if (this.session.mailbox.anchors.row(id)?.state === "abandoned") anchored.delete(id);
    }
    if (failure !== undefined && anchored.size === 0) throw failure;
    return {
      anchored: [...anchored.values()],
      account: this.account,
      ...(failure !== undefined && { error: failure }),
    };
  }

  /** Adds what this run had mined and only a look at the chain told it of: the answer of the node was lost. */
  private async recall(anchored: Map<number, Anchored>): Promise<void> {
    const { mailbox, rpc } = this.session;
    for (const [id, { row, manifest }] of this.begun) {
      const state = mailbox.anchors.row(id)?.state ?? "abandoned";
      if (anchored.has(id) || !["mined", "final", "adopted"].includes(state)) continue;
      const event = mailbox.log.anchor(row.index);
      if (event?.cid !== manifest.cid) continue;
      const transaction = await readReceipt(rpc, event.transactionHash);
      if (transaction !== null) anchored.set(id, describeRow(row, manifest, transaction));
    }
  }

  /** Looks at the chain, and does what is due. @returns whether nothing is left to do */
  private async step(anchored: Map<number, Anchored>): Promise<boolean> {
    let standing: Standing;
    try {
      standing = await this.lookAtChain();
    } catch (error) {
      if (!isOvertaken(error)) throw error;
      await this.turn();
      return false;
    }
    const row = nextRow(this.session, standing);
    if (row === null) {
      if (!(await this.confirmOpen())) {
        await this.turn();
        return false;
      }
      const ids = [...anchored.keys(), ...this.session.mailbox.anchors.open().map(({ id }) => id)];
      if (this.options.waitFinal) await this.waitUntilFinal(new Set(ids));
      return true;
    }
    const result = await this.anchor(row, standing);
    if (result === null) await this.turn();
    else {
      anchored.set(row.id, result);
      this.turns = 0;
    }
    return false;
  }

  private async lookAtChain(): Promise<Standing> {
    const { mailbox, reader, content, now } = this.session;
    const standing = await catchUp(mailbox, reader, content, { now });
    settleFinal(mailbox, standing);
    return standing;
  }

  /** Null: the chain has gone another way, or another command has; the next look at it shows where. */
  private async anchor(row: JournalRow, standing: Standing): Promise<Anchored | null> {
    const { session } = this;
    const { mailbox, deployment } = session;
    const account = (this.account ??= await findAnchorer(session, this.options, standing));
    const manifest = await storeManifest(session, row);
    if (manifest === null) return null;
    this.begun.set(row.id, { row, manifest });
    try {
      mailbox.anchors.write(row, manifest.cid);
      const transaction = await this.submit(account, row, manifest.cid);
      if (transaction === null) return null;
      const index = anchoredIndex(deployment, transaction, manifest.cid);
      if (index !== row.index) {
        throw new DmtpError("CHAIN_DISAGREES", `anchor ${row.index} was mined as ${index ?? "nothing"}`);
      }
      // A crash before this leaves a transaction that the journal knows; the next run finds its entry on the chain.
      mailbox.anchors.mine(row, transaction.blockNumber);
      return (await this.confirm(row)) ? describeRow(row, manifest, transaction) : null;
    } catch (error) {
      if (isOvertaken(error)) return null;
      throw error;
    }
  }

  /** @throws TRANSACTION_FAILED for a revert that a moved head does not explain: it was paid for, and would be again */
  private async submit(account: Account, row: JournalRow, manifest: Cid): Promise<MinedTransaction | null> {
    const { mailbox, deployment, rpc, reader, terminal, pause, elapsedMs } = this.session;
    const { limits, timeoutMs } = this.options;
    const call = anchorCall(deployment, row.prev, digestOfCid(manifest));
    const submitted = await new Submission(rpc, account, call, mailbox.anchors.attemptLog(row), {
      limits,
      timeoutMs,
      pause,
      elapsedMs,
      signal: this.signal,
      onProgress: (text) => terminal.progress(text),
      onNote: (text) => terminal.note(`warning: ${text}`),
    }).run();
    if (submitted.status === "overtaken") return null;
    const { mined } = submitted;
    if (!mined.isReverted) return mined;
    const { head } = await reader.entryHead();
    if (!equal(head, row.prev)) return null;
    throw new DmtpError("TRANSACTION_FAILED", `transaction ${mined.hash} was reverted, and the head has not moved`);
  }

  /** Whether the row's entry lies as deep as was asked for; false when a reorg took it back meanwhile. */
  private async confirm(row: JournalRow): Promise<boolean> {
    const { mailbox } = this.session;
    if (this.options.confirmations <= 1) return true;
    return this.until(`anchor ${row.index} has not ${this.options.confirmations} confirmations`, async () => {
      const standing = await this.lookAtChain();
      const now = mailbox.anchors.row(row.id);
      if (now === null || ["submitted", "abandoned"].includes(now.state)) return false;
      const event = mailbox.log.anchor(now.index);
      if (event?.cid !== now.manifest) return null;
      return standing.at.block.number - event.blockNumber + 1 >= this.options.confirmations ? true : null;
    });
  }

  /** The same for those that an earlier run anchored, and did not see lie deep enough. */
  private async confirmOpen(): Promise<boolean> {
    for (const row of this.session.mailbox.anchors.open()) if (!(await this.confirm(row))) return false;
    return true;
  }

  /** Waits until these rows' anchors can't be taken back any more. @throws HEAD_MOVED when one was */
  private async waitUntilFinal(ids: Iterable<number>): Promise<void> {
    const { mailbox } = this.session;
    await this.until("the last anchor is not final", async () => {
      const standing = await this.lookAtChain();
      for (const id of ids) {
        const row = mailbox.anchors.row(id);
        if (row === null || !["mined", "final", "adopted"].includes(row.state)) {
          throw new DmtpError("HEAD_MOVED", "a reorg took an anchor back while it was waited for");
        }
        if (row.state === "final") continue;
        // A replay ends a row when it finds it, final or not.
        const index = row.manifest === null ? null : mailbox.log.indexOf(row.manifest);
        const event = index === null ? null : mailbox.log.anchor(index);
        if (event === null || event.blockNumber > standing.at.finalized) return null;
      }
      return true;
    });
  }

  /** Asks again and again. @throws TRANSACTION_PENDING when the time is up */
  private async until<T>(what: string, ask: () => Promise<T | null>): Promise<T> {
    const { pause, elapsedMs, terminal } = this.session;
    const startedAtMs = elapsedMs();
    for (;;) {
      let answer: T | null = null;
      let trouble: DmtpError | null = null;
      try {
        answer = await ask();
      } catch (error) {
        if (!isPassing(error)) throw error;
        trouble = error;
      }
      if (answer !== null) return answer;
      const waitedMs = elapsedMs() - startedAtMs;
      if (waitedMs >= this.options.timeoutMs || this.signal?.aborted === true) {
        throw trouble ?? new DmtpError("TRANSACTION_PENDING", `${what} after ${Math.round(waitedMs / 1_000)} s`);
      }
      terminal.progress(`${what} yet, ${Math.round(waitedMs / 1_000)} s`);
      await pause(POLL_MS, this.signal);
    }
  }

  /** @throws HEAD_MOVED */
  private async turn(): Promise<void> {
    this.turns += 1;
    if (this.turns >= MAX_TURNS) {
      throw new DmtpError("HEAD_MOVED", `the chain went another way ${MAX_TURNS} times; the messages wait`);
    }
    if (this.signal?.aborted === true)
      throw new DmtpError("TRANSACTION_PENDING", "the anchor was left to the next run");
    await this.session.pause(TURN_PAUSE_MS * this.turns, this.signal);
  }
}

function describeRow(row: JournalRow, manifest: StoredManifest, transaction: MinedTransaction): Anchored {
  return { index: row.index, messages: row.count, manifest, resumed: row.state !== "planned", transaction };
}

/** Another command has read the chain in between, and knows more of it. */
function isOvertaken(error: unknown): boolean {
  return error instanceof DmtpError && error.code === "ANCHOR_OVERTAKEN";
}
