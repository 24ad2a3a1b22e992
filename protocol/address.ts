import { keccak_256 } from "@noble/hashes/sha3.js";

import { fromHex, toHex, utf8 } from "./bytes.ts";
import { DmtpError } from "./error.ts";

declare const brand: unique symbol;

/** A wallet or contract: `0x` and 40 lower-case hexadecimal digits. Shown to people with {@link checksummed}. */
export type Address = `0x${string}` & { readonly [brand]: "Address" };

/**
 * Parses an address as a person writes it: EIP-55 checksummed, or all digits in one case.
 * @throws ADDRESS_INVALID
 */
export function parseAddress(text: unknown): Address {
  if (typeof text !== "string" || !/^0x[0-9a-fA-F]{40}$/.test(text)) {
    throw new DmtpError("ADDRESS_INVALID", "not a wallet address");
  }
  const digits = text.slice(2);
  const lower = `0x${digits.toLowerCase()}` as Address;
  if (digits !== digits.toLowerCase() && digits !== digits.toUpperCase() && checksummed(lower) !== text) {
    throw new DmtpError("ADDRESS_INVALID", "the address has a wrong checksum: a digit is mistyped");
  }
  return lower;
}

/** The EIP-55 form, for people and for JSON-RPC: a letter is upper-case where the hash of the digits has an 8 or more. */
export function checksummed(address: Address): string {
  const digits = address.slice(2);
  const hash = toHex(keccak_256(utf8(digits))).slice(2);
  return `0x${Array.from(digits, (digit, i) => (Number(`0x${hash[i] ?? ""}`) < 8 ? digit : digit.toUpperCase())).join("")}`;
}

/** 20 bytes to an address. */
export function addressOfBytes(bytes: Uint8Array): Address {
  if (bytes.length !== 20) throw new RangeError("an address has 20 bytes");
  return toHex(bytes) as Address;
}

/** The 20 bytes of an address. */
export function bytesOfAddress(address: Address): Uint8Array {
  return fromHex(address, 20);
}

export const ZERO_ADDRESS = `0x${"0".repeat(40)}` as Address;
