/**
 * CARv1 (https://ipld.io/specs/transport/car/carv1/): a header that names roots, then blocks, each after its length and CID. One
 * that is wrapped as a CARv2 is read too, and none is written.
 * Blocks that are not DMTP's (another codec or hash) are passed over; everything else is held to the format's letter, and no
 * length is believed before it is held against its limit.
 */
import { Link, MAX_BLOCK_BYTES, mapOf } from "../../protocol/cbor.ts";
import { decode } from "../../protocol/cbor-decoder.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { bytesOfCid, cidOfBytes, linkTo, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { unwrapCar } from "./car-v2.ts";

/** Where a block lies in a CAR. Its bytes are not looked at: who reads them verifies them. */
export interface CarSection {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
  /** Of `bytes`, from the start of the file. */
  readonly offset: number;
}

/** Of a history: an anchor each. At one in ten minutes, they are those of nineteen years; a million links take 250 MB to read. */
const MAX_ROOTS = 1_000_000;
const HEADER_LIMITS = { sizeBytes: 41 * MAX_ROOTS + 64, depth: 4, parts: MAX_ROOTS + 2 };
/** CIDv1, dag-cbor, sha2-256. */
const CID_BYTES = 36;
/** The longest that a section of another kind of CID may be, which is passed over. */
const MAX_SECTION_BYTES = 2 * MAX_BLOCK_BYTES + 128;
const CHUNK_BYTES = 256 * 1024;

/** A CAR as chunks of a quarter MiB or more, so that a stream of small blocks is not one of small writes. */
export function* encodeCar(roots: readonly Cid[], blocks: Iterable<Block>): Generator<Uint8Array> {
  const packer = new CarPacker(roots);
  for (const block of blocks) if (packer.add(block)) yield packer.take();
  yield packer.take();
}

/** As {@link encodeCar}, of blocks that come one by one. */
export async function* encodeCarStream(
  roots: readonly Cid[],
  blocks: AsyncIterable<Block>,
): AsyncGenerator<Uint8Array, void> {
  const packer = new CarPacker(roots);
  for await (const block of blocks) if (packer.add(block)) yield packer.take();
  yield packer.take();
}

/**
 * Reads a CAR as it comes: first its roots, then its blocks in their order.
 * @param onPayload sees the bytes of the CARv1, without what a CARv2 wraps around it
 * @throws CAR_MALFORMED, BLOCK_TOO_LARGE, and what `chunks` throws
 */
export async function* decodeCar(
  chunks: AsyncIterable<Uint8Array>,
  onPayload?: (bytes: Uint8Array) => void,
): AsyncGenerator<CarSection, void> {
  const payload = await unwrapCar(chunks);
  const reader = new CarReader(payload.chunks, payload.offset, onPayload);
  try {
    await readRoots(reader);
    for (;;) {
      const section = await readSection(reader);
      if (section === null) return;
      if (section !== "foreign") yield section;
    }
  } finally {
    await reader.close();
  }
}

/**
 * The roots that a CAR's header names, as far as they are DMTP's.
 * @throws CAR_MALFORMED
 */
export async function rootsOfCar(chunks: AsyncIterable<Uint8Array>): Promise<Cid[]> {
  const payload = await unwrapCar(chunks);
  const reader = new CarReader(payload.chunks, payload.offset);
  try {
    return await readRoots(reader);
  } finally {
    await reader.close();
  }
}

async function readRoots(reader: CarReader): Promise<Cid[]> {
  const size = await reader.varint();
  if (size === null || size === 0) throw malformed("no header");
  if (size > HEADER_LIMITS.sizeBytes) throw malformed("a header that is too large");
  const bytes = await reader.take(size);
  let header;
  try {
    header = decode(bytes, HEADER_LIMITS);
  } catch (cause) {
    throw malformed("a header that is not DAG-CBOR", cause);
  }
  if (!(header instanceof Map) || header.get("version") !== 1) throw malformed("neither version 1 nor 2");
  const roots: unknown = header.get("roots");
  if (!Array.isArray(roots)) throw malformed("no roots");
  return roots.flatMap((root: unknown) => {
    if (!(root instanceof Link)) throw malformed("a root that is not a link");
    return cidOfBytes(root.bytes) ?? [];
  });
}

async function readSection(reader: CarReader): Promise<CarSection | "foreign" | null> {
  const size = await reader.varint();
  if (size === null) return null;
  if (size === 0) throw malformed("an empty section");
  if (size > MAX_SECTION_BYTES) throw new DmtpError("BLOCK_TOO_LARGE", `a CAR's section has ${size} bytes`);
  const section = await reader.take(size);
  const cid = cidOfBytes(section.subarray(0, CID_BYTES));
  if (cid === null) return "foreign";
  const bytes = section.subarray(CID_BYTES);
  if (bytes.length > MAX_BLOCK_BYTES) throw new DmtpError("BLOCK_TOO_LARGE", `${cid} has ${bytes.length} bytes`);
  return { cid, bytes, offset: reader.offset - bytes.length };
}

class CarPacker {
  private parts: Uint8Array[];
  private sizeBytes: number;

  /** @throws CAR_MALFORMED for more roots than a reader takes */
  constructor(roots: readonly Cid[]) {
    if (roots.length > MAX_ROOTS) throw malformed(`${roots.length} roots, at most ${MAX_ROOTS} are allowed`);
    const header = encode(mapOf({ roots: roots.map(linkTo), version: 1 }));
    this.parts = [encodeVarint(header.length), header];
    this.sizeBytes = header.length;
  }

  /** @returns whether there is enough for a chunk */
  add({ cid, bytes }: Block): boolean {
    this.parts.push(encodeVarint(CID_BYTES + bytes.length), bytesOfCid(cid), bytes);
    this.sizeBytes += CID_BYTES + bytes.length;
    return this.sizeBytes >= CHUNK_BYTES;
  }

  take(): Uint8Array {
    const chunk = Buffer.concat(this.parts);
    this.parts = [];
    this.sizeBytes = 0;
    return chunk;
  }
}

/** Bytes in pieces of the sizes that are asked for. */
class CarReader {
  /** How far it has read in the file. */
  offset: number;
  private readonly chunks: AsyncIterator<Uint8Array>;
  private readonly onChunk: (bytes: Uint8Array) => void;
  private buffer: Uint8Array = new Uint8Array(0);
  private at = 0;

  constructor(
    chunks: AsyncIterable<Uint8Array>,
    offset: number,
    onChunk: (bytes: Uint8Array) => void = () => undefined,
  ) {
    this.chunks = chunks[Symbol.asyncIterator]();
    this.offset = offset;
    this.onChunk = onChunk;
  }

  /** An unsigned LEB128 in its shortest form, or null at the end. */
  async varint(): Promise<number | null> {
    let value = 0;
    for (let i = 0; ; i++) {
      if (this.at === this.buffer.length && !(await this.more())) {
        if (i === 0) return null;
        throw malformed("the file ends inside a length");
      }
      const byte = this.buffer[this.at++] ?? 0;
      this.offset += 1;
      value += (byte & 127) * 128 ** i;
      if (byte < 128) {
        if (byte === 0 && i > 0) throw malformed("a length that is not in its shortest form");
        return value;
      }
      // Five bytes hold 32 GiB: more than any length may be.
      if (i === 4) throw malformed("a length that is too large");
    }
  }

  /** This many bytes; its own copy only where they came in several chunks. */
  async take(size: number): Promise<Uint8Array> {
    this.offset += size;
    if (this.buffer.length - this.at >= size) return this.buffer.subarray(this.at, (this.at += size));
    // Grows with what comes, and not with what was claimed.
    const parts: Uint8Array[] = [];
    for (let missing = size; missing > 0;) {
      if (this.at === this.buffer.length && !(await this.more())) throw malformed("the file ends inside a block");
      const part = this.buffer.subarray(this.at, this.at + missing);
      parts.push(part);
      this.at += part.length;
      missing -= part.length;
    }
    return new Uint8Array(Buffer.concat(parts));
  }

  /** Lets go of what the chunks come from. */
  async close(): Promise<void> {
    await this.chunks.return?.();
  }

  private async more(): Promise<boolean> {
    for (;;) {
      const next = await this.chunks.next();
      this.at = 0;
      this.buffer = next.done === true ? new Uint8Array(0) : next.value;
      this.onChunk(this.buffer);
      if (next.done === true || this.buffer.length > 0) return next.done !== true;
    }
  }
}

function encodeVarint(value: number): Uint8Array {
  const bytes: number[] = [];
  while (value >= 128) {
    bytes.push((value % 128) | 128);
    value = Math.floor(value / 128);
  }
  return Uint8Array.of(...bytes, value);
}

function malformed(what: string, cause?: unknown): DmtpError {
  return new DmtpError("CAR_MALFORMED", `not a CAR file: ${what}`, { cause });
}
