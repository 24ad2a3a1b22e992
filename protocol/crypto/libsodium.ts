/** libsodium, whose Ed25519 takes half the time of OpenSSL's. For Node alone. */
import { createRequire } from "node:module";

/** What is used of it. Arrays of the right lengths are for the caller to give. */
export interface Libsodium {
  crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
}

/** Null on a platform that its package has no binary for. */
export const libsodium: Libsodium | null = load();

function load(): Libsodium | null {
  try {
    return createRequire(import.meta.url)("sodium-native") as Libsodium;
  } catch {
    return null;
  }
}
