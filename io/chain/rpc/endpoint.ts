/** One of several nodes: what it is known to grant, how it fares, and when it is asked again after it failed. */
import { computeBackoffMs } from "../../../protocol/backoff.ts";
import { DmtpError } from "../../../protocol/error.ts";
import { FinalityTag } from "../agreement/finality-tag.ts";
import { LogRange } from "../events/log-range.ts";
import { faultOf } from "./rpc-fault.ts";
import { attempt, resultOf, type Rpc, type RpcAnswer, type RpcCall } from "./rpc.ts";

const FIRST_REST_MS = 1_000;
/** Also how late an endpoint that is back is noticed. */
const MAX_REST_MS = 4_000;

export interface EndpointOptions {
  /** How long a node has to say that it does not know the tag of the final block before that is believed. */
  readonly tagRefusedForMs: number;
  readonly now: () => number;
}

export class Endpoint {
  readonly rpc: Rpc;
  readonly range = new LogRange();
  readonly finality: FinalityTag;
  /** Set once chain and contracts were found to be the right ones; a node that was away may come back as another. */
  isChecked = false;
  /** Requests and their failures, by method; a request of several calls counts as its first. */
  readonly calls = new Map<string, { calls: number; errors: number }>();
  private failures = 0;
  private restsUntilMs = 0;
  private readonly now: () => number;

  constructor(rpc: Rpc, { tagRefusedForMs, now }: EndpointOptions) {
    this.rpc = rpc;
    this.now = now;
    this.finality = new FinalityTag({ refusedForMs: tagRefusedForMs, now });
  }

  get name(): string {
    return this.rpc.name;
  }

  /** Whether it is not resting after a failure. */
  get isAvailable(): boolean {
    return this.now() >= this.restsUntilMs;
  }

  get isFailing(): boolean {
    return this.failures > 0;
  }

  /** Several calls in one request, each with its own answer. @throws CHAIN_UNREACHABLE when there was none */
  async attempt(calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
    const method = calls[0]?.method ?? "nothing";
    const count = this.calls.get(method) ?? { calls: 0, errors: 0 };
    this.calls.set(method, count);
    count.calls += 1;
    try {
      const answers = await attempt(this.rpc, calls);
      // Where every call went alone, a node that is away fails each of them.
      const [first] = answers;
      if (first !== undefined && "error" in first && faultOf(first.error)?.fault !== "answer") throw first.error;
      this.failures = 0;
      this.restsUntilMs = 0;
      return answers;
    } catch (error) {
      count.errors += 1;
      // A range that takes too long, or an answer that is too large, is no failure of the node.
      const fault = faultOf(error);
      const isGone = fault === null || fault.fault === "network" || [401, 403, 404, 429].includes(fault.code);
      if (isGone || method !== "eth_getLogs") this.rest();
      throw error;
    }
  }

  /** As {@link attempt}, when all of the calls must succeed. */
  async batch(calls: readonly RpcCall[]): Promise<unknown[]> {
    return (await this.attempt(calls)).map(resultOf);
  }

  /** Puts it off for a while: it failed, or said what can't be. */
  rest(): void {
    this.failures += 1;
    this.isChecked = false;
    this.restsUntilMs = this.now() + computeBackoffMs(this.failures, FIRST_REST_MS, MAX_REST_MS);
  }
}

/** Whether the same question may get an answer from another node, or from this one later. */
export function isPassing(error: unknown): boolean {
  return (
    error instanceof DmtpError && ["CHAIN_UNREACHABLE", "CHAIN_DISAGREES", "CHAIN_INCOMPLETE"].includes(error.code)
  );
}
