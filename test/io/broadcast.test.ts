import { expect } from "chai";

import { refusalOf, type Refusal } from "../../io/chain/transactions/broadcast.ts";
import { unreachable } from "../../io/chain/rpc/rpc-fault.ts";

/** What clients say: geth and Bor, Erigon, Nethermind, Besu, reth, anvil, Hardhat, and providers in front of them. */
const WORDS: readonly (readonly [Refusal, string])[] = [
  ["known", "already known"],
  ["known", "known transaction: 0x1234"],
  ["known", "ALREADY_EXISTS: already known"],
  ["known", "AlreadyKnown"],
  ["known", "Known transaction"],
  ["known", "transaction already imported"],
  ["known", "transaction already in mempool"],
  ["nonce used", "nonce too low"],
  ["nonce used", "nonce too low: next nonce 5, tx nonce 4"],
  ["nonce used", "OldNonce"],
  ["nonce used", "Nonce too low. Expected nonce to be 4 but got 3."],
  ["nonce used", "nonce too low: address 0xabc, tx: 3 state: 4"],
  ["nonce ahead", "nonce too high"],
  [
    "nonce ahead",
    "Nonce too high. Expected nonce to be 4 but got 9. Note that transactions can't be queued when automining.",
  ],
  ["outbid", "replacement transaction underpriced"],
  ["outbid", "INTERNAL_ERROR: could not replace existing tx"],
  ["outbid", "ReplacementNotAllowed"],
  ["outbid", "Transaction gas price is too low to replace the one in the pool"],
  ["underpriced", "transaction underpriced"],
  ["underpriced", "transaction underpriced: gas tip cap 1000000000, minimum needed 25000000000"],
  ["underpriced", "max fee per gas less than block base fee: address 0xabc, maxFeePerGas: 1, baseFee: 15"],
  ["underpriced", "FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 1, BaseFee: 7, MaxPriorityFeePerGas:1"],
  ["underpriced", "fee cap too low"],
  ["underpriced", "gas price below configured minimum gas price"],
  ["poor", "insufficient funds for gas * price + value: balance 0, tx cost 21000, overshot 21000"],
  ["poor", "Sender doesn't have enough funds to send tx. The max upfront cost is: 5 and the sender's balance is: 1."],
  ["poor", "InsufficientFunds, Balance is 0 less than sending value + gas 21000"],
  ["poor", "Upfront cost exceeds account balance"],
  ["outbid", "replaced by transaction with higher tip"],
  ["nonce ahead", "future transaction tries to replace pending"],
  ["nonce ahead", "NonceGap, Future nonce. Expected nonce: 5"],
  ["nonce ahead", "NonceTooFarInFuture"],
  ["nonce ahead", "gapped-nonce tx from delegated accounts"],
  ["nonce ahead", "in-flight transaction limit reached for delegated accounts"],
  ["unsure", "txpool is full"],
  ["unsure", "daily request limit reached"],
  ["unsure", "limit exceeded"],
  ["unsure", "Internal error"],
  ["refused", "unknown transaction type"],
  ["refused", "block gas limit exceeded"],
  ["refused", "exceeds block gas limit"],
  ["refused", "invalid sender"],
];

describe("A node's refusal of a transaction", () => {
  for (const [refusal, message] of WORDS) {
    it(`is "${refusal}" when it says: ${message}`, () => {
      expect(refusalOf(unreachable("node", { fault: "answer", code: -32000, message, data: undefined }))).to.equal(
        refusal,
      );
    });
  }

  it("is unsure when no answer came, whatever the way back says", () => {
    for (const fault of ["status", "timeout", "network"] as const) {
      expect(refusalOf(unreachable("node", { fault, code: 429, message: "nonce too low", data: undefined }))).to.equal(
        "unsure",
      );
    }
  });

  it("is none for an error that is not the node's", () => {
    expect(refusalOf(new Error("already known"))).to.equal(null);
  });
});
