/**
 * Calls in batches of a size that the endpoint takes: one that it does not take is made smaller, whatever it says of it, and one
 * that comes too soon is sent again after a pause.
 */
import { computeBackoffMs } from "../../../protocol/backoff.ts";
import { pause as wait } from "../../pause.ts";
import { AdaptiveLimit } from "./adaptive-limit.ts";
import { isBusy, pauseNamedIn } from "./range-limit.ts";
import { faultOf, type RpcFault } from "./rpc-fault.ts";
import type { RpcAnswer, RpcCall } from "./rpc.ts";

export interface BatchOptions {
  /** How often in a row it is waited for an endpoint that answers nothing but that it was asked too much. */
  readonly maxPauses?: number;
  /** An endpoint that wants a longer pause is one that failed. */
  readonly maxPauseMs?: number;
  readonly pause?: (ms: number) => Promise<void>;
  /** Milliseconds of a clock that never jumps. */
  readonly now?: () => number;
}

/**
 * Sends calls in one request, and gives an answer for each, in their order.
 * @throws CHAIN_UNREACHABLE with a fault as its cause, when there is no answer to any
 */
export type Send = (calls: readonly RpcCall[]) => Promise<RpcAnswer[]>;

/** Where it begins; a provider that refuses it gets ever smaller ones. */
const MAX_BATCH = 100;
const FIRST_PAUSE_MS = 500;
/** Too many requests, and gateways whose node is away for a moment. */
const PASSING = new Set([429, 502, 503, 504]);
/** What has nothing to do with how much was asked: the key, the plan or the path is wrong. */
const FORBIDDEN = new Set([401, 402, 403, 404, 407]);
/** A connection that the endpoint closed, or an answer that it did not bring to its end. */
const CUT_OFF = /ECONNRESET|EPIPE|UND_ERR_SOCKET|was closed|not JSON|too large|no JSON-RPC answer/;
/** What geth says in the place of each answer that does not fit any more into its answer to a batch. */
const RESPONSE_TOO_LARGE = -32_003;

/** What is left of the patience with an endpoint during one call of {@link CallBatches.attempt}. */
interface Patience {
  pauses: number;
}

export class CallBatches {
  private readonly send: Send;
  private readonly limit = new AdaptiveLimit(MAX_BATCH, MAX_BATCH);
  /** The most calls that were answered in one request: what a failure of as many says is tried once more. */
  private granted = 0;
  private readonly maxPauses: number;
  private readonly maxPauseMs: number;
  private readonly pause: (ms: number) => Promise<void>;
  private readonly now: () => number;
  /** Until when the endpoint wants to be left alone, and what it said. */
  private resting: { readonly untilMs: number; readonly reason: unknown } | null = null;

  constructor(send: Send, { maxPauses = 3, maxPauseMs = 5_000, pause = wait, now }: BatchOptions = {}) {
    this.send = send;
    this.maxPauses = maxPauses;
    this.maxPauseMs = maxPauseMs;
    this.pause = pause;
    this.now = now ?? (() => performance.now());
  }

  /** Several calls, in as many requests as it takes; the order in which the endpoint sees them is kept. @throws CHAIN_UNREACHABLE */
  async attempt(calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
    const answers: RpcAnswer[] = [];
    const patience: Patience = { pauses: 0 };
    let { size } = this.limit;
    let isRefused = false;
    let isGenuine = false;
    let isRepeated = false;
    while (answers.length < calls.length) {
      const part = calls.slice(answers.length, answers.length + size);
      const got = await this.exchange(part, patience);
      if (got === null || (part.length > 1 && !isGenuine && isRefusal(got))) {
        if (part.length <= this.granted && !isRepeated) {
          isRepeated = true;
          continue;
        }
        size = Math.floor(part.length / 2);
        isRefused = true;
        continue;
      }
      // An error that a call gets also when it is alone is its own, and no refusal of a batch.
      if (isRefused && !got.some((answer) => "result" in answer)) isGenuine = true;
      else if (isRefused && part.length < this.limit.size) {
        this.limit.shrinkTo(part.length);
        this.granted = part.length;
      } else if (part.length === this.limit.size) this.limit.grow();
      this.granted = Math.max(this.granted, part.length);
      isRefused = false;
      isRepeated = false;
      ({ size } = this.limit);
      for (const answer of got) answers.push(answer);
    }
    return answers;
  }

  /** Null for a batch that a smaller one may get an answer in the place of. */
  private async exchange(calls: readonly RpcCall[], patience: Patience): Promise<RpcAnswer[] | null> {
    const answers: RpcAnswer[] = [];
    for (;;) {
      await this.rest();
      const due = calls.slice(answers.length);
      let error: unknown;
      try {
        const got = await this.send(due);
        const end = got.findIndex((answer, i) => isTooMuch(answer, due[i]));
        for (const answer of end === -1 ? got : got.slice(0, end)) answers.push(answer);
        const limited = end === -1 ? undefined : got[end];
        if (limited === undefined || !("error" in limited)) return answers;
        if (end > 0) patience.pauses = 0;
        // What comes after it is asked again with it: the order of the answers is what proves that they are of one chain.
        if (!(await this.waitFor(limited.error, patience))) return [...answers, ...got.slice(end)];
        continue;
      } catch (thrown) {
        error = thrown;
      }
      const isBatch = due.length > 1;
      const fault = faultOf(error);
      if (fault !== null && isPassing(fault)) {
        if (await this.waitFor(error, patience)) {
          // It may be the batch that is too much, however long it is waited.
          if (isBatch && patience.pauses > 1) return null;
          continue;
        }
        if (isBatch && pauseOf(fault) <= this.maxPauseMs) return null;
      } else if (isBatch && fault !== null && isCutOff(fault)) return null;
      throw error;
    }
  }

  /** Waits as long as the endpoint says, or ever longer; false when that is too long or was too often. */
  private async waitFor(reason: unknown, patience: Patience): Promise<boolean> {
    const namedMs = pauseOf(faultOf(reason));
    if (namedMs > 0) this.resting = { untilMs: this.now() + namedMs, reason };
    if (namedMs > this.maxPauseMs || patience.pauses >= this.maxPauses) return false;
    patience.pauses += 1;
    await this.pause(Math.max(namedMs, computeBackoffMs(patience.pauses, FIRST_PAUSE_MS, this.maxPauseMs)));
    return true;
  }

  /** Leaves the endpoint alone for as long as it wanted. @throws what it said, where that is too long */
  private async rest(): Promise<void> {
    if (this.resting === null) return;
    const leftMs = this.resting.untilMs - this.now();
    if (leftMs > this.maxPauseMs) throw this.resting.reason;
    if (leftMs > 0) await this.pause(leftMs);
    this.resting = null;
  }
}

/** How long the endpoint wants to be left alone, by a header or in words. */
function pauseOf(fault: RpcFault | null): number {
  return fault?.retryAfterMs ?? pauseNamedIn(fault?.message ?? "");
}

/** Whether a node that can be reached did not answer because it was asked too often. */
export function isAskedTooMuch(error: unknown): boolean {
  const fault = faultOf(error);
  return fault !== null && (fault.fault === "status" ? fault.code === 429 : isPassing(fault));
}

/** Whether a whole request failed in a way that passes by itself. */
function isPassing(fault: RpcFault): boolean {
  if (fault.fault === "status") return PASSING.has(fault.code);
  return fault.fault === "answer" && !isOfBatches(fault) && isBusy(fault.code, fault.message, "");
}

function isTooMuch(answer: RpcAnswer, call: RpcCall | undefined): boolean {
  if (!("error" in answer)) return false;
  const fault = faultOf(answer.error);
  return fault?.fault === "answer" && !isOfBatches(fault) && isBusy(fault.code, fault.message, call?.method);
}

/** Whether the whole request failed in a way in which one with fewer calls may not. */
function isCutOff({ fault, code, message }: RpcFault): boolean {
  if (fault === "status") return !FORBIDDEN.has(code);
  // The endpoint answered the whole batch with one error.
  return fault === "answer" || (fault === "network" && CUT_OFF.test(message));
}

/** Whether the answers say that there were too many calls: some are missing, or speak of the batch, or all are the same error. */
function isRefusal(answers: readonly RpcAnswer[]): boolean {
  const faults = answers.map((answer) => ("error" in answer ? faultOf(answer.error) : null));
  if (faults.some((fault) => fault !== null && (fault.fault !== "answer" || isOfBatches(fault)))) return true;
  const [first] = faults;
  return faults.every((fault) => fault !== null && fault.code === first?.code);
}

function isOfBatches({ code, message }: RpcFault): boolean {
  return /\bbatch/i.test(message) || (code === RESPONSE_TOO_LARGE && /response too large/i.test(message));
}
