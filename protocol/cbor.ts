/**
 * DAG-CBOR values (https://ipld.io/specs/codecs/dag-cbor/spec/): one byte string per value, and nothing else accepted.
 * cbor-decoder.ts reads them, cbor-encoder.ts writes them; test/protocol/cbor.test.ts holds both against @ipld/dag-cbor.
 */
import { compare, utf8 } from "./bytes.ts";

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

/** The largest block that DMTP reads or writes (SPEC 2). */
export const MAX_BLOCK_BYTES = 1_048_576;
/** DMTP's own formats nest 3 deep; the rest is room to grow (SPEC 2). */
export const MAX_DEPTH = 16;
/**
 * So many byte strings, links, arrays and maps, in all, one block holds at most (SPEC 2): each takes a hundred times its bytes in
 * memory. A full block of DMTP's own has 28,000.
 */
export const MAX_PARTS = 65_536;
/** The tag of a link. */
export const CID_TAG = 42;

/** A map in canonical order from an object literal of our own; never from outside input (`__proto__`). */
export function mapOf(fields: Readonly<Record<string, CborValue>>): CborMap {
  return new Map(Object.entries(fields));
}

/** A map's key, and its bytes in UTF-8. */
export interface Key {
  readonly text: string;
  readonly sizeBytes: number;
}

/** DAG-CBOR map order: shorter keys first, then bytewise. */
export function compareKeys(a: Key, b: Key): number {
  if (a.sizeBytes !== b.sizeBytes) return a.sizeBytes - b.sizeBytes;
  const areAscii = a.text.length === a.sizeBytes && b.text.length === b.sizeBytes;
  if (!areAscii) return compare(utf8(a.text), utf8(b.text));
  return a.text === b.text ? 0 : a.text < b.text ? -1 : 1;
}
