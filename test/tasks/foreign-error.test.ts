import { HardhatError } from "@nomicfoundation/hardhat-errors";
import { expect } from "chai";

import { asDmtpError } from "../../tasks/command.ts";
import { transactionError } from "../../io/chain/transactions/transaction-error.ts";
import { keyRegistryInterface } from "../../io/chain/contracts.ts";

const { NETWORK, GENERAL } = HardhatError.ERRORS.CORE;

/** As Hardhat's provider throws it. */
function named(name: string, message: string, code: number): Error {
  return Object.assign(new Error(message), { name, code });
}

describe("What Hardhat throws", () => {
  const away: Record<string, Error> = {
    "a refused connection": new HardhatError(NETWORK.CONNECTION_REFUSED, { network: "amoy" }),
    "a time-out": new HardhatError(NETWORK.NETWORK_TIMEOUT),
    "an error page": new HardhatError(NETWORK.INVALID_JSON_RESPONSE, { response: "<html>" }),
    "a broken connection": named("UnknownError", "other side closed", -1),
    "a node's own error": named("ProviderError", "header not found", -32_000),
    "a node that was asked too much": named("LimitExceededError", "Request exceeds defined limit", -32_005),
  };
  for (const [title, error] of Object.entries(away)) {
    it(`says of ${title} that trying again can help`, () => {
      expect(asDmtpError(error)).to.include({ code: "CHAIN_UNREACHABLE", kind: "unavailable" });
    });
  }

  it("is told in one line, with what to do about a variable that is missing", () => {
    const error = asDmtpError(new HardhatError(GENERAL.ENV_VAR_NOT_FOUND, { name: "AMOY_RPC_URL" }));
    expect(error).to.include({ code: "CONFIGURATION_INVALID", message: "AMOY_RPC_URL is not set" });
    expect(error.hint).to.contain("npx hardhat keystore set AMOY_RPC_URL");
    const other = asDmtpError(new HardhatError(NETWORK.NETWORK_NOT_FOUND, { networkName: "nowhere" }));
    expect(other.code).to.equal("CONFIGURATION_INVALID");
    expect(other.message).not.to.contain("\n");
  });

  it("stays a defect where it is one of ours", () => {
    expect(asDmtpError(new TypeError("x is not a function")).code).to.equal("INTERNAL");
  });
});

describe("Why a transaction was refused", () => {
  const codeOf = (message: string, code: unknown = "CALL_EXCEPTION"): string =>
    transactionError(keyRegistryInterface, Object.assign(new Error("could not coalesce"), { error: { message }, code }))
      .code;

  it("is an account without money, in the words of every node", () => {
    for (const message of [
      "Out of gas: gas required exceeds allowance: 0",
      "Out of gas: gas required exceeds allowance: 3999",
      "gas required exceeds allowance (0)",
      "gas required exceeds allowance (3999)",
      "insufficient funds for gas * price + value: balance 0",
      "sender doesn't have enough funds to send tx",
    ])
      expect(codeOf(message), message).to.equal("FUNDS_INSUFFICIENT");
  });

  it("is not that where the node's own limit is reached, or the node is away", () => {
    expect(codeOf("gas required exceeds allowance (50000000)")).to.equal("TRANSACTION_FAILED");
    expect(codeOf('HHE703: Cannot connect to the network "amoy".', undefined)).to.equal("CHAIN_UNREACHABLE");
  });
});
