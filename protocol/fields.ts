import { Link, type CborArray, type CborMap, type CborValue } from "./cbor.ts";
import { cidOfBytes, type Cid } from "./cid.ts";
import { DmtpError, type ErrorCode } from "./error.ts";

/** The version of every format in SPEC.md, and its only suite. */
export const VERSION = 1;
export const SUITE = 1;

/**
 * Reads a decoded map whose members are known exactly: one more, one less or one of another type is refused with the
 * format's own code, and a newer version or suite is told apart from damage before its members are looked at.
 */
export class Fields {
  private readonly map: CborMap;
  private readonly code: ErrorCode;

  /** @throws `code`, VERSION_UNSUPPORTED, SUITE_UNSUPPORTED */
  constructor(value: CborValue, names: readonly string[], code: ErrorCode) {
    this.code = code;
    if (!(value instanceof Map)) throw new DmtpError(code, "not a map");
    this.map = value as CborMap;
    if (names.includes("v") && this.uint("v") !== VERSION) {
      throw new DmtpError("VERSION_UNSUPPORTED", `version ${this.uint("v")}, this software knows ${VERSION}`);
    }
    if (names.includes("suite") && this.uint("suite") !== SUITE) {
      throw new DmtpError("SUITE_UNSUPPORTED", `suite ${this.uint("suite")}, this software knows ${SUITE}`);
    }
    for (const name of names) if (!this.map.has(name)) throw new DmtpError(code, `no ${name}`);
    if (this.map.size !== names.length) throw new DmtpError(code, "a member too many");
  }

  value(name: string): CborValue {
    const value = this.map.get(name);
    if (value === undefined) throw new DmtpError(this.code, `no ${name}`);
    return value;
  }

  bytes(name: string, sizeBytes?: number): Uint8Array {
    return readBytes(this.value(name), sizeBytes, this.code, name);
  }

  uint(name: string, max = Number.MAX_SAFE_INTEGER): number {
    return readUint(this.value(name), max, this.code, name);
  }

  text(name: string): string {
    const value = this.value(name);
    if (typeof value !== "string") throw new DmtpError(this.code, `${name} is not a text`);
    return value;
  }

  array(name: string): CborArray {
    return readArray(this.value(name), this.code, name);
  }
}

export function readBytes(
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

export function readUint(value: CborValue | undefined, max: number, code: ErrorCode, name: string): number {
  if (typeof value !== "number" || value < 0 || value > max) {
    throw new DmtpError(code, `${name} is not an integer from 0 to ${max}`);
  }
  return value;
}

export function readArray(value: CborValue | undefined, code: ErrorCode, name: string): CborArray {
  if (!Array.isArray(value)) throw new DmtpError(code, `${name} is not an array`);
  return value as CborArray;
}

/** A link to a DMTP block. */
export function readLink(value: CborValue | undefined, code: ErrorCode, name: string): Cid {
  const cid = value instanceof Link ? cidOfBytes(value.bytes) : null;
  if (cid === null) throw new DmtpError(code, `${name} is not a link to a dag-cbor block`);
  return cid;
}
