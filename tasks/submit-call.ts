/** The journaled submission of a command: by its session's node and clock, with progress and warnings on its terminal. */
import type { Account } from "../io/chain/transactions/account.ts";
import type { AttemptLog } from "../io/chain/transactions/attempt.ts";
import type { ContractCall } from "../io/chain/transactions/contract-call.ts";
import type { MinedTransaction } from "../io/chain/transactions/receipt.ts";
import { Submission, type SubmissionOptions } from "../io/chain/transactions/submission.ts";
import type { Session } from "./session.ts";

export interface PaidCall extends Pick<SubmissionOptions, "limits" | "timeoutMs" | "signal"> {
  readonly account: Account;
  readonly call: ContractCall;
  /** Where each attempt is written down before it is sent. */
  readonly attempts: AttemptLog;
}

/**
 * @returns the mined transaction, which may be reverted; null when the chain has to be looked at again, since another one took its place
 * @throws what Submission throws
 */
export async function submitCall(
  { rpc, terminal, pause, elapsedMs }: Session,
  { account, call, attempts, limits, timeoutMs, signal }: PaidCall,
): Promise<MinedTransaction | null> {
  const submitted = await new Submission(rpc, account, call, attempts, {
    ...{ limits, timeoutMs, signal, pause, elapsedMs },
    onProgress: (text) => terminal.progress(text),
    onNote: (text) => terminal.note(`warning: ${text}`),
  }).run();
  return submitted.status === "overtaken" ? null : submitted.mined;
}
