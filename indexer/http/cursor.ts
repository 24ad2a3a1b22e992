/** Page cursors: opaque to clients, and only good for the list that gave them. */
import { createHash } from "node:crypto";

import type { z } from "zod";

import { DmtpError } from "../../protocol/error.ts";

/**
 * The place behind which a page begins. A checksum over the list and the place tells a damaged or made-up cursor, and one of
 * another list, from a good one. It needs no secret: who recomputes it gets a page that anyone may ask for.
 * @param scope what is listed and how: the same cursor is refused for anything else
 */
export function encodeCursor(scope: string, place: readonly (string | number)[]): string {
  const body = Buffer.from(JSON.stringify(place));
  return Buffer.concat([checksumOf(scope, body), body]).toString("base64url");
}

const CHECKSUM_BYTES = 8;
const MAX_LENGTH = 256;

/** @throws PARAMETER_INVALID */
export function decodeCursor<Place>(scope: string, schema: z.ZodType<Place>, text: string): Place {
  const bytes = Buffer.from(text.slice(0, MAX_LENGTH + 1), "base64url");
  const body = bytes.subarray(CHECKSUM_BYTES);
  // Written anew and compared: base64url leaves bits unused and Node skips what is not of its alphabet.
  const isOurs =
    bytes.toString("base64url") === text && checksumOf(scope, body).equals(bytes.subarray(0, CHECKSUM_BYTES));
  if (!isOurs) throw new DmtpError("PARAMETER_INVALID", "cursor is not one that this list gave");
  try {
    return schema.parse(JSON.parse(body.toString()));
  } catch (cause) {
    throw new DmtpError("PARAMETER_INVALID", "cursor is not one that this list gave", { cause });
  }
}

function checksumOf(scope: string, body: Buffer): Buffer {
  return createHash("sha256").update(`dmtp cursor 1\n${scope}\n`).update(body).digest().subarray(0, CHECKSUM_BYTES);
}
