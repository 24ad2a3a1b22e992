/**
 * Follows the chain: takes new blocks from the cursor on, notices a reorg, and never takes one for what it is not.
 *
 * What the chain client gives is whole and of one chain; here it is held against what the index has.
 */
import type { Block } from "../io/chain/rpc/parsed-answer.ts";
import type { ChainView } from "../io/chain/agreement/chain-view.ts";
import type { ChainClient } from "../io/chain/client.ts";
import { checkLastAnchor, findGap, getGap, incomplete, type Gap } from "../io/chain/events/missing-events.ts";
import type { ChainHead } from "../io/chain/agreement/chain-view.ts";
import type { Checkpoint } from "../io/chain/agreement/node-view.ts";
import type { BlockRange } from "../io/chain/events/block-range.ts";
import type { Log } from "../io/log.ts";
import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainEvent, Contract } from "../protocol/event.ts";
import { SYSTEM_CLOCK, type Clock } from "./clock.ts";
import { FinalityWatch } from "./finality-watch.ts";
import type { History } from "./history.ts";
import { Pace, type Outcome } from "./pace.ts";
import { commonAncestor, relationTo, type Relation } from "./relation.ts";

/** What of the chain client is used. */
export type Chain = Pick<
  ChainClient,
  "identity" | "deployment" | "startBlock" | "fetchView" | "block" | "prove" | "ranges"
> &
  Partial<Pick<ChainClient, "subscribe" | "endpoints">>;

/** What a look at the chain led to: `again` when there is more to do right now. */
type Turn = "again" | "current" | "behind";

export interface FollowerOptions {
  readonly chain: Chain;
  readonly history: History;
  readonly pollIntervalMs: number;
  readonly log: Log;
  /** The blocks among those that these events name which are available locally. Never rejects, and is waited for only a short time. */
  readonly readLocal?: (events: readonly ChainEvent[]) => Promise<ReadonlyMap<Cid, Uint8Array>>;
  /** Called after every change. @param isAtHead whether it was what the chain had added since it was last read to its head */
  readonly onChange: (isAtHead: boolean) => void;
  readonly random?: () => number;
  readonly clock?: Clock;
}

export class Follower {
  /** The chain as last seen. */
  head: ChainHead | null = null;
  /** Whether the last look found nothing more to read; does not turn false only because the node is behind. */
  isCurrent = false;
  /** Whether most of the nodes that were given say what the last look found. */
  isConfirmed = true;
  /** What keeps the cursor from moving; null while it moves. */
  problem: DmtpError | null = null;
  /** When the loop last finished a look, and when one last succeeded: milliseconds of its clock. */
  turnedAtMs: number;
  succeededAtMs: number | null = null;
  private readonly options: FollowerOptions;
  private readonly clock: Clock;
  private readonly stopped = new AbortController();
  private readonly pace: Pace;
  private readonly finality: FinalityWatch;
  /** Where each contract's last gap showed that the cursor was set back for since the index was last current. */
  private readonly gaps = new Map<Contract, number>();
  /** What is read in one go has to reach that far for a gap in it to show and be filled. */
  private reach = 0;

  constructor(options: FollowerOptions) {
    this.options = options;
    this.clock = options.clock ?? SYSTEM_CLOCK;
    this.turnedAtMs = this.clock.now();
    const { pollIntervalMs, random = Math.random } = options;
    this.pace = new Pace({ intervalMs: pollIntervalMs, random, clock: this.clock });
    this.finality = new FinalityWatch(this.clock, options.log);
  }

  /** How long it rests at most between two looks that succeed. */
  get pollIntervalMs(): number {
    return this.options.pollIntervalMs;
  }

  /** How long finality has stood still while the chain went on; null while it does not. */
  get finalityStalledMs(): number | null {
    return this.finality.stalledMs;
  }

  /** What is doubtful about what the chain calls final now; null for nothing. */
  get finalityAlarm(): string | null {
    return this.finality.alarm;
  }

  /** Runs until stopped; never rejects. */
  async run(): Promise<void> {
    const unsubscribe = this.options.chain.subscribe?.(() => this.pace.tell()) ?? null;
    while (!this.isStopped()) {
      const outcome = await this.attempt();
      this.turnedAtMs = this.clock.now();
      await this.pace.rest(outcome);
    }
    unsubscribe?.();
  }

  /** What is still under way ends without touching the history. */
  stop(): void {
    this.stopped.abort();
    this.pace.stop();
  }

  /** One look at the chain, and what it leads to. */
  async turn(): Promise<Turn> {
    const { chain, history } = this.options;
    const checkpoint = this.checkpoint();
    this.pace.begin();
    const view = await chain.fetchView(checkpoint);
    if (this.isStopped()) return "behind";
    this.head = view;
    this.takeConfirmation(view);
    if (view.isConfirmed && history.log.unconfirmedFrom !== null) {
      history.withdrawUnconfirmed();
      this.isCurrent = false;
      return "again";
    }
    const relation = await relationTo(chain, history.log, view);
    if (this.isStopped()) return "behind";
    try {
      return await this.follow(view, relation, checkpoint);
    } catch (error) {
      const gap = getGap(error);
      if (gap !== null && !this.isStopped()) this.rewind(gap);
      throw error;
    }
  }

  private async follow(view: ChainView, relation: Relation, checkpoint: Checkpoint | null): Promise<Turn> {
    const { chain, history, log } = this.options;
    switch (relation) {
      case "behind":
        this.problem = null;
        return "behind";
      case "same":
        history.finalize(view.finalized, view.finalizedBlock);
        // A range ended there whose counts no node had, or a step back did: at a head they are there.
        if (checkpoint !== null && history.log.cursor?.isProved !== true) {
          await chain.prove(checkpoint);
          if (this.isStopped()) return "behind";
          history.prove();
        }
        return this.becomeCurrent();
      case "contradicts": {
        const ancestor = await commonAncestor(chain, history.log, view);
        if (this.isStopped()) return "behind";
        // The node still has the cursor's block: its head and what lies below it came from two chains.
        if (ancestor !== null && ancestor.hash === history.log.cursor?.hash) return "behind";
        log(`reorg: back from block ${history.log.cursor?.number ?? "none"} to ${ancestor?.number ?? "the start"}`);
        history.reorganize(ancestor);
        this.isCurrent = false;
        this.gaps.clear();
        this.reach = 0;
        this.options.onChange(this.isCurrent);
        return "again";
      }
      case "ahead":
        return this.advance(view, checkpoint);
    }
  }

  /** One look at the chain, and what the next has to wait for. Never rejects. */
  private async attempt(): Promise<Outcome> {
    const { history, log } = this.options;
    try {
      const before = history.log.cursor;
      const turn = await this.turn();
      this.succeededAtMs = this.clock.now();
      if (turn !== "again" && this.pace.isFailing) log("the chain is followed again");
      if (turn !== "again") return turn;
      // Only progress is followed at once: a node that contradicts itself is not asked in a loop without rest.
      return history.log.cursor?.hash === before?.hash ? "unchanged" : "progress";
    } catch (error) {
      if (this.isStopped()) return "failure";
      const problem = this.problemOf(error);
      if (problem.message !== this.problem?.message) {
        const isDefect = !(error instanceof DmtpError);
        log(problem.message, { level: "error", code: problem.code, ...(isDefect && { cause: error }) });
      }
      this.problem = problem;
      return "failure";
    }
  }

  private checkpoint(): Checkpoint | null {
    const { log, counts } = this.options.history;
    const { cursor } = log;
    return cursor === null ? null : { number: cursor.number, hash: cursor.hash, counts };
  }

  /** Takes what lies between the cursor and the head, range by range. */
  private async advance(view: ChainView, checkpoint: Checkpoint | null): Promise<Turn> {
    const { chain, history } = this.options;
    const { next, block: head } = view;
    const isNext = next !== null && (checkpoint === null || next.first.parentHash === checkpoint.hash);
    if (isNext && findGap(next, checkpoint?.counts ?? { anchors: 0, keys: 0 }) === null) {
      await this.take(next, view, await this.options.readLocal?.(next.events));
      if (this.isStopped()) return "behind";
      if (next.last.number === head.number) return this.becomeCurrent();
    }
    this.isCurrent = false;
    for await (const range of chain.ranges(this.checkpoint(), head, this.reach)) {
      if (this.isStopped()) return "behind";
      await this.take(range, view);
      if (this.isStopped()) return "behind";
    }
    return history.log.cursor?.hash === head.hash ? this.becomeCurrent() : "again";
  }

  private async take(
    range: BlockRange,
    { finalized, finalizedBlock, isConfirmed }: ChainView,
    blocks?: ReadonlyMap<Cid, Uint8Array>,
  ): Promise<void> {
    const { history, onChange } = this.options;
    checkLastAnchor(range, history.log.lastAnchor);
    await this.refuseLoss(range);
    if (this.isStopped()) return;
    const { events, last, counts } = range;
    const { number, hash, timestamp } = last;
    const cursor = { number, hash, timestamp, isProved: counts !== null };
    history.extend({ events, cursor, finalized, finalizedBlock, isConfirmed, blocks });
    // A gap is only known to be closed at the head, where the contracts count.
    if (this.problem?.code !== "CHAIN_INCOMPLETE") this.problem = null;
    this.turnedAtMs = this.clock.now();
    onChange(this.isCurrent);
    // Between two ranges, HTTP gets its turn.
    await new Promise(setImmediate);
  }

  private takeConfirmation(view: ChainView): void {
    const { log } = this.options;
    if (view.isConfirmed !== this.isConfirmed) {
      if (view.isConfirmed) log("most nodes answer again; what the others said meanwhile is read again");
      else log("fewer nodes answer than have to agree: nothing more is final", { level: "warning" });
    }
    this.isConfirmed = view.isConfirmed;
    if (view.isConfirmed) this.finality.see(view);
  }

  /** A block that is read again, unchanged, has the events that it had: a node that has none of them now is not believed. */
  private async refuseLoss({ first, last, events }: BlockRange): Promise<void> {
    const { chain, history } = this.options;
    const orphans = history.log.orphansBetween(first.number, last.number);
    if (orphans.length === 0) return;
    const given = new Set(events.map(({ blockHash, logIndex }) => `${blockHash} ${logIndex}`));
    for (const { number, hash, logIndex, contract } of orphans) {
      if (given.has(`${hash} ${logIndex}`)) continue;
      const isKnown = number === first.number ? first : number === last.number ? last : null;
      const block: Block | null = isKnown ?? (await chain.block(number));
      if (block?.hash !== hash) continue;
      // Who reads further finds the events behind it, or at the head what the contracts count, and then asks for this one alone.
      this.reach = Math.max(this.reach, last.number + (last.number - first.number + 1));
      throw incomplete(contract, false, number, last.number);
    }
  }

  /** Sets the cursor back to where the contract's events are known to be whole, once for each gap. */
  private rewind({ contract, isBefore, upTo }: Gap): void {
    const { chain, history, onChange } = this.options;
    this.isCurrent = false;
    const { cursor } = history.log;
    const lastBlock = history.log.lastBlockOf(contract) ?? chain.startBlock;
    if (!isBefore || upTo <= (this.gaps.get(contract) ?? 0) || cursor === null || lastBlock > cursor.number) return;
    history.rewind(lastBlock);
    this.gaps.set(contract, upTo);
    this.reach = Math.max(this.reach, upTo);
    onChange(this.isCurrent);
  }

  /** A function, since a value that was looked at before an await is not believed to have changed after it. */
  private isStopped(): boolean {
    return this.stopped.signal.aborted;
  }

  private becomeCurrent(): Turn {
    this.problem = null;
    this.isCurrent = true;
    this.gaps.clear();
    this.reach = 0;
    return "current";
  }

  private problemOf(error: unknown): DmtpError {
    if (error instanceof DmtpError) return error;
    return new DmtpError("INTERNAL", "the index could not take the next blocks", { cause: error });
  }
}
