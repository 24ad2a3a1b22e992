/** The signatures of externally owned accounts: ECDSA over secp256k1, of which the signer is recovered (SPEC 3.3). */
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";

import { addressOfBytes, type Address } from "../address.ts";
import { concat } from "../bytes.ts";

/** The order of the group. */
export const ORDER = secp256k1.Point.Fn.ORDER;

/**
 * The account whose signature this is, or null when there is none.
 * @param digest 32 bytes
 * @param signature r ‖ s ‖ v: 65 bytes, with v 27 or 28; s may be high, which the caller refuses or not
 */
export function recoverAccount(digest: Uint8Array, signature: Uint8Array): Address | null {
  const v = signature[64];
  if (signature.length !== 65 || (v !== 27 && v !== 28)) return null;
  try {
    const recoverable = concat(Uint8Array.of(v - 27), signature.subarray(0, 64));
    const publicKey = secp256k1.Signature.fromBytes(recoverable, "recovered").recoverPublicKey(digest).toBytes(false);
    // The first byte says that both coordinates follow; the account is the end of their hash.
    return addressOfBytes(keccak_256(publicKey.subarray(1)).subarray(12));
  } catch {
    // r or s is zero or too large, or r is no point's coordinate: nobody signed this.
    return null;
  }
}
