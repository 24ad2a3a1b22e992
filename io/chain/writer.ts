/** Registrations, and who may write to CIDStore and can pay for it. Everything is tried without paying first. */
import type { Signer, TransactionReceipt, TransactionRequest, TransactionResponse } from "ethers";
import type { Interface } from "ethers/abi";

import { checksummed, parseAddress, ZERO_ADDRESS, type Address } from "../../protocol/address.ts";
import type { KeyBinding, Wallet } from "../../protocol/binding.ts";
import { toHex, type Hex } from "../../protocol/bytes.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Deployment } from "../../protocol/room.ts";
import { cidStoreInterface, keyRegistryInterface } from "./contracts.ts";
import type { Fees } from "./fees.ts";
import type { ChainReader } from "./reader.ts";
import { transactionError } from "./transaction-error.ts";

export interface Receipt {
  readonly transactionHash: Hex;
  readonly blockNumber: number;
  readonly gasUsed: bigint;
}

/** Who may write to CIDStore, with what to pay, and what was written last. */
export interface ChainStatus {
  readonly owner: Address;
  /** Whom the owner has offered CIDStore to, if that account has not accepted yet. */
  readonly pendingOwner: Address | null;
  readonly anchorer: Address;
  readonly ownerBalance: bigint;
  readonly anchorerBalance: bigint;
  /** Entries in CIDStore. */
  readonly anchors: number;
  /** CIDStore's head: 32 bytes, zero when it is empty. */
  readonly head: Hex;
  /** `timestamp` in Unix seconds. */
  readonly lastAnchor: {
    readonly index: number;
    readonly text: string;
    readonly blockNumber: number;
    readonly transactionHash: Hex;
    readonly timestamp: number;
  } | null;
}

/** Polygon makes a block every two seconds; what is not mined by then has too low a fee. */
const MINING_TIMEOUT_MS = 300_000;

/** The wallet of an ethers signer, as protocol/ signs with it. */
export async function walletOf(signer: Signer): Promise<Wallet> {
  return {
    address: parseAddress(await signer.getAddress()),
    signTypedData: ({ domain, types, message }) => signer.signTypedData(domain, types, message),
  };
}

/**
 * Registers the binding of the signer's wallet.
 * @param fees what to offer; what the signer's library thinks fit when not given
 * @throws FUNDS_INSUFFICIENT, TRANSACTION_FAILED, CHAIN_UNREACHABLE
 */
export async function sendRegister(
  signer: Signer,
  deployment: Deployment,
  binding: KeyBinding,
  signature: Uint8Array,
  fees?: Fees,
): Promise<Receipt> {
  const { encryptionKey, signingKey, document, deadline } = binding;
  const args = [toHex(encryptionKey), toHex(signingKey), toHex(document), deadline, toHex(signature)];
  return receiptOf(await send(signer, deployment.keyRegistry, keyRegistryInterface, "register", args, fees));
}

/** @throws FUNDS_INSUFFICIENT, TRANSACTION_FAILED, CHAIN_UNREACHABLE */
export async function sendRevoke(signer: Signer, deployment: Deployment): Promise<Receipt> {
  return receiptOf(await send(signer, deployment.keyRegistry, keyRegistryInterface, "revoke", []));
}

/** @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
export async function readStatus(reader: ChainReader): Promise<ChainStatus> {
  const { block } = await reader.head();
  const store = reader.deployment.cidStore;
  const names = ["owner", "pendingOwner", "anchorer", "count", "head"];
  const [ownerText, pendingText, anchorerText, count, head] = await reader.views(
    names.map((name) => ({ to: store, contract: cidStoreInterface, name })),
    block.number,
  );
  const owner = parseAddress(ownerText);
  const pending = parseAddress(pendingText);
  const pendingOwner = pending === ZERO_ADDRESS || pending === owner ? null : pending;
  const anchorer = parseAddress(anchorerText);
  const [ownerBalance = 0n, anchorerBalance = 0n] = await reader.balances([owner, anchorer], block.number);
  const anchors = Number(count);
  const last = anchors === 0 ? null : await reader.findEntry(anchors - 1, block.number);
  const lastBlock = last === null ? null : await reader.block(last.blockNumber);
  const lastAnchor =
    last === null || lastBlock === null
      ? null
      : {
          index: last.index,
          text: last.text,
          blockNumber: last.blockNumber,
          transactionHash: last.transactionHash,
          timestamp: lastBlock.timestamp,
        };
  return {
    owner,
    pendingOwner,
    anchorer,
    ownerBalance,
    anchorerBalance,
    anchors,
    head: String(head) as Hex,
    lastAnchor,
  };
}

/** A contract call: estimated, so that what would revert costs nothing, then sent and waited for. */
async function send(
  signer: Signer,
  to: Address,
  contract: Interface,
  name: string,
  args: readonly unknown[],
  fees?: Fees,
): Promise<TransactionReceipt> {
  const request: TransactionRequest = { to: checksummed(to), data: contract.encodeFunctionData(name, args), ...fees };
  let response: TransactionResponse;
  try {
    const gas = await signer.estimateGas(request);
    // The head may have moved storage that the estimate saw as it was: a tenth more is never paid, only allowed.
    response = await signer.sendTransaction({ ...request, gasLimit: gas + gas / 10n });
  } catch (error) {
    throw transactionError(contract, error);
  }
  let receipt: TransactionReceipt | null;
  try {
    // A crash from here on leaves a transaction that may be mined; the next command reads the chain before it sends another.
    receipt = await response.wait(1, MINING_TIMEOUT_MS);
  } catch (error) {
    throw await minedError(signer, contract, request, response.hash, error);
  }
  if (receipt === null) throw new DmtpError("TRANSACTION_FAILED", `transaction ${response.hash} was not mined`);
  return receipt;
}

/** Why a transaction that was sent did not do what it should: a receipt does not say, so the call is tried once more. */
async function minedError(
  signer: Signer,
  contract: Interface,
  request: TransactionRequest,
  hash: string,
  error: unknown,
): Promise<DmtpError> {
  if ((error as { code?: unknown }).code === "CALL_EXCEPTION") {
    try {
      await signer.call(request);
    } catch (reason) {
      return transactionError(contract, reason);
    }
    return new DmtpError("TRANSACTION_FAILED", `transaction ${hash} was reverted`, { cause: error });
  }
  return new DmtpError("TRANSACTION_FAILED", `transaction ${hash} was sent, and not seen to be mined`, {
    cause: error,
  });
}

function receiptOf({ hash, blockNumber, gasUsed }: TransactionReceipt): Receipt {
  return { transactionHash: hash as Hex, blockNumber, gasUsed };
}
