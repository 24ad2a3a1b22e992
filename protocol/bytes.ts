import { DmtpError } from "./error.ts";

/** `0x` and an even number of lower-case hexadecimal digits. */
export type Hex = `0x${string}`;

const encoder = new TextEncoder();
/** What the character with a code is worth as a digit of either case; -1 for one that is none. */
const HEX_DIGITS = new Int8Array(128).fill(-1);
for (const [value, digit] of Array.from("0123456789abcdef").entries())
  for (const character of [digit, digit.toUpperCase()]) HEX_DIGITS[character.charCodeAt(0)] = value;
const HEX_BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** UTF-8 bytes of a text. A lone surrogate would become U+FFFD, so texts from outside are checked before (content.ts). */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The parts one after the other, in a new array. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const result = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    result.set(part, offset);
    offset += part.length;
  }
  return result;
}

/** Whether both hold the same bytes. Not constant-time: only for public values. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compare(a, b) === 0;
}

/** Bytewise order: negative, zero or positive. */
export function compare(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** A safe non-negative integer as 8 big-endian bytes. */
export function uint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(value / 2 ** 32));
  view.setUint32(4, value % 2 ** 32);
  return bytes;
}

/** `0x…`, lower-case. */
export function toHex(bytes: Uint8Array): Hex {
  let digits = "";
  for (const byte of bytes) digits += HEX_BYTES[byte] ?? "";
  return `0x${digits}`;
}

/**
 * The bytes of a `0x…` text with digits of either case.
 * @throws HEX_INVALID for anything else, or for another length than asked.
 */
export function fromHex(hex: string, sizeBytes?: number): Uint8Array {
  const isPrefixed = hex.startsWith("0x") && hex.length % 2 === 0;
  const bytes = new Uint8Array(isPrefixed ? hex.length / 2 - 1 : 0);
  let digits = isPrefixed ? 0 : -1;
  for (let i = 0; i < bytes.length; i++) {
    const high = HEX_DIGITS[hex.charCodeAt(2 * i + 2)] ?? -1;
    const low = HEX_DIGITS[hex.charCodeAt(2 * i + 3)] ?? -1;
    // Negative from the first character on that is no digit.
    digits |= high | low;
    bytes[i] = (high << 4) | low;
  }
  if (digits < 0) throw new DmtpError("HEX_INVALID", "not 0x-prefixed hexadecimal bytes");
  if (sizeBytes !== undefined && bytes.length !== sizeBytes) {
    throw new DmtpError("HEX_INVALID", `expected ${sizeBytes} bytes, got ${bytes.length}`);
  }
  return bytes;
}
