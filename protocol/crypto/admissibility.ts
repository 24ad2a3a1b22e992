import { ed25519 } from "@noble/curves/ed25519.js";
import { KEY_BYTES } from "./lengths.ts";

const FIELD_PRIME = 2n ** 255n - 19n;

/**
 * The u of every point whose order divides 8, on the curve and on its twist (cr.yp.to/ecdh.html#validate).
 *
 * RFC 7748's ladder gives the all-zero secret for these and for no other u.
 */
const LOW_ORDER_U: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
  FIELD_PRIME - 1n,
]);

/**
 * Answers `Primitives.isAdmissibleSigningKey`.
 *
 * Only such keys are registered, so that no signature exists on which a cofactored and a cofactorless verifier differ
 * by the key.
 */
export function isAdmissibleSigningKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES) return false;
  const point = decodeCanonical(publicKey);
  // The identity is torsion-free; it would let anyone sign.
  return point !== null && !point.is0() && point.isTorsionFree();
}

/** Answers `Primitives.isAdmissibleEncryptionKey`. A u on the twist is admissible: X25519 is built to be safe there. */
export function isAdmissibleEncryptionKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES) return false;
  const u = decodeLittleEndian(publicKey);
  return u < FIELD_PRIME && !LOW_ORDER_U.has(u);
}

/** Decodes by RFC 8032, 5.1.3: `null` where y >= p, where x = 0 has its sign bit set, and off the curve. */
function decodeCanonical(bytes: Uint8Array) {
  try {
    return ed25519.Point.fromBytes(bytes, false);
  } catch {
    return null;
  }
}

function decodeLittleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let index = bytes.length - 1; index >= 0; index--) value = (value << 8n) | BigInt(bytes[index] ?? 0);
  return value;
}
