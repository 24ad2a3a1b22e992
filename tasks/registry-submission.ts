/** Brings a call of KeyRegistry onto the chain: written down before it is signed, within the caps, and once, whatever answer is lost. */
import { join } from "node:path";

import type { FeeLimits } from "../io/chain/transactions/fees.ts";
import { readReceipt, type MinedTransaction } from "../io/chain/transactions/receipt.ts";
import { registeredEvent, registryCall } from "../io/chain/transactions/registry-call.ts";
import type { PlannedCall, RegistryCall } from "../io/mailbox/registry-calls.ts";
import { lockProcess } from "../io/process-lock.ts";
import { checksummed, type Address } from "../protocol/address.ts";
import { cidOfDigest } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { RegistryEvent } from "../protocol/event.ts";
import { DEFAULT_LIMITS } from "./fee-options.ts";
import type { Session } from "./session.ts";
import { submitCall } from "./submit-call.ts";

export interface PaymentOptions {
  readonly limits: FeeLimits;
  /** How long a run waits for one transaction. */
  readonly timeoutMs: number;
}

export const DEFAULT_PAYMENT: PaymentOptions = { limits: DEFAULT_LIMITS, timeoutMs: 300_000 };

/** A call that is on the chain. */
export interface FinishedCall {
  readonly call: RegistryCall;
  readonly event: RegistryEvent;
  /** Null where the node no longer says what became of the transaction. */
  readonly transaction: MinedTransaction | null;
}

/** How often a call is handed over again whose nonce another transaction of the account took. */
const MAX_TURNS = 5;

/** Runs alone among the commands that write to KeyRegistry from this data folder. @throws DATABASE_BUSY when another one runs */
export async function withRegistryLock<T>({ folder }: Session, work: () => Promise<T>): Promise<T> {
  const lock = lockProcess(join(folder, "keys.lock"));
  if (lock === null) throw new DmtpError("DATABASE_BUSY", "another command registers or revokes keys from this folder");
  try {
    return await work();
  } finally {
    lock.release();
  }
}

/**
 * Ends what an earlier run began for the wallet: a call that a node may have is brought onto the chain, and one of which nothing was
 * signed is given up.
 * @returns null when there was nothing, or it can't come onto the chain any more
 * @throws what {@link payForCall} throws
 */
export async function finishOpenCall(
  session: Session,
  wallet: Address,
  options: PaymentOptions,
): Promise<FinishedCall | null> {
  const { calls } = session.mailbox;
  const call = calls.open(wallet);
  if (call === null) return null;
  if (calls.isSigned(call)) return finishCall(session, call, options);
  calls.end(call, "abandoned");
  return null;
}

/**
 * Writes a call down, and pays for it.
 * @throws FEE_TOO_HIGH, FUNDS_INSUFFICIENT, ACCOUNT_UNKNOWN before anything is paid; TRANSACTION_PENDING, CHAIN_UNREACHABLE when time is up:
 *   the next run goes on with it; TRANSACTION_FAILED
 */
export async function payForCall(session: Session, plan: PlannedCall, options: PaymentOptions): Promise<FinishedCall> {
  const finished = await finishCall(session, session.mailbox.calls.plan(plan), options);
  if (finished !== null) return finished;
  const what = `another version ${plan.version} of ${checksummed(plan.wallet)} came onto the chain in between`;
  throw new DmtpError("TRANSACTION_FAILED", what);
}

/** @returns null when another call has made the version */
async function finishCall(session: Session, call: RegistryCall, options: PaymentOptions): Promise<FinishedCall | null> {
  const { mailbox, reader, rpc } = session;
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    const event = (await reader.walletEvents(call.wallet)).find(({ version }) => version === call.version);
    if (event !== undefined) {
      const isOurs = isMadeBy(call, event);
      mailbox.calls.end(call, isOurs ? "mined" : "abandoned");
      return isOurs ? { call, event, transaction: await readReceipt(rpc, event.transactionHash) } : null;
    }
    const transaction = await submit(session, call, options);
    if (transaction === null) continue;
    const made = registeredEvent(session.deployment, transaction);
    if (made?.wallet !== call.wallet || !isMadeBy(call, made)) {
      throw new DmtpError(
        "CHAIN_DISAGREES",
        `transaction ${transaction.hash} was mined, and did not do what it should`,
      );
    }
    // A crash before this leaves an open call; the next run finds what it made on the chain.
    mailbox.calls.end(call, "mined");
    return { call, event: made, transaction };
  }
  throw new DmtpError("TRANSACTION_PENDING", `other transactions of ${checksummed(call.wallet)} took its place`);
}

/** @returns null when the chain has to be looked at again */
async function submit(
  session: Session,
  call: RegistryCall,
  { limits, timeoutMs }: PaymentOptions,
): Promise<MinedTransaction | null> {
  const { mailbox, deployment } = session;
  const mined = await submitCall(session, {
    account: await session.account(call.wallet),
    call: registryCall(deployment, call.data),
    attempts: mailbox.calls.attemptLog(call),
    ...{ limits, timeoutMs },
  });
  if (mined?.isReverted !== true) return mined;
  mailbox.calls.end(call, "abandoned");
  throw new DmtpError("TRANSACTION_FAILED", `transaction ${mined.hash} was reverted`);
}

function isMadeBy({ kind, version, document }: RegistryCall, event: RegistryEvent): boolean {
  if (event.version !== version) return false;
  return event.kind === "revocation" ? kind === "revoke" : cidOfDigest(event.document) === document;
}
