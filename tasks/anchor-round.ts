/**
 * Steps 8 and 9 of the flow, so that they can be broken off anywhere: all messages that wait become a manifest, its blocks are
 * stored and pinned, and its digest goes on chain. What is about to be done stands in the mailbox's journal before it is.
 */
import { join } from "node:path";

import { catchUp, finalizeOwn, type Standing } from "../io/catch-up.ts";
import type { Account } from "../io/chain/transactions/account.ts";
import { anchorCall, anchoredIndex, readAnchorer } from "../io/chain/transactions/anchor-call.ts";
import { readReceipt, type MinedTransaction } from "../io/chain/transactions/receipt.ts";
import type { JournalRow } from "../io/mailbox/journal.ts";
import { lockProcess } from "../io/process-lock.ts";
import { checksummed } from "../protocol/address.ts";
import { equal } from "../protocol/bytes.ts";
import { digestOfCid, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { checkBase } from "./anchor-base.ts";
import { nextRow, storeManifest, type StoredManifest } from "./anchor-draft.ts";
import type { AnchorOptions } from "./anchor-options.ts";
import { AnchorWait } from "./anchor-wait.ts";
import type { Session } from "./session.ts";
import { submitCall } from "./submit-call.ts";

/** A manifest that this run brought onto the chain. */
export interface Anchored {
  readonly index: number;
  readonly messages: number;
  readonly manifest: StoredManifest;
  /** Whether an earlier run began it. */
  readonly resumed: boolean;
  /** The anchors below it that were given up, since no source has their content. */
  readonly past: readonly number[];
  readonly transaction: MinedTransaction;
}

interface RoundResult {
  /** Why it ended before all was anchored; only given when something was: else it is thrown. */
  readonly error?: DmtpError;
  readonly anchored: readonly Anchored[];
  /** Who paid; null when there was nothing to do. */
  readonly account: Account | null;
}

/** How often a run starts over because the chain went another way. */
const MAX_TURNS = 5;
const TURN_PAUSE_MS = 500;

/**
 * Anchors everything that waits; with nothing to do it costs nothing.
 * @throws ANCHOR_RUNNING, NOT_ANCHORER, FEE_TOO_HIGH, FUNDS_INSUFFICIENT, HEAD_MOVED, TRANSACTION_PENDING, TRANSACTION_FAILED,
 *   CONTENT_MISSING, CONTENT_WRITE_FAILED, and what ChainClient and Mailbox throw
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
  /** Whether the next look at the chain looks for all content that is missing. */
  private isForced = false;
  private past: readonly number[] = [];
  private turns = 0;
  private readonly waiting: AnchorWait;
  /** Manifests of anchors that are on the chain, of which this run stored the blocks. */
  private readonly restored = new Set<Cid>();

  constructor(session: Session, options: AnchorOptions, signal: AbortSignal | undefined) {
    this.session = session;
    this.options = options;
    this.signal = signal;
    this.waiting = new AnchorWait(session, options, signal, () => this.lookAtChain());
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
      if (transaction !== null) anchored.set(id, this.describe(row, manifest, transaction));
    }
  }

  /** Looks at the chain, and does what is due. @returns whether nothing is left to do */
  private async step(anchored: Map<number, Anchored>): Promise<boolean> {
    let standing: Standing;
    const hasLooked = this.isForced;
    try {
      standing = await this.lookAtChain(hasLooked);
    } catch (error) {
      if (!isOvertaken(error)) throw error;
      await this.turn();
      return false;
    }
    const base = await checkBase(this.session, standing, this.options, {
      hasLooked: hasLooked || standing.by === "replay",
      restored: this.restored,
    });
    this.isForced = base.status === "look again";
    if (base.status === "look again") return false;
    this.past = base.past;
    const row = nextRow(this.session, standing, this.options);
    if (row === null) {
      if (!(await this.waiting.confirmOpen())) {
        await this.turn();
        return false;
      }
      const ids = [...anchored.keys(), ...this.session.mailbox.anchors.open().map(({ id }) => id)];
      if (this.options.waitFinal) await this.waiting.waitUntilFinal(new Set(ids));
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

  private async lookAtChain(isForced = false): Promise<Standing> {
    const { mailbox, reader, content, now } = this.session;
    const standing = await catchUp(mailbox, reader, content, { now, isForced });
    finalizeOwn(mailbox, standing);
    return standing;
  }

  /** Null: the chain has gone another way, or another command has; the next look at it shows where. */
  private async anchor(row: JournalRow, standing: Standing): Promise<Anchored | null> {
    const { session } = this;
    const { mailbox, deployment } = session;
    const account = (this.account ??= await findAnchorer(session, this.options, standing));
    const manifest = await storeManifest(session, row);
    if (manifest === null) return null;
    const repeated = mailbox.log.indexOf(manifest.cid);
    if (repeated !== null) {
      // It would be rejected as a repetition; with its blocks, which are stored now, the next look finds what the first one lists.
      mailbox.anchors.abandon(row, `anchor ${repeated} has the same manifest`);
      this.isForced = true;
      return null;
    }
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
      return (await this.waiting.confirm(row)) ? this.describe(row, manifest, transaction) : null;
    } catch (error) {
      if (isOvertaken(error)) return null;
      throw error;
    }
  }

  private describe(row: JournalRow, manifest: StoredManifest, transaction: MinedTransaction): Anchored {
    const { index, count, state } = row;
    return { index, messages: count, manifest, resumed: state !== "planned", past: this.past, transaction };
  }

  /** @throws TRANSACTION_FAILED for a revert that a moved head does not explain: it was paid for, and would be again */
  private async submit(account: Account, row: JournalRow, manifest: Cid): Promise<MinedTransaction | null> {
    const { mailbox, deployment, reader } = this.session;
    const { limits, timeoutMs } = this.options;
    const call = anchorCall(deployment, row.prev, digestOfCid(manifest));
    const attempts = mailbox.anchors.attemptLog(row);
    const mined = await submitCall(this.session, { account, call, attempts, limits, timeoutMs, signal: this.signal });
    if (mined?.isReverted !== true) return mined;
    const { head } = await reader.entryHead();
    if (!equal(head, row.prev)) return null;
    throw new DmtpError("TRANSACTION_FAILED", `transaction ${mined.hash} was reverted, and the head has not moved`);
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

/** Another command has read the chain in between, and knows more of it. */
function isOvertaken(error: unknown): boolean {
  return error instanceof DmtpError && error.code === "MAILBOX_OVERTAKEN";
}
