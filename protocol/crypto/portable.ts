import { gcm } from "@noble/ciphers/aes.js";
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { scrypt } from "@noble/hashes/scrypt.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { isAdmissibleEncryptionKey, isAdmissibleSigningKey } from "./admissibility.ts";
import {
  IV_BYTES,
  KEY_BYTES,
  requireDerivedLength,
  requireLength,
  scryptMemory,
  SIGNATURE_BYTES,
  TAG_BYTES,
} from "./lengths.ts";
import type { Primitives, SignatureClaim } from "./primitives.ts";

/**
 * The primitives in plain JavaScript, for browsers and wherever node:crypto is missing; also the judge of what
 * node:crypto refuses.
 */
export const portable: Primitives = {
  name: "portable",

  sha256(bytes) {
    return sha256(bytes);
  },

  hkdf(ikm, salt, info, length) {
    requireDerivedLength(length);
    return hkdf(sha256, ikm, salt, info, length);
  },

  scrypt(password, salt, parameters, length) {
    requireDerivedLength(length);
    const { N, r, p } = parameters;
    return scrypt(password, salt, { N, r, p, dkLen: length, maxmem: scryptMemory(parameters) });
  },

  aesGcmSeal(key, iv, plaintext, aad) {
    requireLength("key", key, KEY_BYTES);
    requireLength("iv", iv, IV_BYTES);
    return gcm(key, iv, aad).encrypt(plaintext);
  },

  aesGcmOpen(key, iv, sealed, aad) {
    if (key.length !== KEY_BYTES || iv.length !== IV_BYTES || sealed.length < TAG_BYTES) return null;
    try {
      return gcm(key, iv, aad).decrypt(sealed);
    } catch {
      // The lengths are right, so the tag was not.
      return null;
    }
  },

  x25519PublicKey(privateKey) {
    requireLength("private key", privateKey, KEY_BYTES);
    return x25519.getPublicKey(privateKey);
  },

  x25519(privateKey, publicKey) {
    requireLength("private key", privateKey, KEY_BYTES);
    requireLength("public key", publicKey, KEY_BYTES);
    try {
      return x25519.getSharedSecret(privateKey, publicKey);
    } catch {
      // The lengths are right, so the public key was of low order (RFC 7748, 6.1).
      return null;
    }
  },

  ed25519Signer(seed) {
    requireLength("seed", seed, KEY_BYTES);
    const ownSeed = Uint8Array.from(seed);
    return {
      publicKey: ed25519.getPublicKey(ownSeed),
      sign: (message) => ed25519.sign(message, ownSeed),
    };
  },

  ed25519Verify(claims) {
    return claims.map(verifyClaim);
  },

  isAdmissibleSigningKey,
  isAdmissibleEncryptionKey,
};

/** Answers one claim by ZIP 215, whatever the input. */
export function verifyClaim({ publicKey, message, signature }: SignatureClaim): boolean {
  if (publicKey.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  return ed25519.verify(signature, message, publicKey, { zip215: true });
}
