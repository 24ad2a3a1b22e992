/** Counts what is asked of the chain's endpoints, and what goes wrong there. */
import { faultOf } from "../../io/chain/rpc/rpc-fault.ts";
import { attempt, type Rpc, type RpcCall } from "../../io/chain/rpc/rpc.ts";
import { Counter } from "../../http/metrics/counter.ts";
import type { Family } from "../../http/metrics/exposition.ts";

export class RpcMeter {
  private readonly calls = new Counter({
    name: "dmtp_rpc_calls_total",
    help: "Calls to the chain, by endpoint (its place in RPC_URL, from 0) and method.",
  });
  private readonly errors = new Counter({
    name: "dmtp_rpc_errors_total",
    help: "Calls that failed: the node answered with an error, an HTTP status, too late, or not at all.",
  });

  get families(): Family[] {
    return [this.calls.family, this.errors.family];
  }

  /** The same endpoint, counted. Its name stays out of the metrics: they may be public, and it is not. */
  meter(rpc: Rpc, place: number): Rpc {
    const provider = String(place);
    const count = async <Result>(calls: readonly RpcCall[], result: Promise<Result>): Promise<Result> => {
      for (const { method } of calls) this.calls.add({ provider, method });
      try {
        return await result;
      } catch (error) {
        const fault = faultOf(error)?.fault ?? "network";
        // One failure fails a whole batch.
        for (const method of new Set(calls.map((call) => call.method))) this.errors.add({ provider, method, fault });
        throw error;
      }
    };
    return {
      name: rpc.name,
      request: (call) => count([call], rpc.request(call)),
      batch: (calls) => count(calls, rpc.batch(calls)),
      attempt: async (calls) => {
        const answers = await count(calls, attempt(rpc, calls));
        answers.forEach((answer, i) => {
          const method = calls[i]?.method ?? "";
          if ("error" in answer)
            this.errors.add({ provider, method, fault: faultOf(answer.error)?.fault ?? "network" });
        });
        return answers;
      },
      ...(rpc.subscribe !== undefined && { subscribe: rpc.subscribe.bind(rpc) }),
    };
  }
}
