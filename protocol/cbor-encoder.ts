import { utf8 } from "./bytes.ts";
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
} from "./cbor.ts";
import { DmtpError } from "./error.ts";

const MAX_UINT64 = 2n ** 64n - 1n;

/**
 * Encodes a value as canonical DAG-CBOR, of any size. What the decoder would refuse, or give back as another value, is refused.
 * @throws BLOCK_NOT_CANONICAL
 */
export function encode(value: CborValue): Uint8Array {
  const writer = new Writer();
  writer.value(value);
  return writer.bytes();
}

/**
 * As {@link encode}, of a whole block.
 * @throws BLOCK_NOT_CANONICAL, BLOCK_TOO_LARGE
 */
export function encodeBlock(value: CborValue): Uint8Array {
  const writer = new Writer();
  writer.value(value);
  if (writer.sizeBytes > MAX_BLOCK_BYTES) {
    throw new DmtpError(
      "BLOCK_TOO_LARGE",
      `block of ${writer.sizeBytes} bytes, at most ${MAX_BLOCK_BYTES} are allowed`,
    );
  }
  if (writer.parts > MAX_PARTS) throw refuse(`more than ${MAX_PARTS} byte strings, links, arrays and maps`);
  return writer.bytes();
}

/** The formats' own member names come again with every block; room ids, which are longer, are not kept. */
const memberNames = new Map<string, Uint8Array>();

function keyBytes(text: string): Uint8Array {
  if (text.length > 24) return encodeText(text);
  let bytes = memberNames.get(text);
  if (bytes === undefined) {
    bytes = encodeText(text);
    if (memberNames.size < 256) memberNames.set(text, bytes);
  }
  return bytes;
}

/** Writes a value piece by piece. Whoever uses `head` and `link` answers for the canonical form. */
export class Writer {
  /** Byte strings, links, arrays and maps that `value` has written. */
  parts = 0;
  private buffer = new Uint8Array(512);
  private length = 0;

  get sizeBytes(): number {
    return this.length;
  }

  bytes(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }

  /** Begins anew, with the memory that it has. */
  clear(): void {
    this.length = 0;
  }

  /** @param depth how many levels it may have */
  value(value: CborValue, depth = MAX_DEPTH): void {
    if (depth === 0) throw refuse("nested too deeply");
    if (typeof value === "number") this.integer(value);
    else if (value instanceof Uint8Array) {
      this.parts += 1;
      this.sized(2, value);
    } else if (typeof value === "string") this.sized(3, encodeText(value));
    else if (value instanceof Link) {
      if (value.bytes.length === 0) throw refuse("a link to nothing");
      this.parts += 1;
      this.link(value.bytes);
    } else if (value instanceof Map) this.map(value as CborMap, depth);
    else if (value === null) this.byte(0xf6);
    else if (typeof value === "boolean") this.byte(value ? 0xf5 : 0xf4);
    else if (typeof value === "bigint") this.integer(value);
    else if (value instanceof Float) this.float(value.value);
    else {
      const items = value as CborArray;
      this.parts += 1;
      this.head(4, items.length);
      for (const item of items) this.value(item, depth - 1);
    }
  }

  link(cid: Uint8Array): void {
    this.head(6, CID_TAG);
    this.head(2, 1 + cid.length);
    // The identity multibase prefix.
    this.byte(0);
    this.raw(cid);
  }

  private integer(value: number | bigint): void {
    // The decoder gives a number for each safe integer, and a bigint for no other.
    if (Number.isSafeInteger(Number(value)) !== (typeof value === "number") || Object.is(value, -0)) {
      throw refuse("a number that is not what the decoder gives");
    }
    if (value < 0)
      this.head(1, typeof value === "number" && Number.isSafeInteger(value) ? -1 - value : -1n - BigInt(value));
    else this.head(0, value);
  }

  private map(map: CborMap, depth: number): void {
    this.parts += 1;
    const keys = Array.from(map.keys(), (text) => {
      const bytes = keyBytes(text);
      return { text, bytes, sizeBytes: bytes.length };
    });
    keys.sort(compareKeys);
    this.head(5, keys.length);
    for (const { text, bytes } of keys) {
      this.sized(3, bytes);
      this.value(map.get(text) ?? null, depth - 1);
    }
  }

  private sized(major: number, bytes: Uint8Array): void {
    this.head(major, bytes.length);
    this.raw(bytes);
  }

  private raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  private float(value: number): void {
    if (!Number.isFinite(value)) throw refuse("NaN or an infinity");
    this.byte(0xfb);
    this.reserve(8);
    new DataView(this.buffer.buffer).setFloat64(this.length, value);
    this.length += 8;
  }

  head(major: number, argument: number | bigint): void {
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
      if (argument > MAX_UINT64) throw refuse("an integer of more than 64 bits");
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

/** Half of a surrogate pair would become U+FFFD. */
function encodeText(text: string): Uint8Array {
  if (!text.isWellFormed()) throw refuse("a text that is not Unicode");
  return utf8(text);
}

function refuse(what: string): DmtpError {
  return new DmtpError("BLOCK_NOT_CANONICAL", `no canonical DAG-CBOR: ${what}`);
}
