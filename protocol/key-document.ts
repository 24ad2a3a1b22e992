/** The key document (SPEC 4): a block with one key version's public keys and its sealed seed. */
import { addressOfBytes, type Address } from "./address.ts";
import { equal } from "./bytes.ts";
import { mapOf, type CborArray, type CborValue } from "./cbor.ts";
import { decode } from "./cbor-decoder.ts";
import { encodeBlock } from "./cbor-encoder.ts";
import type { ScryptParameters } from "./crypto/primitives.ts";
import { DmtpError, type ErrorCode } from "./error.ts";
import { encodeHex, Fields, requireArray, requireBytes, requireUint, type FormatVersion } from "./fields.ts";
import type { PublicKeys } from "./identity.ts";
import type { Deployment } from "./room.ts";
import { MAX_SCRYPT, SALT_BYTES, SEALED_BYTES, type SealedSeed } from "./sealing.ts";
import { MISSING, rejected, VERIFIED, type Verdict } from "./verdict.ts";

export interface KeyDocument extends PublicKeys {
  readonly chainId: number;
  readonly keyRegistry: Address;
  readonly wallet: Address;
  readonly version: number;
  readonly sealed: SealedSeed;
}

const VERSION: FormatVersion = { v: 1, suite: 1 };
const CODE = "KEY_DOCUMENT_MALFORMED";
/** No key document has more (SPEC 4.1), so no more is read of a block that a registration names: anybody can register any. */
export const MAX_KEY_DOCUMENT_BYTES = 4_096;
const MEMBERS = ["chain", "registry", "wallet", "version", "encryptionKey", "signingKey", "sealed"];

/** @throws KEY_DOCUMENT_MALFORMED for what {@link decodeKeyDocument} would refuse */
export function encodeKeyDocument(document: KeyDocument): Uint8Array {
  const { sealed } = document;
  return encodeBlock(
    mapOf({
      ...VERSION,
      chain: requireUint(document.chainId, Number.MAX_SAFE_INTEGER, CODE, "chain"),
      registry: encodeHex(document.keyRegistry, 20, CODE, "registry"),
      wallet: encodeHex(document.wallet, 20, CODE, "wallet"),
      version: requireUint(document.version, Number.MAX_SAFE_INTEGER, CODE, "version"),
      encryptionKey: requireBytes(document.encryptionKey, 32, CODE, "encryptionKey"),
      signingKey: requireBytes(document.signingKey, 32, CODE, "signingKey"),
      sealed: mapOf({
        method: sealed.method,
        salt: requireBytes(sealed.salt, SALT_BYTES, CODE, "salt"),
        ciphertext: requireBytes(sealed.ciphertext, SEALED_BYTES, CODE, "ciphertext"),
        ...(sealed.method === "passphrase" && { scrypt: writeScrypt(sealed.scrypt) }),
      }),
    }),
  );
}

/** @throws KEY_DOCUMENT_MALFORMED, VERSION_UNSUPPORTED, SUITE_UNSUPPORTED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL */
export function decodeKeyDocument(block: Uint8Array): KeyDocument {
  const fields = new Fields(decode(block), MEMBERS, CODE, VERSION);
  return {
    chainId: fields.uint("chain"),
    keyRegistry: addressOfBytes(fields.bytes("registry", 20)),
    wallet: addressOfBytes(fields.bytes("wallet", 20)),
    version: fields.uint("version"),
    encryptionKey: fields.bytes("encryptionKey", 32),
    signingKey: fields.bytes("signingKey", 32),
    sealed: readSealed(fields.value("sealed")),
  };
}

/** Why a document is not the one that a registration speaks of (SPEC 4.2). */
const DOCUMENT_CODES = [
  "BLOCK_NOT_CANONICAL",
  "BLOCK_TOO_LARGE",
  "KEY_DOCUMENT_MALFORMED",
  "VERSION_UNSUPPORTED",
  "SUITE_UNSUPPORTED",
  "KEY_DOCUMENT_MISMATCH",
] as const satisfies readonly ErrorCode[];

type DocumentCode = (typeof DOCUMENT_CODES)[number];

/** On a document, which no verdict on a message or an anchor rests on. */
export type DocumentVerdict = Verdict<DocumentCode>;

/** Null for a block that is no key document. One that is has some hundred bytes and no links, whoever made it. */
export function keyDocumentIn(block: Uint8Array): KeyDocument | null {
  try {
    return decodeKeyDocument(block);
  } catch {
    return null;
  }
}

/**
 * SPEC 4.2: whether a document is the one that a registration speaks of.
 * @throws KEY_DOCUMENT_MISMATCH
 */
export function checkKeyDocument(
  document: KeyDocument,
  deployment: Deployment,
  registered: PublicKeys & { readonly wallet: Address; readonly version: number },
): void {
  const wrong =
    document.chainId !== deployment.chainId || document.keyRegistry !== deployment.keyRegistry
      ? "another deployment"
      : document.wallet !== registered.wallet
        ? "another wallet"
        : document.version !== registered.version
          ? "another version"
          : !equal(document.encryptionKey, registered.encryptionKey) ||
              !equal(document.signingKey, registered.signingKey)
            ? "other public keys"
            : null;
  if (wrong !== null) throw new DmtpError("KEY_DOCUMENT_MISMATCH", `the key document is for ${wrong}`);
}

/** The verdict on what a registration's document digest names; undefined while no source has the block. */
export function verifyKeyDocument(
  block: Uint8Array | undefined,
  deployment: Deployment,
  registered: Parameters<typeof checkKeyDocument>[2],
): DocumentVerdict {
  if (block === undefined) return MISSING;
  try {
    checkKeyDocument(decodeKeyDocument(block), deployment, registered);
    return VERIFIED;
  } catch (error) {
    if (!(error instanceof DmtpError) || !isDocumentCode(error.code)) throw error;
    return rejected(error.code, error.message);
  }
}

export function isDocumentCode(code: string): code is DocumentCode {
  return DOCUMENT_CODES.some((each) => each === code);
}

function readSealed(value: CborValue): SealedSeed {
  const passphrase = value instanceof Map && value.get("method") === "passphrase";
  const fields = new Fields(value, ["method", "salt", "ciphertext", ...(passphrase ? ["scrypt"] : [])], CODE, null);
  const salt = fields.bytes("salt", SALT_BYTES);
  const ciphertext = fields.bytes("ciphertext", SEALED_BYTES);
  if (!passphrase) {
    if (fields.text("method") !== "wallet") throw new DmtpError(CODE, "an unknown sealing method");
    return { method: "wallet", salt, ciphertext };
  }
  const parameters = requireArray(fields.value("scrypt"), CODE, "scrypt");
  if (parameters.length !== 3) throw new DmtpError(CODE, "scrypt is not [N, r, p]");
  const [N, r, p] = parameters;
  return { method: "passphrase", salt, scrypt: requireScrypt({ N, r, p }), ciphertext };
}

function writeScrypt(scrypt: ScryptParameters): CborArray {
  const { N, r, p } = requireScrypt({ ...scrypt });
  return [N, r, p];
}

function requireScrypt(scrypt: Readonly<Record<"N" | "r" | "p", CborValue | undefined>>): ScryptParameters {
  const N = requireUint(scrypt.N, MAX_SCRYPT.N, CODE, "N");
  const r = requireUint(scrypt.r, MAX_SCRYPT.r, CODE, "r");
  const p = requireUint(scrypt.p, MAX_SCRYPT.p, CODE, "p");
  // RFC 7914 2: N is a power of two above 1 and below 2^(128·r/8).
  if (N < 2 || !Number.isInteger(Math.log2(N)) || r < 1 || p < 1 || N >= 2 ** (16 * r)) {
    throw new DmtpError(CODE, "scrypt parameters that RFC 7914 does not allow");
  }
  return { N, r, p };
}
