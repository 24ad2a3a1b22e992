/**
 * Follows the chain: reads new blocks from the cursor on, notices a reorg, and never takes one for what it is not.
 *
 * A step is committed only when it is proved to be whole and of one chain: its first event has the next index, its last block
 * and the cursor's have the same hash before and after its logs were read, and at the head the contracts count as many events.
 */
import { setTimeout as sleep } from "node:timers/promises";

import type { ChainHead } from "../io/chain/head.ts";
import type { ChainReader } from "../io/chain/reader.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainEvent } from "../protocol/event.ts";
import type { History } from "./history.ts";
import type { Log } from "./log.ts";
import { contractOf, type BlockId } from "./store/event-log.ts";

/** What of the chain reader is used. */
export type Chain = Pick<ChainReader, "deployment" | "startBlock" | "head" | "block" | "counts" | "events">;

/** What a look at the chain led to: `again` when there is more to do right now. */
type Turn = "again" | "current" | "behind";

const MAX_BACKOFF_MS = 30_000;
/** Blocks a step; grows while steps bring few events and shrinks while they bring many, which are held in memory. */
const FIRST_STEP_BLOCKS = 10_000;
const MAX_STEP_BLOCKS = 2 ** 24;
const MANY_EVENTS = 20_000;

export interface FollowerOptions {
  readonly chain: Chain;
  readonly history: History;
  readonly pollIntervalMs: number;
  readonly log: Log;
  /** Called after every change of the history. */
  readonly onChange: () => void;
  readonly random?: () => number;
}

export class Follower {
  /** The chain as last seen. */
  head: ChainHead | null = null;
  /** Whether the last look found nothing more to read; does not turn false only because the node is behind. */
  isCurrent = false;
  /** What keeps the cursor from moving; null while it moves. */
  problem: DmtpError | null = null;
  /** When the loop last finished a look, and when one last succeeded: milliseconds of `performance.now`. */
  turnedAtMs = performance.now();
  succeededAtMs: number | null = null;
  private readonly options: FollowerOptions;
  private readonly stopped = new AbortController();
  private stepBlocks = FIRST_STEP_BLOCKS;

  constructor(options: FollowerOptions) {
    this.options = options;
  }

  /** Runs until stopped; never rejects. */
  async run(): Promise<void> {
    const { pollIntervalMs, log, random = Math.random } = this.options;
    let failures = 0;
    while (!this.isStopped()) {
      let waitMs = pollIntervalMs;
      try {
        const before = this.options.history.log.cursor;
        const turn = await this.turn();
        if (failures > 0 && turn !== "again") log("the chain is followed again");
        if (turn !== "again") failures = 0;
        // Only progress is followed at once: a node that contradicts itself is not asked in a loop without rest.
        if (turn === "again" && this.options.history.log.cursor?.hash !== before?.hash) waitMs = 0;
        this.succeededAtMs = performance.now();
      } catch (error) {
        if (this.isStopped()) return;
        const problem = this.problemOf(error);
        if (problem.message !== this.problem?.message) log(`error[${problem.code}]: ${problem.message}`);
        this.problem = problem;
        failures += 1;
        waitMs = Math.min(MAX_BACKOFF_MS, pollIntervalMs * 2 ** Math.min(failures, 10)) * (0.75 + random() / 2);
      }
      this.turnedAtMs = performance.now();
      // At once is not at all: between two steps, HTTP gets its turn.
      await sleep(waitMs, undefined, { signal: this.stopped.signal }).catch(() => undefined);
    }
  }

  /** What is still under way ends without touching the history. */
  stop(): void {
    this.stopped.abort();
  }

  /** One look at the chain, and one step when there is something to read. */
  async turn(): Promise<Turn> {
    const { chain, history, log } = this.options;
    const head = await chain.head();
    if (this.isStopped()) return "behind";
    this.head = head;
    const relation = await this.relationTo(head);
    if (this.isStopped()) return "behind";
    switch (relation) {
      case "behind":
        this.problem = null;
        return "behind";
      case "same":
        history.finalize(head.finalized);
        return this.becomeCurrent();
      case "contradicts": {
        const ancestor = await this.commonAncestor(head);
        if (this.isStopped()) return "behind";
        // The node still has the cursor's block: its head and what lies below it came from two chains.
        if (ancestor !== null && ancestor.hash === history.log.cursor?.hash) return "behind";
        log(`reorg: back from block ${history.log.cursor?.number ?? "none"} to ${ancestor?.number ?? "the start"}`);
        history.reorganize(ancestor);
        this.isCurrent = false;
        this.options.onChange();
        return "again";
      }
      case "ahead":
        return this.step(head);
    }
  }

  /** Only a hash that contradicts one that was seen is a reorg; a lower head alone is a node that lags. */
  private async relationTo({ block: head }: ChainHead): Promise<"ahead" | "same" | "behind" | "contradicts"> {
    const { chain, history } = this.options;
    const { cursor } = history.log;
    if (cursor === null) return head.number < chain.startBlock ? "behind" : "ahead";
    if (head.number === cursor.number) return head.hash === cursor.hash ? "same" : "contradicts";
    if (head.number === cursor.number + 1) return head.parentHash === cursor.hash ? "ahead" : "contradicts";
    const seen = head.number > cursor.number ? cursor : history.log.seenAt(head.number);
    if (seen === null) return "behind";
    const hash = seen.number === head.number ? head.hash : (await chain.block(seen.number))?.hash;
    // A node that has a head but not what lies below it answers from two places: it is asked again.
    if (hash === undefined) return "behind";
    if (hash !== seen.hash) return "contradicts";
    return head.number > cursor.number ? "ahead" : "behind";
  }

  /** The highest seen block that still stands: found by ever larger steps down, then by halving. */
  private async commonAncestor({ block: head }: ChainHead): Promise<BlockId | null> {
    const seen = this.options.history.log.seenUpTo(head.number);
    const stands = async (at: number): Promise<boolean> => {
      const block = seen[at];
      if (block === undefined) return false;
      const found = block.number === head.number ? head : await this.options.chain.block(block.number);
      if (found === null) throw new DmtpError("CHAIN_UNREACHABLE", `the node does not have block ${block.number}`);
      return found.hash === block.hash;
    };
    // Invariant: `fallen` does not stand (−1: above all of them), `standing` does (the length: nothing does).
    let fallen = -1;
    let standing = 0;
    while (standing < seen.length && !(await stands(standing))) {
      fallen = standing;
      standing = Math.min(seen.length, 2 * standing + 1);
    }
    while (standing - fallen > 1) {
      const middle = Math.floor((standing + fallen) / 2);
      if (await stands(middle)) standing = middle;
      else fallen = middle;
    }
    return seen[standing] ?? null;
  }

  private async step(head: ChainHead): Promise<Turn> {
    const { chain, history, onChange } = this.options;
    const { cursor } = history.log;
    const from = cursor === null ? chain.startBlock : cursor.number + 1;
    const to = Math.min(head.block.number, from + this.stepBlocks - 1);
    const reachesHead = to === head.block.number;
    if (!reachesHead) this.isCurrent = false;

    const target = reachesHead ? head.block : await chain.block(to);
    const events = await chain.events(from, to);
    const lacking = lackingContract(events, history.counts) ?? (reachesHead ? await this.uncounted(events, to) : null);
    const [targetNow, cursorNow] = await Promise.all([
      chain.block(to),
      cursor === null ? null : chain.block(cursor.number),
    ]);
    if (this.isStopped()) return "behind";
    // The chain changed while it was read, or the answers came from two nodes. What was read belongs to neither.
    if (target === null || targetNow?.hash !== target.hash || cursorNow?.hash !== cursor?.hash) return "again";
    if (events.some(({ blockNumber, blockHash }) => blockNumber === to && blockHash !== target.hash)) return "again";

    if (lacking !== null) {
      this.isCurrent = false;
      // What is left out may lie behind the contract's last known event, in blocks that were read already.
      const lastBlock = history.log.lastBlockOf(lacking) ?? chain.startBlock;
      if (cursor !== null && lastBlock <= cursor.number) history.rewind(lastBlock);
      onChange();
      throw new DmtpError("CHAIN_INCOMPLETE", `the node leaves out events of ${lacking} after block ${lastBlock - 1}`);
    }
    history.extend({ events, cursor: target, finalized: head.finalized });
    // A gap is only known to be closed at the head, where the contracts count.
    if (this.problem?.code !== "CHAIN_INCOMPLETE") this.problem = null;
    onChange();
    if (events.length > MANY_EVENTS) this.stepBlocks = Math.max(1, Math.floor(this.stepBlocks / 2));
    else if (events.length < MANY_EVENTS / 4) this.stepBlocks = Math.min(MAX_STEP_BLOCKS, this.stepBlocks * 2);
    return reachesHead ? this.becomeCurrent() : "again";
  }

  /** The contract that counts more events, or fewer, than there will be after these. */
  private async uncounted(events: readonly ChainEvent[], blockNumber: number): Promise<"anchors" | "keys" | null> {
    const counted = await this.options.chain.counts(blockNumber);
    const { counts } = this.options.history;
    const found = { ...counts };
    for (const event of events) found[contractOf(event)] += 1;
    if (found.anchors !== counted.anchors) return "anchors";
    return found.keys === counted.keys ? null : "keys";
  }

  /** A function, since a value that was looked at before an await is not believed to have changed after it. */
  private isStopped(): boolean {
    return this.stopped.signal.aborted;
  }

  private becomeCurrent(): Turn {
    this.problem = null;
    this.isCurrent = true;
    return "current";
  }

  private problemOf(error: unknown): DmtpError {
    if (error instanceof DmtpError) return error;
    this.options.log(error instanceof Error ? (error.stack ?? error.message) : "an unknown error");
    return new DmtpError("INTERNAL", "the index could not take the next blocks", { cause: error });
  }
}

/** The contract whose events do not go on where the known ones end, or null. */
export function lackingContract(
  events: readonly ChainEvent[],
  counts: { readonly anchors: number; readonly keys: number },
): "anchors" | "keys" | null {
  const next = { anchors: counts.anchors, keys: counts.keys };
  for (const event of events) {
    const contract = contractOf(event);
    if (event.index !== next[contract]) return contract;
    next[contract] += 1;
  }
  return null;
}
