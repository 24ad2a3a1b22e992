/**
 * Strict DAG-CBOR (https://ipld.io/specs/codecs/dag-cbor/spec/): one byte string per value, and nothing else accepted.
 *
 * The decoder enforces the canonical form while it reads, so that what it accepts re-encodes to the same bytes
 * (test/protocol/cbor.test.ts holds it against @ipld/dag-cbor). It bounds size and depth, and never allocates for a
 * count that the remaining bytes cannot hold.
 */
import { compare, concat, utf8 } from "./bytes.ts";
import { DmtpError } from "./error.ts";

/** A link to another block: the binary CID, unchecked (cid.ts parses it). */
export class Link {
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** A float, kept apart from integers: 1.0 and 1 are different values in CBOR. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** Integers outside of ±(2^53 − 1) are bigint, inside they are number. */
export type CborValue = null | boolean | number | bigint | string | Uint8Array | Link | Float | CborArray | CborMap;
export type CborArray = readonly CborValue[];
export type CborMap = ReadonlyMap<string, CborValue>;

export interface DecodeLimits {
  readonly sizeBytes: number;
  readonly depth: number;
}

/** The largest block that DMTP reads or writes (SPEC 2). */
export const MAX_BLOCK_BYTES = 1_048_576;
/** DMTP's own formats nest 3 deep; the rest is room to grow (SPEC 2). */
export const MAX_DEPTH = 16;

const LIMITS: DecodeLimits = { sizeBytes: MAX_BLOCK_BYTES, depth: MAX_DEPTH };
const CID_TAG = 42;
const MAX_UINT64 = 2n ** 64n - 1n;
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Decodes one canonical DAG-CBOR value that fills `bytes`.
 * @throws BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL
 */
export function decode(bytes: Uint8Array, limits: DecodeLimits = LIMITS): CborValue {
  if (bytes.length > limits.sizeBytes) {
    throw new DmtpError("BLOCK_TOO_LARGE", `block of ${bytes.length} bytes, at most ${limits.sizeBytes} are allowed`);
  }
  const reader = new Reader(bytes);
  const value = reader.value(limits.depth);
  if (reader.offset !== bytes.length) throw refuse(`${bytes.length - reader.offset} bytes after the value`);
  return value;
}

class Reader {
  offset = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(bytes: Uint8Array) {
    // A plain view: a Buffer's slice() would share memory with the block.
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(depth: number): CborValue {
    if (depth === 0) throw refuse("nested too deeply");
    const initial = this.bytes[this.offset];
    if (initial === undefined) throw refuse("the block ends inside a value");
    const major = initial >> 5;
    if (major === 7) return this.simple(initial);
    const argument = this.argument(initial);
    switch (major) {
      case 0:
        return argument;
      case 1:
        return typeof argument === "number" && argument < Number.MAX_SAFE_INTEGER
          ? -1 - argument
          : -1n - BigInt(argument);
      case 2:
        return this.take(argument).slice();
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
    if (length > this.bytes.length - this.offset) throw refuse("a length past the end of the block");
    const start = this.offset;
    this.offset += Number(length);
    return this.bytes.subarray(start, this.offset);
  }

  private string(length: number | bigint): string {
    const bytes = this.take(length);
    // Keys and media types are short ASCII: quicker by hand than by TextDecoder.
    if (bytes.length <= 24) {
      let ascii = "";
      for (const byte of bytes) {
        if (byte > 127) return decodeUtf8(bytes);
        ascii += String.fromCharCode(byte);
      }
      return ascii;
    }
    return decodeUtf8(bytes);
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
    let previous: Uint8Array | undefined;
    for (let i = 0; i < Number(length); i++) {
      const initial = this.bytes[this.offset];
      if (initial === undefined || initial >> 5 !== 3) throw refuse("a map key that is not a text");
      const size = this.argument(initial);
      const start = this.offset;
      const key = this.string(size);
      const bytes = this.bytes.subarray(start, this.offset);
      if (previous !== undefined && compareKeys(previous, bytes) >= 0) throw refuse("map keys out of order or twice");
      previous = bytes;
      map.set(key, this.value(depth - 1));
    }
    return map;
  }

  private link(tag: number | bigint): Link {
    if (tag !== CID_TAG) throw refuse("a tag other than 42");
    const initial = this.bytes[this.offset];
    if (initial === undefined || initial >> 5 !== 2) throw refuse("a link that is not a byte string");
    const bytes = this.take(this.argument(initial));
    if (bytes[0] !== 0 || bytes.length < 2) throw refuse("a link without the identity multibase prefix");
    return new Link(bytes.slice(1));
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

/** DAG-CBOR map order: shorter keys first, then bytewise. */
function compareKeys(a: Uint8Array, b: Uint8Array): number {
  return a.length - b.length || compare(a, b);
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

/** Encodes a value as canonical DAG-CBOR. The caller answers for finite floats and well-formed texts. */
export function encode(value: CborValue): Uint8Array {
  const writer = new Writer();
  writer.value(value);
  return writer.bytes();
}

/** A map in canonical order from an object literal of our own; never from outside input (`__proto__`). */
export function mapOf(fields: Readonly<Record<string, CborValue>>): CborMap {
  return new Map(Object.entries(fields));
}

/** The formats' own member names come again with every block; room ids, which are longer, are not kept. */
const memberNames = new Map<string, Uint8Array>();

function keyBytes(text: string): Uint8Array {
  if (text.length > 24) return utf8(text);
  let bytes = memberNames.get(text);
  if (bytes === undefined) {
    bytes = utf8(text);
    if (memberNames.size < 256) memberNames.set(text, bytes);
  }
  return bytes;
}

class Writer {
  private buffer = new Uint8Array(512);
  private length = 0;

  bytes(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }

  value(value: CborValue): void {
    if (typeof value === "number") this.integer(value);
    else if (value instanceof Uint8Array) this.sized(2, value);
    else if (typeof value === "string") this.sized(3, utf8(value));
    else if (value instanceof Link) {
      this.head(6, CID_TAG);
      this.sized(2, concat(Uint8Array.of(0), value.bytes));
    } else if (value instanceof Map) this.map(value as CborMap);
    else if (value === null) this.byte(0xf6);
    else if (typeof value === "boolean") this.byte(value ? 0xf5 : 0xf4);
    else if (typeof value === "bigint") this.integer(value);
    else if (value instanceof Float) this.float(value.value);
    else {
      const items = value as CborArray;
      this.head(4, items.length);
      for (const item of items) this.value(item);
    }
  }

  private integer(value: number | bigint): void {
    if (value < 0)
      this.head(1, typeof value === "number" && Number.isSafeInteger(value) ? -1 - value : -1n - BigInt(value));
    else this.head(0, value);
  }

  private map(map: CborMap): void {
    const keys = Array.from(map.keys(), (text) => ({ text, bytes: keyBytes(text) }));
    keys.sort((a, b) => compareKeys(a.bytes, b.bytes));
    this.head(5, keys.length);
    for (const { text, bytes } of keys) {
      this.sized(3, bytes);
      this.value(map.get(text) ?? null);
    }
  }

  private sized(major: number, bytes: Uint8Array): void {
    this.head(major, bytes.length);
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  private float(value: number): void {
    this.byte(0xfb);
    this.reserve(8);
    new DataView(this.buffer.buffer).setFloat64(this.length, value);
    this.length += 8;
  }

  private head(major: number, argument: number | bigint): void {
    const kind = major << 5;
    if (argument < 24) {
      this.byte(kind | Number(argument));
      return;
    }
    this.reserve(9);
    const view = new DataView(this.buffer.buffer);
    if (argument < 0x100) {
      this.byte(kind | 24);
      this.byte(Number(argument));
    } else if (argument < 0x1_0000) {
      this.byte(kind | 25);
      view.setUint16(this.length, Number(argument));
      this.length += 2;
    } else if (argument < 0x1_0000_0000) {
      this.byte(kind | 26);
      view.setUint32(this.length, Number(argument));
      this.length += 4;
    } else {
      if (argument > MAX_UINT64) throw new RangeError("an integer of more than 64 bits");
      this.byte(kind | 27);
      view.setBigUint64(this.length, BigInt(argument));
      this.length += 8;
    }
  }

  private byte(byte: number): void {
    this.reserve(1);
    this.buffer[this.length++] = byte;
  }

  private reserve(size: number): void {
    if (this.length + size <= this.buffer.length) return;
    const grown = new Uint8Array(Math.max(this.buffer.length * 2, this.length + size));
    grown.set(this.buffer.subarray(0, this.length));
    this.buffer = grown;
  }
}
