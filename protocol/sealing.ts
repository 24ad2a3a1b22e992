/** The identity seed, sealed so that only its wallet, or its passphrase, opens it again (SPEC 3.2). */
import { normalizeSignature, recoverSigner, unlockRequest, type Wallet } from "./binding.ts";
import { bytesOfAddress, type Address } from "./address.ts";
import { concat, equal, uint64, utf8 } from "./bytes.ts";
import { primitives } from "./crypto/provider.ts";
import type { ScryptParameters } from "./crypto/primitives.ts";
import { DmtpError } from "./error.ts";
import { SEED_BYTES } from "./identity.ts";
import { label } from "./label.ts";
import type { Deployment } from "./room.ts";

/** Which key version of which wallet a seal belongs to; a seal opens for no other. */
export interface SealOwner {
  readonly deployment: Deployment;
  readonly wallet: Address;
  readonly version: number;
}

export type SealedSeed =
  | { readonly method: "wallet"; readonly salt: Uint8Array; readonly ciphertext: Uint8Array }
  | {
      readonly method: "passphrase";
      readonly salt: Uint8Array;
      readonly scrypt: ScryptParameters;
      readonly ciphertext: Uint8Array;
    };

/** What opens a sealed seed. */
export type Opener = { readonly wallet: Wallet } | { readonly passphrase: string };

export const SALT_BYTES = 32;
/** The seed and the 16-byte tag of AES-GCM. */
export const SEALED_BYTES = SEED_BYTES + 16;

/** 128 MiB and about half a second: what RFC 7914 and OWASP advise for a secret that anyone can attack for ever. */
const SCRYPT: ScryptParameters = { N: 2 ** 17, r: 8, p: 1 };
/** A document from outside cannot ask for more: 1 GiB of memory at most. */
export const MAX_SCRYPT: ScryptParameters = { N: 2 ** 20, r: 8, p: 4 };
/** Each key is derived from a fresh salt and used once, so its IV is a constant (SPEC 3.2). */
const IV = new Uint8Array(12);

/**
 * Seals with the wallet's unlock signature, which it gives twice: a wallet that signs differently each time could never
 * open the seal again.
 * @param salt 32 fresh random bytes
 * @throws WALLET_SIGNATURES_VARY, WALLET_SIGNATURE_WRONG
 */
export async function sealWithWallet(
  owner: SealOwner,
  wallet: Wallet,
  seed: Uint8Array,
  salt: Uint8Array,
): Promise<SealedSeed> {
  const first = await unlockSecret(owner, wallet, salt);
  const second = await unlockSecret(owner, wallet, salt);
  if (!equal(first, second)) {
    throw new DmtpError("WALLET_SIGNATURES_VARY", "the wallet gave two different signatures for the same request");
  }
  return { method: "wallet", salt, ciphertext: seal(owner, first, seed, salt) };
}

/**
 * Seals with a passphrase, for wallets whose signatures vary (MPC and contract wallets). Takes about half a second.
 * @throws PASSPHRASE_INVALID
 */
export function sealWithPassphrase(
  owner: SealOwner,
  passphrase: string,
  seed: Uint8Array,
  salt: Uint8Array,
): SealedSeed {
  const secret = passphraseSecret(passphrase, salt, SCRYPT);
  return { method: "passphrase", salt, scrypt: SCRYPT, ciphertext: seal(owner, secret, seed, salt) };
}

/**
 * The seed in a seal.
 * @throws SEALED_KEY_UNOPENED when the opener is not the one it was sealed with; WALLET_SIGNATURE_WRONG, PASSPHRASE_INVALID
 */
export async function openSealedSeed(owner: SealOwner, sealed: SealedSeed, opener: Opener): Promise<Uint8Array> {
  let secret: Uint8Array;
  if (sealed.method === "wallet") {
    if (!("wallet" in opener)) throw new DmtpError("SEALED_KEY_UNOPENED", "this key was sealed with its wallet");
    secret = await unlockSecret(owner, opener.wallet, sealed.salt);
  } else {
    if (!("passphrase" in opener)) throw new DmtpError("SEALED_KEY_UNOPENED", "this key was sealed with a passphrase");
    secret = passphraseSecret(opener.passphrase, sealed.salt, sealed.scrypt);
  }
  const seed = primitives.aesGcmOpen(sealKey(owner, secret, sealed.salt), IV, sealed.ciphertext, new Uint8Array(0));
  if (seed === null) throw new DmtpError("SEALED_KEY_UNOPENED", "the sealed key does not open");
  return seed;
}

/** r and s of the unlock signature: 64 bytes. v is left out, as wallets differ in how they write it. */
async function unlockSecret(owner: SealOwner, wallet: Wallet, salt: Uint8Array): Promise<Uint8Array> {
  const request = unlockRequest(owner.deployment, owner.wallet, salt);
  const signature = normalizeSignature(await wallet.signTypedData(request));
  if (signature === null || recoverSigner(request, signature) !== owner.wallet) {
    // Nothing of the signature may be shown: it opens the key.
    throw new DmtpError("WALLET_SIGNATURE_WRONG", `the unlock signature is not by ${owner.wallet}`);
  }
  return signature.subarray(0, 64);
}

/** NFC (RFC 8265 4.2.2), so that a passphrase typed on another keyboard is the same. @throws PASSPHRASE_INVALID */
function passphraseSecret(passphrase: string, salt: Uint8Array, parameters: ScryptParameters): Uint8Array {
  checkPassphrase(passphrase);
  return primitives.scrypt(utf8(passphrase.normalize("NFC")), salt, parameters, 32);
}

/**
 * SPEC 3.2: only characters that this software's Unicode assigns. A newer Unicode may compose others, so that the same passphrase would
 * give another secret there, and the seal never open.
 * @throws PASSPHRASE_INVALID
 */
export function checkPassphrase(passphrase: string): void {
  if (passphrase === "") throw new DmtpError("PASSPHRASE_INVALID", "the passphrase is empty");
  if (!passphrase.isWellFormed() || /\p{Cn}/u.test(passphrase)) {
    throw new DmtpError(
      "PASSPHRASE_INVALID",
      "the passphrase has a character that this software's Unicode does not know",
    );
  }
}

function seal(owner: SealOwner, secret: Uint8Array, seed: Uint8Array, salt: Uint8Array): Uint8Array {
  return primitives.aesGcmSeal(sealKey(owner, secret, salt), IV, seed, new Uint8Array(0));
}

function sealKey({ deployment, wallet, version }: SealOwner, secret: Uint8Array, salt: Uint8Array): Uint8Array {
  const info = concat(
    label("seal"),
    uint64(deployment.chainId),
    bytesOfAddress(deployment.keyRegistry),
    bytesOfAddress(wallet),
    uint64(version),
  );
  return primitives.hkdf(secret, salt, info, 32);
}
