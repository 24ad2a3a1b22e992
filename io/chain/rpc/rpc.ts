/** JSON-RPC, raw: what goes over the wire to a chain. */
import type { DmtpError } from "../../../protocol/error.ts";

export interface RpcCall {
  readonly method: string;
  readonly params: readonly unknown[];
}

export interface Rpc {
  /** Where it leads, without credentials: fit to be shown and logged. */
  readonly name: string;
  /** @throws CHAIN_UNREACHABLE with a fault of rpc-fault.ts as its cause */
  request(call: RpcCall): Promise<unknown>;
  /** The answers in the order of the calls; one failure fails all. */
  batch(calls: readonly RpcCall[]): Promise<unknown[]>;
  /** As batch, but a call that the node answers with an error fails alone; where it is not given, calls go one by one. */
  attempt?(calls: readonly RpcCall[]): Promise<RpcAnswer[]>;
  /** Calls `onHead` whenever the node says that it has a new block; where it can't, there is no such member. */
  subscribe?(onHead: () => void): () => void;
}

/** What became of one call of a batch. */
export type RpcAnswer = { readonly result: unknown } | { readonly error: DmtpError };

/** Several calls in one request, each with its own answer. @throws CHAIN_UNREACHABLE when there was no answer at all */
export async function attempt(rpc: Rpc, calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
  if (rpc.attempt !== undefined) return rpc.attempt(calls);
  const answers = await Promise.allSettled(calls.map((call) => rpc.request(call)));
  return answers.map((answer) => {
    return answer.status === "fulfilled" ? { result: answer.value } : { error: answer.reason as DmtpError };
  });
}

/** The result of a call, or its error thrown. */
export function resultOf(answer: RpcAnswer | undefined): unknown {
  if (answer === undefined) return undefined;
  if ("error" in answer) throw answer.error;
  return answer.result;
}
