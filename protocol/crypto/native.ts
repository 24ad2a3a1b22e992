import type { KeyObject } from "node:crypto";
import { Lru } from "../lru.ts";
import type { Libsodium } from "./libsodium.ts";
import { isAdmissibleEncryptionKey, isAdmissibleSigningKey } from "./admissibility.ts";
import {
  IV_BYTES,
  KEY_BYTES,
  requireDerivedLength,
  requireLength,
  scryptMemory,
  SHA256_BYTES,
  SIGNATURE_BYTES,
  TAG_BYTES,
} from "./lengths.ts";
import { portable, verifyClaim } from "./portable.ts";
import type { Primitives, SignatureClaim } from "./primitives.ts";

const CIPHER = "aes-256-gcm";

/** PKCS #8 up to the 32 raw bytes (RFC 8410, 7), by curve. */
const PRIVATE_KEY_PREFIX = {
  Ed25519: [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20],
  X25519: [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20],
} as const;

type Curve = keyof typeof PRIVATE_KEY_PREFIX;

/**
 * Imported keys per curve, about 4 KiB each; above it the longest unused one is dropped and costs one import (20 µs)
 * when it comes back.
 */
const MAX_CACHED_KEYS = 4096;

/**
 * The primitives by node:crypto, by libsodium where there is one (it verifies), and by `portable` where that is faster (HKDF) or has
 * to decide (signatures).
 *
 * The modules are parameters, so that tests can give others. What runs here may use the global Buffer.
 */
export function createNative(nodeCrypto: typeof import("node:crypto"), libsodium: Libsodium | null = null): Primitives {
  const importPublicKey = createPublicKeyCache((curve, x) =>
    nodeCrypto.createPublicKey({ key: { kty: "OKP", crv: curve, x }, format: "jwk" }),
  );

  function importPrivateKey(curve: Curve, bytes: Uint8Array): KeyObject {
    // DER rather than JWK, which would need the public key, not yet known, and turn the private one into a string.
    const der = Buffer.from(Uint8Array.of(...PRIVATE_KEY_PREFIX[curve], ...bytes).buffer);
    const key = nodeCrypto.createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    der.fill(0);
    return key;
  }

  function exportPublicKey(privateKey: KeyObject): Uint8Array {
    const { x = "" } = nodeCrypto.createPublicKey(privateKey).export({ format: "jwk" });
    return new Uint8Array(Buffer.from(x, "base64url"));
  }

  function isVerified({ publicKey, message, signature }: SignatureClaim): boolean {
    if (libsodium !== null) return libsodium.crypto_sign_verify_detached(signature, message, publicKey);
    try {
      return nodeCrypto.verify(null, message, importPublicKey("Ed25519", publicKey), signature);
    } catch {
      return false;
    }
  }

  return {
    name: libsodium === null ? "native" : "native with libsodium",

    sha256(bytes) {
      return decodeBinary(nodeCrypto.hash("sha256", bytes, "binary"));
    },

    // hkdfSync takes 10 µs to set up, more than the whole of it takes in JavaScript, and refuses an info above 1024
    // bytes.
    hkdf(ikm, salt, info, length) {
      return portable.hkdf(ikm, salt, info, length);
    },

    scrypt(password, salt, parameters, length) {
      requireDerivedLength(length);
      const { N, r, p } = parameters;
      return toPlain(nodeCrypto.scryptSync(password, salt, length, { N, r, p, maxmem: scryptMemory(parameters) }));
    },

    aesGcmSeal(key, iv, plaintext, aad) {
      requireLength("key", key, KEY_BYTES);
      requireLength("iv", iv, IV_BYTES);
      const cipher = nodeCrypto.createCipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES });
      cipher.setAAD(aad);
      const sealed = new Uint8Array(plaintext.length + TAG_BYTES);
      sealed.set(cipher.update(plaintext));
      cipher.final();
      sealed.set(cipher.getAuthTag(), plaintext.length);
      return sealed;
    },

    aesGcmOpen(key, iv, sealed, aad) {
      if (key.length !== KEY_BYTES || iv.length !== IV_BYTES || sealed.length < TAG_BYTES) return null;
      const ciphertextBytes = sealed.length - TAG_BYTES;
      const decipher = nodeCrypto.createDecipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES });
      decipher.setAAD(aad);
      decipher.setAuthTag(sealed.subarray(ciphertextBytes));
      const plaintext = decipher.update(sealed.subarray(0, ciphertextBytes));
      try {
        decipher.final();
      } catch {
        return null;
      }
      return toPlain(plaintext);
    },

    x25519PublicKey(privateKey) {
      requireLength("private key", privateKey, KEY_BYTES);
      return exportPublicKey(importPrivateKey("X25519", privateKey));
    },

    x25519(privateKey, publicKey) {
      requireLength("private key", privateKey, KEY_BYTES);
      requireLength("public key", publicKey, KEY_BYTES);
      const keys = {
        privateKey: importPrivateKey("X25519", privateKey),
        publicKey: importPublicKey("X25519", publicKey),
      };
      try {
        return toPlain(nodeCrypto.diffieHellman(keys));
      } catch {
        // OpenSSL reports an all-zero secret only as a derivation that failed; whether that was the reason is decided
        // here.
        return portable.x25519(privateKey, publicKey);
      }
    },

    ed25519Signer(seed) {
      requireLength("seed", seed, KEY_BYTES);
      const privateKey = importPrivateKey("Ed25519", seed);
      return {
        publicKey: exportPublicKey(privateKey),
        sign: (message) => toPlain(nodeCrypto.sign(null, message, privateKey)),
      };
    },

    // OpenSSL compares S < L and the encoding of [S]B - [k]A with R byte by byte; libsodium lets them differ by a point of
    // low order, and takes no R or A that is one. What either accepts fulfils ZIP 215 too, and what it refuses may still
    // do so by a low-order component or an encoding. So its yes is final and its no is decided by `portable`.
    ed25519Verify(claims) {
      return claims.map((claim) => {
        if (claim.publicKey.length !== KEY_BYTES || claim.signature.length !== SIGNATURE_BYTES) return false;
        return isVerified(claim) || verifyClaim(claim);
      });
    },

    isAdmissibleSigningKey,
    isAdmissibleEncryptionKey,
  };
}

/**
 * Keeps the most recently used imported keys: the same senders recur, and an import costs a fifth of a verification.
 */
function createPublicKeyCache(
  importKey: (curve: Curve, x: string) => KeyObject,
): (curve: Curve, bytes: Uint8Array) => KeyObject {
  const keys = {
    Ed25519: new Lru<string, KeyObject>(MAX_CACHED_KEYS),
    X25519: new Lru<string, KeyObject>(MAX_CACHED_KEYS),
  };
  return (curve, bytes) => {
    const cache = keys[curve];
    const x = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
    const cached = cache.get(x);
    if (cached !== undefined) return cached;
    const key = importKey(curve, x);
    cache.set(x, key);
    return key;
  };
}

/**
 * The 32 bytes of a digest given as a string of their char codes, which is twice as fast as a Buffer with memory of
 * its own.
 */
function decodeBinary(digest: string): Uint8Array {
  const bytes = new Uint8Array(SHA256_BYTES);
  for (let index = 0; index < SHA256_BYTES; index++) bytes[index] = digest.charCodeAt(index);
  return bytes;
}

/** A plain array with the bytes of a Buffer: its own memory where it has some, a copy where it lies in a pool. */
function toPlain(buffer: Buffer): Uint8Array {
  return buffer.byteLength === buffer.buffer.byteLength ? new Uint8Array(buffer.buffer) : new Uint8Array(buffer);
}
