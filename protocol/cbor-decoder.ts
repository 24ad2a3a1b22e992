/**
 * The decoder enforces the canonical form while it reads, so that what it accepts re-encodes to the same bytes. It bounds size,
 * depth and the number of parts, and never allocates for a count that the remaining bytes cannot hold.
 */
import { asciiText } from "./bytes.ts";
import {
  CID_TAG,
  compareKeys,
  Float,
  Link,
  MAX_BLOCK_BYTES,
  MAX_DEPTH,
  MAX_PARTS,
  type CborArray,
  type CborMap,
  type CborValue,
  type Key,
} from "./cbor.ts";
import { DmtpError } from "./error.ts";

interface DecodeLimits {
  readonly sizeBytes: number;
  readonly depth: number;
  /** Byte strings, links, arrays and maps. */
  readonly parts: number;
}

const LIMITS: DecodeLimits = { sizeBytes: MAX_BLOCK_BYTES, depth: MAX_DEPTH, parts: MAX_PARTS };
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const MAX_SHORT_LENGTH = 24;
const SHORT_TEXTS = 256;
/** The last one of each slot. */
const shortTexts: (string | undefined)[] = Array.from({ length: SHORT_TEXTS }, () => undefined);

/**
 * Decodes one canonical DAG-CBOR value that fills `bytes`.
 * @throws BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL
 */
export function decode(bytes: Uint8Array, limits: DecodeLimits = LIMITS): CborValue {
  if (bytes.length > limits.sizeBytes) {
    throw new DmtpError("BLOCK_TOO_LARGE", `block of ${bytes.length} bytes, at most ${limits.sizeBytes} are allowed`);
  }
  const reader = new Reader(bytes, limits.parts);
  const value = reader.value(limits.depth);
  if (reader.offset !== bytes.length) throw refuse(`${bytes.length - reader.offset} bytes after the value`);
  return value;
}

class Reader {
  offset = 0;
  private parts = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly maxParts: number;

  constructor(bytes: Uint8Array, maxParts: number) {
    this.maxParts = maxParts;
    // One plain copy for all byte strings: memory of its own for each costs more than to read it.
    this.bytes = new Uint8Array(bytes);
    this.view = new DataView(this.bytes.buffer);
  }

  value(depth: number): CborValue {
    if (depth === 0) throw refuse("nested too deeply");
    const initial = this.bytes[this.offset];
    if (initial === undefined) throw refuse("the block ends inside a value");
    const major = initial >> 5;
    if (major === 7) return this.simple(initial);
    const argument = this.argument(initial);
    // Byte strings, arrays, maps and links.
    if (major !== 0 && major !== 1 && major !== 3 && ++this.parts > this.maxParts) {
      throw refuse(`more than ${this.maxParts} byte strings, links, arrays and maps`);
    }
    switch (major) {
      case 0:
        return argument;
      case 1:
        return typeof argument === "number" && argument < Number.MAX_SAFE_INTEGER
          ? -1 - argument
          : -1n - BigInt(argument);
      case 2:
        return this.take(argument);
      case 3:
        return this.string(argument);
      case 4:
        return this.array(argument, depth);
      case 5:
        return this.map(argument, depth);
      default:
        return this.link(argument);
    }
  }

  /** RFC 8949 3: the argument in its shortest form; indefinite lengths and reserved values refused. */
  private argument(initial: number): number | bigint {
    const info = initial & 31;
    this.offset += 1;
    if (info < 24) return info;
    const start = this.offset;
    const size = info === 24 ? 1 : info === 25 ? 2 : info === 26 ? 4 : info === 27 ? 8 : 0;
    if (size === 0) throw refuse("an indefinite length or a reserved head");
    if (start + size > this.bytes.length) throw refuse("the block ends inside a head");
    this.offset += size;
    if (size === 8) {
      const value = this.view.getBigUint64(start);
      if (value < 0x1_0000_0000n) throw refuse("an integer that is not in its shortest form");
      return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
    }
    const value =
      size === 1 ? this.view.getUint8(start) : size === 2 ? this.view.getUint16(start) : this.view.getUint32(start);
    if (value < (size === 1 ? 24 : size === 2 ? 0x100 : 0x1_0000)) {
      throw refuse("an integer that is not in its shortest form");
    }
    return value;
  }

  private take(length: number | bigint): Uint8Array {
    const start = this.skip(length);
    return this.bytes.subarray(start, this.offset);
  }

  private string(length: number | bigint): string {
    const start = this.skip(length);
    return shortText(this.bytes, start, this.offset) ?? decodeUtf8(this.bytes.subarray(start, this.offset));
  }

  /** Skips `length` bytes. @returns the offset at which they begin */
  private skip(length: number | bigint): number {
    if (length > this.bytes.length - this.offset) throw refuse("a length past the end of the block");
    const start = this.offset;
    this.offset += Number(length);
    return start;
  }

  private array(length: number | bigint, depth: number): CborArray {
    // Every item takes at least one byte, so a count past the end is refused before anything is allocated.
    if (length > this.bytes.length - this.offset) throw refuse("more items than the block has bytes");
    const items: CborValue[] = [];
    for (let i = 0; i < Number(length); i++) items.push(this.value(depth - 1));
    return items;
  }

  private map(length: number | bigint, depth: number): CborMap {
    if (Number(length) * 2 > this.bytes.length - this.offset) throw refuse("more entries than the block has bytes");
    const map = new Map<string, CborValue>();
    let previous: Key | undefined;
    for (let i = 0; i < Number(length); i++) {
      const initial = this.bytes[this.offset];
      if (initial === undefined || initial >> 5 !== 3) throw refuse("a map key that is not a text");
      const size = this.argument(initial);
      const key = { text: this.string(size), sizeBytes: Number(size) };
      if (previous !== undefined && compareKeys(previous, key) >= 0) throw refuse("map keys out of order or twice");
      previous = key;
      map.set(key.text, this.value(depth - 1));
    }
    return map;
  }

  private link(tag: number | bigint): Link {
    if (tag !== CID_TAG) throw refuse("a tag other than 42");
    const initial = this.bytes[this.offset];
    if (initial === undefined || initial >> 5 !== 2) throw refuse("a link that is not a byte string");
    const bytes = this.take(this.argument(initial));
    if (bytes[0] !== 0 || bytes.length < 2) throw refuse("a link without the identity multibase prefix");
    return new Link(bytes.subarray(1));
  }

  private simple(initial: number): CborValue {
    this.offset += 1;
    if (initial === 0xf4) return false;
    if (initial === 0xf5) return true;
    if (initial === 0xf6) return null;
    if (initial !== 0xfb) throw refuse("a simple value or a float of less than 64 bits");
    if (this.offset + 8 > this.bytes.length) throw refuse("the block ends inside a float");
    const value = this.view.getFloat64(this.offset);
    this.offset += 8;
    if (!Number.isFinite(value)) throw refuse("NaN or an infinity");
    return new Float(value);
  }
}

/**
 * Keys and media types come again and again: they are looked up, so that no memory is taken for each anew.
 * @returns undefined for a text that is long or not ASCII
 */
function shortText(bytes: Uint8Array, start: number, end: number): string | undefined {
  const length = end - start;
  if (length > MAX_SHORT_LENGTH) return undefined;
  let slot = length;
  for (let i = start; i < end; i++) {
    const code = bytes[i] ?? 0;
    if (code > 127) return undefined;
    slot = (slot * 31 + code) % SHORT_TEXTS;
  }
  const known = shortTexts[slot];
  if (known?.length === length && isAt(known, bytes, start)) return known;
  return (shortTexts[slot] = asciiText(length, (codes) => codes.set(bytes.subarray(start, end))));
}

function isAt(text: string, bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[start + i]) return false;
  return true;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return text.decode(bytes);
  } catch (cause) {
    throw refuse("a text that is not UTF-8", cause);
  }
}

function refuse(what: string, cause?: unknown): DmtpError {
  return new DmtpError("BLOCK_NOT_CANONICAL", `not canonical DAG-CBOR: ${what}`, { cause });
}
