/**
 * The file with a relay's own key, and with who said that it may promise: `relay-key.json` beside the mailbox, for its owner's eyes only. A
 * task writes it, since the account of CIDStore's anchorer or owner is there; the relay reads it, and never has that account.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { SigningKey } from "ethers/crypto";
import { computeAddress } from "ethers/transaction";
import { z } from "zod";

import { parseAddress, type Address } from "../protocol/address.ts";
import { fromHex, toHex, type Hex } from "../protocol/bytes.ts";
import { hashTypedData } from "../protocol/eip712.ts";
import { DmtpError } from "../protocol/error.ts";
import { isKeyAuthorized, promiseRequest, type AnchorPromise, type RelayKey } from "../protocol/receipt.ts";
import type { Deployment } from "../protocol/room.ts";

/** A relay's key as others know it: which one, for which promises, and who said so. */
export interface Authorization extends RelayKey {
  /** CIDStore's owner or anchorer. */
  readonly authority: Address;
  /** Over the `RelayKey`, 65 bytes. */
  readonly signature: Uint8Array;
}

const FILE = "relay-key.json";

const fileSchema = z.strictObject({
  privateKey: z.string().regex(/^0x[0-9a-f]{64}$/),
  signer: z.string(),
  fromBlock: z.int().min(0),
  toBlock: z.int().min(0),
  authority: z.string(),
  signature: z.string().regex(/^0x[0-9a-f]{130}$/),
});

/** Signs promises; about a millisecond each. */
export class PromiseSigner {
  readonly address: Address;
  private readonly key: SigningKey;

  /** @param privateKey 32 bytes, 0x-hex */
  constructor(privateKey: Hex) {
    this.key = new SigningKey(privateKey);
    this.address = parseAddress(computeAddress(this.key));
  }

  /** 65 bytes */
  sign(deployment: Deployment, promise: AnchorPromise): Uint8Array {
    return fromHex(this.key.sign(toHex(hashTypedData(promiseRequest(deployment, promise)))).serialized);
  }
}

export interface RelayKeyFile {
  readonly privateKey: Hex;
  readonly authorization: Authorization;
}

/** A key that nobody has yet. */
export function makeRelayKey(): { readonly privateKey: Hex; readonly signer: Address } {
  const privateKey = toHex(new Uint8Array(randomBytes(32)));
  return { privateKey, signer: new PromiseSigner(privateKey).address };
}

/**
 * The relay's key; null when there is none.
 * @throws CONFIGURATION_INVALID for a file that is none, or of another deployment
 */
export function readRelayKey(folder: string, deployment: Deployment): RelayKeyFile | null {
  const path = join(folder, FILE);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new DmtpError("CONFIGURATION_INVALID", `the relay's key ${path} cannot be read`, { cause: error });
  }
  try {
    const { privateKey, authority, signature, signer, ...blocks } = fileSchema.parse(JSON.parse(text));
    const authorization = {
      ...blocks,
      signer: parseAddress(signer),
      authority: parseAddress(authority),
      signature: fromHex(signature),
    };
    if (!isKeyAuthorized(deployment, authorization, authorization.signature, authorization.authority)) {
      throw new RangeError("the authorization is not by the account that it names, or of another deployment");
    }
    if (new PromiseSigner(privateKey as Hex).address !== authorization.signer) throw new RangeError("another key");
    return { privateKey: privateKey as Hex, authorization };
  } catch (cause) {
    const hint = "Move the file away and start the relay by its task: npx hardhat relay";
    throw new DmtpError("CONFIGURATION_INVALID", `${path} is not this relay's key`, { cause, hint });
  }
}

/** Replaces the file as a whole. @throws FILE_UNWRITABLE */
export function writeRelayKey(folder: string, { privateKey, authorization }: RelayKeyFile): void {
  const { signature, ...rest } = authorization;
  const text = `${JSON.stringify({ privateKey, ...rest, signature: toHex(signature) }, null, 2)}\n`;
  const path = join(folder, FILE);
  try {
    writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
    renameSync(`${path}.new`, path);
  } catch (cause) {
    throw new DmtpError("FILE_UNWRITABLE", `${path} cannot be written`, { cause });
  }
}
