/** Page cursors: opaque to clients, and only good for the list that gave them. */
import { createHash } from "node:crypto";

import { z } from "zod";

import { DmtpError } from "../../protocol/error.ts";

/** A place in a list: the numbers and texts that it is ordered by. */
export type Place = readonly (string | number)[];

/**
 * The newest event that the pages so far were read from. While it stands on the chain, so does everything before it; a reorg
 * that takes it back makes the pages wrong, and the cursor with them.
 */
export interface Basis {
  /** Counts the events of the list's contract. */
  readonly index: number;
  readonly blockNumber: number;
  /** Its first digits. */
  readonly blockHash: string;
}

export interface Cursor<P extends Place> {
  /** The place behind which the next page begins. */
  readonly place: P;
  readonly basis: Basis;
}

const CHECKSUM_BYTES = 8;
const MAX_LENGTH = 256;

/**
 * A checksum over the list and the rest tells a damaged or made-up cursor, and one of another list, from a good one. It needs
 * no secret: who recomputes it gets a page that anyone may ask for.
 * @param scope what is listed and how: the same cursor is refused for anything else
 */
export function encodeCursor(scope: string, { place, basis }: Cursor<Place>): string {
  const { index, blockNumber, blockHash } = basis;
  const body = Buffer.from(JSON.stringify([place, index, blockNumber, blockHash]));
  return Buffer.concat([checksumOf(scope, body), body]).toString("base64url");
}

/** @throws PARAMETER_INVALID */
export function decodeCursor<P extends Place>(scope: string, placeSchema: z.ZodType<P>, text: string): Cursor<P> {
  const bytes = Buffer.from(text.slice(0, MAX_LENGTH + 1), "base64url");
  const body = bytes.subarray(CHECKSUM_BYTES);
  // Written anew and compared: base64url leaves bits unused and Node skips what is not of its alphabet.
  const isOurs =
    bytes.toString("base64url") === text && checksumOf(scope, body).equals(bytes.subarray(0, CHECKSUM_BYTES));
  if (!isOurs) throw new DmtpError("PARAMETER_INVALID", "cursor is not one that this list gave");
  try {
    const [place, index, blockNumber, blockHash] = z
      .tuple([placeSchema, z.int(), z.int(), z.string()])
      .parse(JSON.parse(body.toString()));
    return { place, basis: { index, blockNumber, blockHash } };
  } catch (cause) {
    throw new DmtpError("PARAMETER_INVALID", "cursor is not one that this list gave", { cause });
  }
}

function checksumOf(scope: string, body: Buffer): Buffer {
  return createHash("sha256").update(`dmtp cursor 2\n${scope}\n`).update(body).digest().subarray(0, CHECKSUM_BYTES);
}
