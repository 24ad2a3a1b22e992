/** The transactions that a submission has made, as they are written down. */
import type { Address } from "../../../protocol/address.ts";
import type { Hex } from "../../../protocol/bytes.ts";
import type { PreparedTransaction } from "./account.ts";
import type { Fees } from "./fees.ts";

/** A transaction that was, or was about to be, handed to a node. */
export interface Attempt extends PreparedTransaction {
  readonly account: Address;
  readonly nonce: number;
  readonly fees: Fees;
  readonly gasLimit: bigint;
  /** The chain's height then. */
  readonly submittedAtBlock: number;
}

/** Where attempts are written down: an attempt that a node may have must never be forgotten. */
export interface AttemptLog {
  /** This call's, oldest first. */
  attempts(): readonly Attempt[];
  /** Durable when it returns. */
  record(attempt: Attempt): void;
  /** The node has told the hash of the last attempt, which it signed itself. */
  setHash(hash: Hex): void;
  /** The most that any transaction, of this call or an earlier one, offered with this nonce. */
  offered(account: Address, nonce: number): Fees | null;
}
