import type { ScryptParameters } from "./primitives.ts";

// Both implementations refuse by these checks, before their libraries can each refuse in its own way.

export const SHA256_BYTES = 32;
export const KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;
export const IV_BYTES = 12;
export const TAG_BYTES = 16;

/** RFC 5869, 2.3: 255 blocks of SHA-256; scrypt's own limit is far larger, but no key needs it. */
const MAX_DERIVED_BYTES = 255 * SHA256_BYTES;
const MAX_SCRYPT_MEMORY_BYTES = 2 ** 31;

/**
 * Throws RangeError unless `bytes` has exactly `length` bytes; `name` says which argument it was, never what it holds.
 */
export function requireLength(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) {
    throw new RangeError(`${name} has ${String(bytes.length)} bytes instead of ${String(length)}`);
  }
}

/** Throws RangeError unless `length` is a whole number of bytes from 1 to 8160 (RFC 5869, 2.3). */
export function requireDerivedLength(length: number): void {
  if (!Number.isInteger(length) || length < 1 || length > MAX_DERIVED_BYTES) {
    throw new RangeError(`a derived key has 1 to ${String(MAX_DERIVED_BYTES)} bytes, not ${String(length)}`);
  }
}

/**
 * The most memory in bytes that scrypt needs for these parameters; RangeError if they are not RFC 7914's or need over
 * 2 GiB.
 */
export function scryptMemory({ N, r, p }: ScryptParameters): number {
  const whole = Number.isInteger(N) && Number.isInteger(r) && Number.isInteger(p) && r >= 1 && p >= 1;
  // RFC 7914, 2: N is a power of two above 1 and below 2^(128·r/8); OpenSSL enforces the upper bound, noble does not.
  if (!whole || N < 2 || N > 2 ** 31 || !Number.isInteger(Math.log2(N)) || N >= 2 ** (16 * r)) {
    throw new RangeError(`scrypt has no parameters N=${String(N)}, r=${String(r)}, p=${String(p)}`);
  }
  const memory = 128 * r * (N + p + 2);
  if (memory > MAX_SCRYPT_MEMORY_BYTES) {
    throw new RangeError(
      `scrypt would need ${String(memory)} bytes of memory, over ${String(MAX_SCRYPT_MEMORY_BYTES)}`,
    );
  }
  return memory;
}
