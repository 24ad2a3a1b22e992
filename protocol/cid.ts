import { asciiText, concat, equal, utf8 } from "./bytes.ts";
import { Link, MAX_BLOCK_BYTES } from "./cbor.ts";
import { primitives } from "./crypto/provider.ts";
import { DmtpError } from "./error.ts";

declare const brand: unique symbol;

/**
 * The canonical text of a DMTP block's CID: CIDv1, dag-cbor, sha2-256, multibase base32 lower-case: `bafyrei…`, 59
 * characters (https://github.com/multiformats/cid). The one form DMTP uses, so equal blocks have equal texts.
 */
export type Cid = string & { readonly [brand]: "Cid" };

/** CIDv1 (1), dag-cbor (0x71), sha2-256 (0x12) of 32 bytes (0x20): what stands before the digest. */
const PREFIX = Uint8Array.of(0x01, 0x71, 0x12, 0x20);
const DIGEST_BYTES = 32;
const CID_BYTES = PREFIX.length + DIGEST_BYTES;
/** Where a digest is put behind the prefix to be encoded. */
const binary = concat(PREFIX, new Uint8Array(DIGEST_BYTES));
/** Characters of a CID's text. */
export const CID_LENGTH = 59;
/** Character codes: `b`, and the alphabet of RFC 4648 in lower case. */
const BASE32_PREFIX = 0x62;
const BASE32 = utf8("abcdefghijklmnopqrstuvwxyz234567");

/** The CID of a block. */
export function cidOf(block: Uint8Array): Cid {
  return cidOfDigest(primitives.sha256(block));
}

/** The CID with this 32-byte SHA-256 digest. */
export function cidOfDigest(digest: Uint8Array): Cid {
  if (digest.length !== DIGEST_BYTES) throw new RangeError("a digest has 32 bytes");
  binary.set(digest, PREFIX.length);
  return encodeBase32(binary);
}

/** The CID in a link's binary form, or null when it is another kind of CID. */
export function cidOfBytes(bytes: Uint8Array): Cid | null {
  return bytes.length === CID_BYTES && PREFIX.every((byte, i) => bytes[i] === byte) ? encodeBase32(bytes) : null;
}

/** The binary form: 36 bytes. */
export function bytesOfCid(cid: Cid): Uint8Array {
  return decodeBase32(cid);
}

/** The 32-byte SHA-256 digest that the CID names. */
export function digestOfCid(cid: Cid): Uint8Array {
  return decodeBase32(cid).slice(PREFIX.length);
}

/** A link to that block, as cbor.ts encodes it. */
export function linkTo(cid: Cid): Link {
  return new Link(bytesOfCid(cid));
}

/** Whether a text is the canonical text of a DMTP CID. */
export function isCid(text: unknown): text is Cid {
  if (typeof text !== "string" || text.length !== CID_LENGTH || !/^bafyrei[a-z2-7]{52}$/.test(text)) return false;
  return cidOfDigest(digestOfCid(text as Cid)) === text;
}

/**
 * The bytes, when they are what the CID names: what every content source does before it believes what it got.
 * @throws BLOCK_TOO_LARGE, BLOCK_HASH_MISMATCH
 */
export function verifyBlock(cid: Cid, bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_BLOCK_BYTES) {
    throw new DmtpError("BLOCK_TOO_LARGE", `${cid} has ${bytes.length} bytes, at most ${MAX_BLOCK_BYTES} are allowed`);
  }
  if (!equal(primitives.sha256(bytes), digestOfCid(cid))) {
    throw new DmtpError("BLOCK_HASH_MISMATCH", `the bytes got for ${cid} are other bytes`);
  }
  return bytes;
}

/** The text of a CID's 36 bytes. */
function encodeBase32(bytes: Uint8Array): Cid {
  return asciiText(CID_LENGTH, (codes) => {
    codes[0] = BASE32_PREFIX;
    let length = 1;
    let bits = 0;
    let value = 0;
    for (let i = 0; i < CID_BYTES; i++) {
      value = ((value << 8) | (bytes[i] ?? 0)) & 0xffff;
      bits += 8;
      while (bits >= 5) {
        bits -= 5;
        codes[length++] = BASE32[(value >> bits) & 31] ?? 0;
      }
    }
    codes[length] = BASE32[(value << (5 - bits)) & 31] ?? 0;
  }) as Cid;
}

/** Multibase `b` text of 59 characters to 36 bytes; the two padding bits are not looked at. */
function decodeBase32(text: string): Uint8Array {
  const bytes = new Uint8Array(CID_BYTES);
  let bits = 0;
  let value = 0;
  let offset = 0;
  for (let i = 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    value = ((value << 5) | (code >= 97 ? code - 97 : code - 24)) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[offset++] = (value >> bits) & 0xff;
    }
  }
  return bytes;
}
