/** The calls by which a wallet registers and revokes its keys, what their refusal means, and what their receipts prove. */
import type { KeyBinding } from "../../../protocol/binding.ts";
import { toHex, type Hex } from "../../../protocol/bytes.ts";
import type { RegistryEvent } from "../../../protocol/event.ts";
import type { Deployment } from "../../../protocol/room.ts";
import type { ContractCall } from "./contract-call.ts";
import { keyRegistryInterface } from "../contracts.ts";
import { decodeLog } from "../events/event-decoder.ts";
import type { MinedTransaction } from "./receipt.ts";
import { faultOf } from "../rpc/rpc-fault.ts";
import { transactionError } from "./transaction-error.ts";

/** Calls KeyRegistry. @param data {@link registerData} or {@link revokeData} */
export function registryCall({ chainId, keyRegistry }: Deployment, data: Hex): ContractCall {
  return {
    chainId,
    to: keyRegistry,
    data,
    judge: (error) => transactionError(keyRegistryInterface, faultOf(error) ?? error),
  };
}

/** Registers the binding of the wallet that calls. */
export function registerData(binding: KeyBinding, signature: Uint8Array): Hex {
  const { encryptionKey, signingKey, document, deadline } = binding;
  const args = [toHex(encryptionKey), toHex(signingKey), toHex(document), deadline, toHex(signature)];
  return keyRegistryInterface.encodeFunctionData("register", args) as Hex;
}

/** Revokes all keys of the wallet that calls. */
export function revokeData(): Hex {
  return keyRegistryInterface.encodeFunctionData("revoke") as Hex;
}

/** What a transaction made KeyRegistry log; null when it did nothing there. @throws CHAIN_DISAGREES */
export function registeredEvent(deployment: Deployment, { logs }: MinedTransaction): RegistryEvent | null {
  for (const log of logs) {
    if (log.address !== deployment.keyRegistry) continue;
    const event = decodeLog(deployment, log);
    if (event.kind !== "anchor") return event;
  }
  return null;
}
