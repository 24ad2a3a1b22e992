/** What the formats check of their members, both where they are read and where they are written. */
import { fromHex, type Hex } from "./bytes.ts";
import { Link, type CborArray, type CborMap, type CborValue } from "./cbor.ts";
import { cidOfBytes, isCid, linkTo, type Cid } from "./cid.ts";
import { DmtpError, type ErrorCode } from "./error.ts";

/** What the maps of a format say first of themselves: `v`, and `suite` where the format has one. Each format has its own. */
export interface FormatVersion {
  readonly v: number;
  readonly suite?: number;
}

/**
 * Reads a decoded map whose members are known exactly: one more, one less or one of another type is refused with the
 * format's own code, and another version or suite is told apart from damage before its members are looked at.
 */
export class Fields {
  private readonly map: CborMap;
  private readonly code: ErrorCode;

  /**
   * @param names its members besides `v` and `suite`
   * @param version null for a map inside of another
   * @throws `code`, VERSION_UNSUPPORTED, SUITE_UNSUPPORTED
   */
  constructor(value: CborValue, names: readonly string[], code: ErrorCode, version: FormatVersion | null) {
    this.code = code;
    if (!(value instanceof Map)) throw new DmtpError(code, "not a map");
    this.map = value as CborMap;
    const { v, suite } = version ?? {};
    if (v !== undefined && this.uint("v") !== v) {
      throw new DmtpError("VERSION_UNSUPPORTED", `version ${this.uint("v")}, this software knows ${v}`);
    }
    if (suite !== undefined && this.uint("suite") !== suite) {
      throw new DmtpError("SUITE_UNSUPPORTED", `suite ${this.uint("suite")}, this software knows ${suite}`);
    }
    for (const name of names) if (!this.map.has(name)) throw new DmtpError(code, `no ${name}`);
    const size = names.length + (v === undefined ? 0 : 1) + (suite === undefined ? 0 : 1);
    if (this.map.size !== size) throw new DmtpError(code, "a member too many");
  }

  value(name: string): CborValue {
    const value = this.map.get(name);
    if (value === undefined) throw new DmtpError(this.code, `no ${name}`);
    return value;
  }

  bytes(name: string, sizeBytes?: number): Uint8Array {
    return requireBytes(this.value(name), sizeBytes, this.code, name);
  }

  uint(name: string, max = Number.MAX_SAFE_INTEGER): number {
    return requireUint(this.value(name), max, this.code, name);
  }

  text(name: string): string {
    const value = this.value(name);
    if (typeof value !== "string") throw new DmtpError(this.code, `${name} is not a text`);
    return value;
  }

  array(name: string): CborArray {
    return requireArray(this.value(name), this.code, name);
  }
}

export function requireBytes(
  value: CborValue | undefined,
  sizeBytes: number | undefined,
  code: ErrorCode,
  name: string,
): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new DmtpError(code, `${name} is not bytes`);
  if (sizeBytes !== undefined && value.length !== sizeBytes) {
    throw new DmtpError(code, `${name} has ${value.length} bytes, not ${sizeBytes}`);
  }
  return value;
}

/** @param max a uint53 unless it is less */
export function requireUint(value: CborValue | undefined, max: number, code: ErrorCode, name: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0 || value > max || Object.is(value, -0)) {
    throw new DmtpError(code, `${name} is not an integer from 0 to ${max}`);
  }
  return value;
}

export function requireArray(value: CborValue | undefined, code: ErrorCode, name: string): CborArray {
  if (!Array.isArray(value)) throw new DmtpError(code, `${name} is not an array`);
  return value as CborArray;
}

/** A link to a DMTP block. */
export function requireLink(value: CborValue | undefined, code: ErrorCode, name: string): Cid {
  const cid = value instanceof Link ? cidOfBytes(value.bytes) : null;
  if (cid === null) throw new DmtpError(code, `${name} is not a link to a dag-cbor block`);
  return cid;
}

/** The bytes of an address, a room id or a hash that is to be written. */
export function encodeHex(text: Hex, sizeBytes: number, code: ErrorCode, name: string): Uint8Array {
  if (text.length !== 2 + 2 * sizeBytes || !/^0x[0-9a-f]*$/.test(text)) {
    throw new DmtpError(code, `${name} is not ${sizeBytes} bytes in lower-case hexadecimal`);
  }
  return fromHex(text);
}

/** The link to a block that is to be written. */
export function encodeLink(cid: Cid, code: ErrorCode, name: string): Link {
  if (!isCid(cid)) throw new DmtpError(code, `${name} is not a CID`);
  return linkTo(cid);
}
