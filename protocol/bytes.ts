import { DmtpError } from "./error.ts";

/** `0x` and an even number of lower-case hexadecimal digits. */
export type Hex = `0x${string}`;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** The value of a hexadecimal digit of either case by its character code; -1 for any other character. */
const HEX_DIGITS = new Int8Array(128).fill(-1);
for (const [value, digit] of Array.from("0123456789abcdef").entries())
  for (const character of [digit, digit.toUpperCase()]) HEX_DIGITS[character.charCodeAt(0)] = value;
const HEX_CODES = utf8("0123456789abcdef");
/** Scratch buffers of {@link asciiText}, one for each length below 128. */
const places: Uint8Array[] = Array.from({ length: 128 }, (_, length) => new Uint8Array(length));

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
  let rest = value;
  for (let i = 7; i >= 0; i--) {
    // Takes it modulo 256.
    bytes[i] = rest;
    rest = Math.floor(rest / 256);
  }
  return bytes;
}

/**
 * A text of `length` ASCII characters, whose codes `write` puts into the array that it gets. It is made in one step, because a text that is
 * joined from pieces keeps all of them in memory: 2 kB for each of a million CIDs.
 */
export function asciiText(length: number, write: (codes: Uint8Array) => void): string {
  const codes = places[length] ?? new Uint8Array(length);
  write(codes);
  return decoder.decode(codes);
}

/** `0x…`, lower-case. */
export function toHex(bytes: Uint8Array): Hex {
  return asciiText(2 + 2 * bytes.length, (codes) => {
    codes[0] = 0x30;
    codes[1] = 0x78;
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i] ?? 0;
      codes[2 * i + 2] = HEX_CODES[byte >> 4] ?? 0;
      codes[2 * i + 3] = HEX_CODES[byte & 15] ?? 0;
    }
  }) as Hex;
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
    const high = hexDigit(hex, 2 * i + 2);
    const low = hexDigit(hex, 2 * i + 3);
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

/** The value of the hexadecimal digit at this place of a text; -1 where there is none. */
function hexDigit(text: string, at: number): number {
  return HEX_DIGITS[text.charCodeAt(at)] ?? -1;
}

/**
 * The bytes as a text of as many characters, each with the code of its byte. What is kept by the hundred thousand is kept so: 32 bytes
 * take 48 bytes of memory as a text, and 245 as an array.
 */
export function toBinaryString(bytes: Uint8Array): string {
  return Reflect.apply(String.fromCharCode, null, bytes) as string;
}

/** Writes the bytes of such a text into `target`, from `offset` on. */
export function writeBinaryString(text: string, target: Uint8Array, offset: number): void {
  for (let i = 0; i < text.length; i++) target[offset + i] = text.charCodeAt(i);
}

/** The reverse of {@link toBinaryString}. */
export function fromBinaryString(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  writeBinaryString(text, bytes, 0);
  return bytes;
}

/** @param text base64 of RFC 4648 with its padding, as the caller has checked it */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
