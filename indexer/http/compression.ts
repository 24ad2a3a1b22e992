/** Content codings, by what the client accepts. In zlib's own threads, so that nobody waits for it. */
import { promisify } from "node:util";
import { brotliCompress, constants, gzip, zstdCompress } from "node:zlib";

import type { Request, Response } from "express";

type Coding = (bytes: Buffer) => Promise<Buffer>;

const brotli = promisify(brotliCompress);
const zstd = promisify(zstdCompress);
const deflate = promisify(gzip);

/** In the order of preference. Levels that cost about as much as making the answer: it is compressed for each request. */
const CODINGS: readonly (readonly [string, Coding])[] = [
  ["br", (bytes) => brotli(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } })],
  ["zstd", (bytes) => zstd(bytes)],
  ["gzip", (bytes) => deflate(bytes, { level: 6 })],
];
/** Smaller answers fit into one packet as they are. */
const MIN_BYTES = 1_024;

/** Sends a whole answer, compressed where that is wanted and worth it. */
export async function sendCompressed(request: Request, response: Response, text: string): Promise<void> {
  response.vary("Accept-Encoding");
  const sizeBytes = Buffer.byteLength(text);
  const accepts = ([name]: (typeof CODINGS)[number]): boolean => request.acceptsEncodings(name) !== false;
  const coding = sizeBytes < MIN_BYTES ? undefined : CODINGS.find(accepts);
  if (coding === undefined) {
    // As text: head and body then leave in one write.
    response.set("Content-Length", String(sizeBytes)).end(text);
    return;
  }
  const [name, compress] = coding;
  const bytes = await compress(Buffer.from(text));
  response.set({ "Content-Encoding": name, "Content-Length": String(bytes.length) }).end(bytes);
}
