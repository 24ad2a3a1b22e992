/**
 * What a wallet signs, all of it EIP-712 (SPEC 3): the binding of a key version, its revocation, and the unlock signature
 * that never leaves the user's machine. The domain is KeyRegistry's own, so the contract checks the first two as well.
 */
import type { Address } from "./address.ts";
import { fromHex, toHex } from "./bytes.ts";
import { ORDER, recoverAccount } from "./crypto/ecdsa.ts";
import { hashTypedData, type TypedData } from "./eip712.ts";
import type { PublicKeys } from "./identity.ts";
import type { Deployment } from "./room.ts";

/** A wallet that can sign EIP-712 requests; ethers' signers and EIP-1193 providers are adapted to it in io/. */
export interface Wallet {
  readonly address: Address;
  signTypedData(request: TypedData): Promise<string>;
}

/** What a binding signature covers besides its purpose. `deadline` is in Unix seconds and is enforced by the registry alone. */
export interface KeyBinding extends PublicKeys {
  readonly wallet: Address;
  /** 1 for a wallet's first key. */
  readonly version: number;
  /** SHA-256 digest of the key document, 32 bytes. */
  readonly document: Uint8Array;
  readonly deadline: number;
}

/** The highest s of EIP-2 and of OpenZeppelin's ECDSA: of two signatures that differ in s and v alone, the one that counts. */
const MAX_S = ORDER / 2n;

/** What a wallet shows to whoever is about to sign: the consequence, in words. KeyRegistry hashes the first two as well. */
const BINDING_PURPOSE =
  "Use this key for my DMTP messages from now on. Whoever made it can read what others send me and write in my name. " +
  "Only sign this in an application that you trust with that.";
const REVOCATION_PURPOSE =
  "Revoke all my DMTP keys, for ever. Messages of mine that are not anchored yet will be rejected, and nobody can write to " +
  "me until I register a new key.";
const UNLOCK_PURPOSE = "Open my DMTP messages. Only sign this in an application that you trust with them.";

/** SPEC 3.3 */
export function bindingRequest(deployment: Deployment, binding: KeyBinding): TypedData {
  return request(deployment, "KeyBinding", [
    ["address", "wallet", binding.wallet],
    ["string", "purpose", BINDING_PURPOSE],
    ["uint256", "version", binding.version],
    ["bytes32", "encryptionKey", toHex(binding.encryptionKey)],
    ["bytes32", "signingKey", toHex(binding.signingKey)],
    ["bytes32", "document", toHex(binding.document)],
    ["uint256", "deadline", binding.deadline],
  ]);
}

/** SPEC 3.4: `version` is the version that the tombstone gets. */
export function revocationRequest(
  deployment: Deployment,
  wallet: Address,
  version: number,
  deadline: number,
): TypedData {
  return request(deployment, "KeyRevocation", [
    ["address", "wallet", wallet],
    ["string", "purpose", REVOCATION_PURPOSE],
    ["uint256", "version", version],
    ["uint256", "deadline", deadline],
  ]);
}

/** SPEC 3.2: a signature over it opens the sealed key, so it is never sent or stored anywhere. */
export function unlockRequest(deployment: Deployment, wallet: Address, salt: Uint8Array): TypedData {
  return request(deployment, "KeyUnlock", [
    ["address", "wallet", wallet],
    ["string", "purpose", UNLOCK_PURPOSE],
    ["bytes32", "salt", toHex(salt)],
  ]);
}

/**
 * A wallet's ECDSA signature as SPEC 3.3 takes it: some wallets write v as 0 or 1, and some give the higher s. Null for what is
 * not 65 bytes of hexadecimal digits, such as a contract wallet's.
 */
export function normalizeSignature(signature: string): Uint8Array | null {
  if (!/^0x[0-9a-fA-F]{130}$/.test(signature)) return null;
  const bytes = fromHex(signature);
  let v = bytes[64] ?? 0;
  if (v === 0 || v === 1) v += 27;
  const s = readS(bytes);
  if (s > MAX_S && s < ORDER && (v === 27 || v === 28)) {
    bytes.set(fromHex(`0x${(ORDER - s).toString(16).padStart(64, "0")}`), 32);
    v = 55 - v;
  }
  bytes[64] = v;
  return bytes;
}

/**
 * The externally owned account whose ECDSA signature this is, or null when it is not one: 65 bytes, low s (EIP-2),
 * v 27 or 28. Contract wallets' signatures are checked on chain (ERC-1271), never here.
 */
export function recoverSigner(typedData: TypedData, signature: Uint8Array): Address | null {
  // Recovery takes a high s as well.
  if (signature.length !== 65 || readS(signature) > MAX_S) return null;
  return recoverAccount(hashTypedData(typedData), signature);
}

/** SPEC 3.3: whether the wallet itself signed the binding. */
export function isBindingSigned(deployment: Deployment, binding: KeyBinding, signature: Uint8Array): boolean {
  return recoverSigner(bindingRequest(deployment, binding), signature) === binding.wallet;
}

function readS(signature: Uint8Array): bigint {
  return BigInt(toHex(signature.subarray(32, 64)));
}

function request(
  deployment: Deployment,
  type: string,
  members: readonly (readonly [type: string, name: string, value: string | number])[],
): TypedData {
  return {
    domain: {
      name: "DMTP KeyRegistry",
      version: "1",
      chainId: deployment.chainId,
      verifyingContract: deployment.keyRegistry,
    },
    types: { [type]: members.map(([memberType, name]) => ({ name, type: memberType })) },
    message: Object.fromEntries(members.map(([, name, value]) => [name, value])),
  };
}
