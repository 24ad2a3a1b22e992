/**
 * EIP-712 (https://eips.ethereum.org/EIPS/eip-712): the digest of typed data, which a wallet shows to its user and signs. Values that
 * do not fit their type are refused, because a wallet would refuse them or sign something else.
 */
import { keccak_256 } from "@noble/hashes/sha3.js";

import { concat, fromHex, utf8 } from "./bytes.ts";

interface TypedDataDomain {
  readonly name: string;
  readonly version: string;
  readonly chainId: number;
  readonly verifyingContract: string;
}
type TypedDataTypes = Record<string, { name: string; type: string }[]>;

/** One EIP-712 request, in the shape that ethers' `signTypedData` and `eth_signTypedData_v4` take. */
export interface TypedData {
  readonly domain: TypedDataDomain;
  readonly types: TypedDataTypes;
  readonly message: Readonly<Record<string, string | number>>;
}

/** The members that a domain may have, in the order in which EIP-712 hashes them. */
const DOMAIN_MEMBERS = [
  { name: "name", type: "string" },
  { name: "version", type: "string" },
  { name: "chainId", type: "uint256" },
  { name: "verifyingContract", type: "address" },
  { name: "salt", type: "bytes32" },
];

/**
 * The 32 bytes that the wallet signs: `keccak256("\x19\x01" ‖ domainSeparator ‖ hashStruct(message))`.
 * @throws RangeError, HEX_INVALID when a value does not fit its type
 */
export function hashTypedData({ domain, types, message }: TypedData): Uint8Array {
  const members = DOMAIN_MEMBERS.filter(({ name }) => Object.hasOwn(domain, name));
  const domainSeparator = hashStruct("EIP712Domain", { EIP712Domain: members }, domain);
  const messageHash = hashStruct(findPrimaryType(types), types, message);
  return keccak_256(concat(Uint8Array.of(0x19, 0x01), domainSeparator, messageHash));
}

/** The signature of a type as EIP-712 hashes it: the type itself, then the types that it refers to by their names' order. */
export function encodeType(name: string, types: TypedDataTypes): string {
  const referenced = new Set<string>();
  collectTypes(name, types, referenced);
  referenced.delete(name);
  return [name, ...[...referenced].sort()]
    .map(
      (type) =>
        `${type}(${membersOf(type, types)
          .map((member) => `${member.type} ${member.name}`)
          .join(",")})`,
    )
    .join("");
}

/** The one type that no other type refers to. */
function findPrimaryType(types: TypedDataTypes): string {
  const referenced = new Set(Object.values(types).flatMap((members) => members.map(({ type }) => elementType(type))));
  const [primary, ...others] = Object.keys(types).filter((name) => !referenced.has(name));
  if (primary === undefined || others.length > 0) throw new RangeError("not exactly one type that no other refers to");
  return primary;
}

function collectTypes(name: string, types: TypedDataTypes, found: Set<string>): void {
  if (found.has(name) || !Object.hasOwn(types, name)) return;
  found.add(name);
  for (const { type } of membersOf(name, types)) collectTypes(elementType(type), types, found);
}

function membersOf(name: string, types: TypedDataTypes): TypedDataTypes[string] {
  return types[name] ?? [];
}

/** `Person[2][]` has the elements `Person`. */
function elementType(type: string): string {
  return type.replace(/\[.*$/, "");
}

function hashStruct(name: string, types: TypedDataTypes, value: unknown): Uint8Array {
  if (typeof value !== "object" || value === null) throw new RangeError(`not a ${name}`);
  const members = membersOf(name, types).map((member) => {
    if (!Object.hasOwn(value, member.name)) throw new RangeError(`${name} without ${member.name}`);
    return encodeValue(member.type, types, (value as Readonly<Record<string, unknown>>)[member.name]);
  });
  return keccak_256(concat(keccak_256(utf8(encodeType(name, types))), ...members));
}

/** A value as 32 bytes: itself where it fits, and its hash otherwise. */
function encodeValue(type: string, types: TypedDataTypes, value: unknown): Uint8Array {
  const array = /^(.+)\[([0-9]*)\]$/.exec(type);
  if (array !== null) {
    const [, element = "", length = ""] = array;
    if (!Array.isArray(value) || (length !== "" && value.length !== Number(length))) throw unfit(type);
    return keccak_256(concat(...value.map((item) => encodeValue(element, types, item))));
  }
  if (Object.hasOwn(types, type)) return hashStruct(type, types, value);
  if (type === "string" && typeof value === "string") return keccak_256(utf8(value));
  if (type === "bytes" && typeof value === "string") return keccak_256(fromHex(value));
  if (type === "address" && typeof value === "string") return concat(new Uint8Array(12), fromHex(value, 20));
  if (type === "bool" && typeof value === "boolean") return encodeInteger(value ? 1n : 0n);
  const bytes = /^bytes([0-9]+)$/.exec(type);
  if (bytes !== null && typeof value === "string") {
    const sizeBytes = readSize(type, bytes[1], 1, 32);
    return concat(fromHex(value, sizeBytes), new Uint8Array(32 - sizeBytes));
  }
  const integer = /^(u?)int([0-9]+)$/.exec(type);
  if (integer === null) throw unfit(type);
  const bits = BigInt(readSize(type, integer[2], 8, 256));
  const number = toInteger(type, value);
  const [min, max] = integer[1] === "u" ? [0n, (1n << bits) - 1n] : [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n];
  if (number < min || number > max) throw unfit(type);
  return encodeInteger(number);
}

/** The size in a type's name: one of `step`, twice `step` and so on up to `max`. */
function readSize(type: string, digits: string | undefined, step: number, max: number): number {
  const size = Number(digits);
  if (size < step || size > max || size % step !== 0 || String(size) !== digits) throw unfit(type);
  return size;
}

/** A safe integer, a bigint, or a text of decimal digits. */
function toInteger(type: string, value: unknown): bigint {
  if (typeof value === "bigint") return value;
  if (Number.isSafeInteger(value) || (typeof value === "string" && /^-?[0-9]{1,78}$/.test(value))) {
    return BigInt(value as number | string);
  }
  throw unfit(type);
}

/** 32 big-endian bytes, in two's complement. */
function encodeInteger(value: bigint): Uint8Array {
  return fromHex(`0x${BigInt.asUintN(256, value).toString(16).padStart(64, "0")}`);
}

function unfit(type: string): RangeError {
  return new RangeError(`a value that is not of the EIP-712 type ${type}`);
}
