/** Why a transaction was refused, in DMTP's codes, however the signer's library wraps it. */
import type { Interface } from "ethers/abi";

import { DmtpError } from "../../../protocol/error.ts";
import { withoutUrls } from "../rpc/rpc-fault.ts";

const UNREACHABLE = new Set(["NETWORK_ERROR", "SERVER_ERROR", "TIMEOUT", "ECONNREFUSED", "ECONNRESET", "ENOTFOUND"]);
const POOR = /insufficient funds|enough funds|insufficient balance/i;
/** As much gas as the account can pay for: geth's words, and anvil's. */
const ALLOWANCE = /gas required exceeds allowance:? \(?(?<gas>\d+)/i;
/** No call of ours takes as much: a larger allowance is a node's own limit, and has nothing to do with the account. */
const MAX_CALL_GAS = 2_000_000;
/** Hardhat's numbers for a node that is away. */
const AWAY = /\bHHE70[234]\b/;
const MAX_DEPTH = 6;

/** The error of an estimate, a call or a submission. Its words never hold the request, which a library may put in its own. */
export function transactionError(contract: Interface, error: unknown): DmtpError {
  if (error instanceof DmtpError) return error;
  const layers = layersOf(error);
  for (const { data } of layers) {
    const revert = typeof data === "string" && /^0x[0-9a-f]{8,}$/i.test(data) ? contract.parseError(data) : null;
    if (revert !== null) return revertError(revert.name, revert.args.toArray(), error);
  }
  const words = layers
    .flatMap(({ shortMessage, message }) => [shortMessage, message])
    .filter((text) => typeof text === "string");
  if (layers.some(({ code }) => code === "INSUFFICIENT_FUNDS") || words.some(isPoor)) {
    return new DmtpError("FUNDS_INSUFFICIENT", "the account can't pay for this transaction", { cause: error });
  }
  const said = withoutUrls((words[0] ?? "no reason given").split("\n", 1)[0] ?? "").slice(0, 300);
  const isAway = layers.some(({ code }) => typeof code === "string" && UNREACHABLE.has(code));
  if (isAway || words.some((text) => AWAY.test(text))) {
    return new DmtpError("CHAIN_UNREACHABLE", said, { cause: error });
  }
  return new DmtpError("TRANSACTION_FAILED", said, { cause: error });
}

function isPoor(text: string): boolean {
  const gas = ALLOWANCE.exec(text)?.groups?.gas;
  return POOR.test(text) || (gas !== undefined && Number(gas) < MAX_CALL_GAS);
}

function revertError(name: string, args: readonly unknown[], cause: unknown): DmtpError {
  const [first, second] = args.map(String);
  if (name === "NotAnchorer") {
    return new DmtpError("NOT_ANCHORER", `only ${second ?? ""} may anchor, not ${first ?? ""}`, { cause });
  }
  if (name === "HeadMismatch") {
    return new DmtpError("HEAD_MOVED", `the log's head is ${second ?? ""}, not ${first ?? ""}`, { cause });
  }
  return new DmtpError("TRANSACTION_FAILED", `the contract refused: ${name}(${args.map(String).join(", ")})`, {
    cause,
  });
}

interface Layer {
  readonly code?: unknown;
  readonly data?: unknown;
  readonly message?: unknown;
  readonly shortMessage?: unknown;
}

/** An error and all that it wraps: ethers, Hardhat and nodes each put the reason one level deeper. */
function layersOf(error: unknown, depth = 0): Layer[] {
  if (typeof error !== "object" || error === null || depth > MAX_DEPTH) return [];
  const { error: inner, info, cause, data } = error as Record<string, unknown>;
  return [error, ...[inner, info, cause, data].flatMap((layer) => layersOf(layer, depth + 1))];
}
