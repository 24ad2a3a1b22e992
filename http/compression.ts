/** Content codings, by what the client accepts. In zlib's own threads, so that nobody waits for it. */
import { promisify } from "node:util";
import { brotliCompress, constants, gzip, zstdCompress } from "node:zlib";

import type { Request, Response } from "express";

import type { ServingBudget } from "./budget.ts";

type Coding = (bytes: Buffer) => Promise<Buffer>;

const brotli = promisify(brotliCompress);
const zstd = promisify(zstdCompress);
const deflate = promisify(gzip);

/** The window in bits. With brotli's default of 4 MiB, each compression would take several times as much memory. */
const BROTLI = { [constants.BROTLI_PARAM_QUALITY]: 4, [constants.BROTLI_PARAM_LGWIN]: 18 };
/** In the order of preference. Levels that cost about as much as making the answer: it is compressed for each request. */
const CODINGS: readonly (readonly [string, Coding])[] = [
  ["br", (bytes) => brotli(bytes, { params: BROTLI })],
  ["zstd", (bytes) => zstd(bytes)],
  ["gzip", (bytes) => deflate(bytes, { level: 6 })],
];
/** Smaller answers fit into one packet as they are. */
const MIN_BYTES = 1_024;

/** Sends a whole answer, compressed where that is wanted and worth it, and where no others are being compressed already. */
export async function sendCompressed(
  budget: ServingBudget,
  request: Request,
  response: Response,
  text: string,
): Promise<void> {
  response.vary("Accept-Encoding");
  const sizeBytes = Buffer.byteLength(text);
  const accepts = ([name]: (typeof CODINGS)[number]): boolean => request.acceptsEncodings(name) !== false;
  const coding = sizeBytes < MIN_BYTES || !budget.canCompress ? undefined : CODINGS.find(accepts);
  if (coding === undefined) {
    await sendPlain(budget, response, text);
    return;
  }
  const [name, compress] = coding;
  const compressed = await budget.compress(sizeBytes, () => compress(Buffer.from(text)));
  response.set({ "Content-Encoding": name, "Content-Length": String(compressed.length) });
  await budget.send(response, compressed, compressed.length);
}

/** Sends an answer as it is: base64 of ciphertext, say, of which compression takes a quarter away and much time. */
export async function sendPlain(budget: ServingBudget, response: Response, body: string | Buffer): Promise<void> {
  const sizeBytes = Buffer.byteLength(body);
  response.set("Content-Length", String(sizeBytes));
  await budget.send(response, body, sizeBytes);
}
