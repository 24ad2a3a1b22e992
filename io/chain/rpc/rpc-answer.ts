/** One answer of JSON-RPC 2.0, whatever it came over. */
import type { DmtpError } from "../../../protocol/error.ts";
import { revertData, type RpcFault } from "./rpc-fault.ts";
import type { RpcAnswer } from "./rpc.ts";

/** Makes the error for a fault, in words that give no key away. */
export type Failure = (fault: RpcFault["fault"], code: number, message: string, data?: string) => DmtpError;

/** What a node says to the call with this id. @throws CHAIN_UNREACHABLE for what is no answer to it */
export function answerOf(answer: unknown, id: number, failure: Failure): RpcAnswer {
  if (!isObject(answer)) throw failure("network", 0, "the answer is no JSON-RPC answer");
  const { error } = answer;
  if (error !== undefined && error !== null) {
    const { code, message, data } = isObject(error) ? error : {};
    const said = typeof message === "string" ? message : "the node answered with an error";
    return { error: failure("answer", typeof code === "number" ? code : 0, said, revertData(data)) };
  }
  if (answer.id !== id || !("result" in answer)) throw failure("network", 0, "the answer is to another question");
  return { result: answer.result };
}

/**
 * What a node says to each call of a batch, in the order of their ids; what it leaves out has an error of its own.
 * @throws CHAIN_UNREACHABLE for one answer to them all
 */
export function readBatch(answer: unknown, ids: readonly number[], failure: Failure): RpcAnswer[] {
  if (!Array.isArray(answer)) {
    const { code, message } = isObject(answer) && isObject(answer.error) ? answer.error : {};
    const said = typeof message === "string" ? message : "the answer to a batch is no list";
    throw failure("answer", typeof code === "number" ? code : 0, said);
  }
  const byId = new Map(answer.map((one: unknown) => [isObject(one) ? one.id : undefined, one]));
  return ids.map((id) => {
    const one = byId.get(id);
    return isObject(one) && (one.error !== undefined || "result" in one)
      ? answerOf(one, id, failure)
      : { error: failure("network", 0, "the answer to a batch leaves a call out") };
  });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
