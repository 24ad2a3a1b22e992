/**
 * CARv2 (https://ipld.io/specs/transport/car/carv2/): a CARv1 between a header that says where it lies and an index of its blocks.
 * Only the CARv1 is read: the index is its maker's word, and is made anew.
 */
import { DmtpError } from "../../protocol/error.ts";

/** A CARv1, and where it begins in the file that it is read from. */
export interface CarPayload {
  readonly offset: number;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** What every CARv2 begins with: the header of a CARv1 of version 2 without roots. */
const PRAGMA = Buffer.from("0aa16776657273696f6e02", "hex");
/** Behind the pragma: 16 bytes of characteristics, then the payload's offset and size and the index's offset, little-endian. */
const HEADER_BYTES = 40;
const DATA_OFFSET = 16;
const DATA_SIZE = 24;

/**
 * The CARv1 that a file is or wraps. Gaps before it and whatever comes behind it are passed over.
 * @throws CAR_MALFORMED, also while the chunks are read
 */
export async function unwrapCar(file: AsyncIterable<Uint8Array>): Promise<CarPayload> {
  const chunks = file[Symbol.asyncIterator]();
  try {
    const head = await readHead(chunks, PRAGMA.length + HEADER_BYTES);
    if (!head.subarray(0, PRAGMA.length).equals(PRAGMA)) return { offset: 0, chunks: goOn(head, chunks) };
    if (head.length < PRAGMA.length + HEADER_BYTES) throw malformed("the file ends inside the header");
    const offset = readSize(head, PRAGMA.length + DATA_OFFSET);
    const size = readSize(head, PRAGMA.length + DATA_SIZE);
    if (offset < PRAGMA.length + HEADER_BYTES) throw malformed("its blocks lie inside the header");
    return { offset, chunks: cutOut(goOn(head, chunks), offset, size) };
  } catch (error) {
    await chunks.return?.();
    throw error;
  }
}

/** So many bytes or more, or the whole file where it is shorter. */
async function readHead(chunks: AsyncIterator<Uint8Array>, size: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (let length = 0; length < size;) {
    const next = await chunks.next();
    if (next.done === true) break;
    parts.push(next.value);
    length += next.value.length;
  }
  return Buffer.concat(parts);
}

async function* goOn(head: Uint8Array, chunks: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield head;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  } finally {
    await chunks.return?.();
  }
}

async function* cutOut(file: AsyncIterable<Uint8Array>, start: number, size: number): AsyncGenerator<Uint8Array> {
  const end = start + size;
  let at = 0;
  for await (const chunk of file) {
    const part = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
    at += chunk.length;
    if (part.length > 0) yield part;
    if (at >= end) return;
  }
  throw malformed("the file ends before its blocks do");
}

function readSize(head: Buffer, at: number): number {
  const value = head.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed("a length that is too large");
  return Number(value);
}

function malformed(what: string): DmtpError {
  return new DmtpError("CAR_MALFORMED", `not a whole CARv2 file: ${what}`);
}
