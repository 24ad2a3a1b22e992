import { primitives } from "./crypto/provider.ts";
import type { Signer } from "./crypto/primitives.ts";
import { label } from "./label.ts";

/** The two public keys of one key version, as the registry holds them: 32 bytes each. */
export interface PublicKeys {
  /** X25519 u-coordinate (RFC 7748). */
  readonly encryptionKey: Uint8Array;
  /** Ed25519 point (RFC 8032). */
  readonly signingKey: Uint8Array;
}

/** An opened identity: what Alice can do with her seed. The seed itself is not kept. */
export interface Identity extends PublicKeys {
  /** The combined secret with a peer's encryption key: 32 bytes, or null for a low-order key. */
  agree(peerEncryptionKey: Uint8Array): Uint8Array | null;
  readonly signer: Signer;
}

export const SEED_BYTES = 32;

const NO_SALT = new Uint8Array(0);

/** SPEC 3.1: both key pairs from one random 32-byte seed, by HKDF with separate labels. */
export function identityOfSeed(seed: Uint8Array): Identity {
  if (seed.length !== SEED_BYTES) throw new RangeError("an identity seed has 32 bytes");
  const privateKey = primitives.hkdf(seed, NO_SALT, label("x25519"), 32);
  const signer = primitives.ed25519Signer(primitives.hkdf(seed, NO_SALT, label("ed25519"), 32));
  return {
    encryptionKey: primitives.x25519PublicKey(privateKey),
    signingKey: signer.publicKey,
    signer,
    agree: (peerEncryptionKey) => primitives.x25519(privateKey, peerEncryptionKey),
  };
}
