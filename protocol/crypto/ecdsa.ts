/**
 * The signatures of externally owned accounts: ECDSA over secp256k1, of which the signer is recovered (SPEC 3.3).
 *
 * On the curve's arithmetic alone, and not on `secp256k1` of @noble/curves: signing, DER and all else that comes with it are 3.8 kB of
 * a page's compressed script.
 */
import { weierstrass } from "@noble/curves/abstract/weierstrass.js";
import { keccak_256 } from "@noble/hashes/sha3.js";

import { addressOfBytes, type Address } from "../address.ts";
import { concat, toHex } from "../bytes.ts";

/** SEC 2 (version 2), 2.4.1. */
const Point = weierstrass({
  p: 2n ** 256n - 2n ** 32n - 977n,
  n: 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n,
  h: 1n,
  a: 0n,
  b: 7n,
  Gx: 0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  Gy: 0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
});
const { Fn: scalars, BASE } = Point;

/** The order of the group. */
export const ORDER = scalars.ORDER;

/**
 * The account whose signature this is, or null when there is none.
 * @param digest 32 bytes
 * @param signature r ‖ s ‖ v: 65 bytes, with v 27 or 28; s may be high, which the caller refuses or not
 */
export function recoverAccount(digest: Uint8Array, signature: Uint8Array): Address | null {
  const v = signature[64];
  if (digest.length !== 32) throw new RangeError("a digest has 32 bytes");
  if (signature.length !== 65 || (v !== 27 && v !== 28)) return null;
  const r = readNumber(signature.subarray(0, 32));
  const s = readNumber(signature.subarray(32, 64));
  if (!scalars.isValidNot0(r) || !scalars.isValidNot0(s)) return null;
  let point: typeof BASE;
  try {
    // The sign of y is what v says: 2 or 3 before x is a compressed point (SEC 1, 2.3.4).
    point = Point.fromBytes(concat(Uint8Array.of(v - 25), signature.subarray(0, 32)));
  } catch {
    // About half of all numbers are no point's x.
    return null;
  }
  // SEC 1, 4.1.6: Q = r⁻¹(sR − eG). What is public needs no constant time.
  const inverse = scalars.inv(r);
  const e = scalars.create(readNumber(digest));
  const publicKey = BASE.mulAddUnsafe(scalars.neg(scalars.mul(e, inverse)), point, scalars.mul(s, inverse));
  if (publicKey.is0()) return null;
  // The first byte says that both coordinates follow; the account is the end of their hash.
  return addressOfBytes(keccak_256(publicKey.toBytes(false).subarray(1)).subarray(12));
}

function readNumber(bytes: Uint8Array): bigint {
  return BigInt(toHex(bytes));
}
