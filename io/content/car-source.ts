/** A CAR as a content source: its blocks are found by an index that takes about 25 bytes for each of them, however large they are. */
import { createReadStream } from "node:fs";
import { mkdtemp, open, rm, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { digestOfCid, verifyBlock, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Resolve } from "./address-guard.ts";
import { BoundedHttp } from "./bounded-http.ts";
import { decodeCar } from "./car.ts";
import { sourceFault } from "./source-fault.ts";
import type { ContentSource } from "./store.ts";

/** A file can name a block often, with bytes that are not its: so many are looked at. */
const MAX_CANDIDATES = 8;
const READ_BYTES = 1024 * 1024;

export class CarFileSource implements ContentSource {
  readonly name: string;
  readonly isLocal = true;
  private readonly path: string;
  private opened: Promise<{ readonly file: FileHandle; readonly index: CarIndex }> | undefined;

  /** @param path read at the first block that is asked for, once */
  constructor(path: string, name = `CAR file ${path}`) {
    this.path = path;
    this.name = name;
  }

  /** @throws CAR_MALFORMED, BLOCK_TOO_LARGE for the whole file, whatever is asked for */
  async fetch(cid: Cid): Promise<Uint8Array | null> {
    const { file, index } = await (this.opened ??= this.open());
    let mismatch: unknown;
    for (const { offset, size } of index.find(digestOfCid(cid))) {
      const bytes = new Uint8Array(size);
      const { bytesRead } = await file.read(bytes, 0, size, offset);
      try {
        return verifyBlock(cid, bytes.subarray(0, bytesRead));
      } catch (error) {
        mismatch ??= error;
      }
    }
    if (mismatch !== undefined) throw mismatch as Error;
    return null;
  }

  async close(): Promise<void> {
    const opened = await this.opened?.catch(() => undefined);
    await opened?.file.close();
    this.opened = undefined;
  }

  private async open(): Promise<{ readonly file: FileHandle; readonly index: CarIndex }> {
    let file: FileHandle;
    try {
      file = await open(this.path, "r");
    } catch (cause) {
      throw new DmtpError("CONTENT_UNREACHABLE", `${this.name} cannot be read`, { cause });
    }
    try {
      const index = new CarIndex();
      for await (const { cid, bytes, offset } of decodeCar(
        createReadStream(this.path, { highWaterMark: READ_BYTES }),
      )) {
        index.add(digestOfCid(cid), offset, bytes.length);
      }
      return { file, index };
    } catch (error) {
      await file.close();
      throw error;
    }
  }
}

/** A CAR at a URL, which is loaded into a file of its own at the first block that is asked for. */
export class CarUrlSource implements ContentSource {
  readonly name: string;
  readonly isLocal = false;
  private readonly url: URL;
  private readonly http: BoundedHttp;
  private readonly maxBytes: number;
  private readonly loadMs: number;
  private folder: string | undefined;
  private loaded: Promise<CarFileSource> | undefined;

  constructor(
    url: URL,
    options: { readonly resolve?: Resolve; readonly maxBytes?: number; readonly loadMs?: number } = {},
  ) {
    this.url = url;
    this.name = `CAR at ${url.host}`;
    this.http = new BoundedHttp(url, options.resolve);
    this.maxBytes = options.maxBytes ?? 16 * 1024 ** 3;
    this.loadMs = options.loadMs ?? 3_600_000;
  }

  async fetch(cid: Cid): Promise<Uint8Array | null> {
    this.loaded ??= this.load();
    let source: CarFileSource;
    try {
      source = await this.loaded;
    } catch (error) {
      // The next that asks loads it anew.
      this.loaded = undefined;
      throw error;
    }
    return source.fetch(cid);
  }

  async close(): Promise<void> {
    this.http.close();
    const source = await this.loaded?.catch(() => undefined);
    await source?.close();
    if (this.folder !== undefined) await rm(this.folder, { recursive: true, force: true });
  }

  private async load(): Promise<CarFileSource> {
    const answer = await this.http.request({
      url: this.url,
      method: "GET",
      headers: { accept: "application/vnd.ipld.car, application/octet-stream" },
      limits: { sizeBytes: this.maxBytes, silenceMs: 30_000, bodyMs: this.loadMs },
    });
    if (answer.status !== 200) {
      answer.cancel();
      const fault = [429, 503].includes(answer.status) ? "busy" : "unreachable";
      throw sourceFault(this.name, fault, `HTTP status ${answer.status}`, undefined, answer.retryAfterMs);
    }
    this.folder ??= await mkdtemp(join(tmpdir(), "dmtp-car-"));
    const path = join(this.folder, "blocks.car");
    const file = await open(path, "w");
    try {
      // Read as a CAR while it comes: what is none is let go at its first wrong byte, and not after gigabytes.
      const written = async function* (): AsyncGenerator<Uint8Array> {
        for await (const chunk of answer.body) {
          await file.writeFile(chunk);
          yield chunk;
        }
      };
      for await (const _ of decodeCar(written())) {
        // It is in order so far.
      }
    } catch (error) {
      if (error instanceof DmtpError && error.code === "CAR_MALFORMED") {
        throw sourceFault(this.name, "wrong", error.message, error);
      }
      throw error;
    } finally {
      await file.close();
    }
    return new CarFileSource(path, this.name);
  }
}

/** Where blocks lie, by their digests: an open-addressing table over arrays of plain numbers. */
class CarIndex {
  private count = 0;
  private offsets = new Float64Array(1_024);
  private sizes = new Uint32Array(1_024);
  /** The first 8 bytes of a digest. */
  private keys = new Uint32Array(2_048);
  /** Entry number plus one; 0 is free. Twice as many places as entries. */
  private table = new Uint32Array(2_048);

  add(digest: Uint8Array, offset: number, size: number): void {
    if (this.count === this.offsets.length) this.grow();
    const entry = this.count++;
    const view = new DataView(digest.buffer, digest.byteOffset, digest.length);
    this.offsets[entry] = offset;
    this.sizes[entry] = size;
    this.keys[2 * entry] = view.getUint32(0);
    this.keys[2 * entry + 1] = view.getUint32(4);
    this.place(entry);
  }

  *find(digest: Uint8Array): Generator<{ readonly offset: number; readonly size: number }> {
    const view = new DataView(digest.buffer, digest.byteOffset, digest.length);
    const [high, low] = [view.getUint32(0), view.getUint32(4)];
    const mask = this.table.length - 1;
    let candidates = 0;
    for (let at = high & mask; ; at = (at + 1) & mask) {
      const entry = (this.table[at] ?? 0) - 1;
      if (entry < 0) return;
      if (this.keys[2 * entry] !== high || this.keys[2 * entry + 1] !== low) continue;
      yield { offset: this.offsets[entry] ?? 0, size: this.sizes[entry] ?? 0 };
      if (++candidates === MAX_CANDIDATES) return;
    }
  }

  private place(entry: number): void {
    const mask = this.table.length - 1;
    let at = (this.keys[2 * entry] ?? 0) & mask;
    while (this.table[at] !== 0) at = (at + 1) & mask;
    this.table[at] = entry + 1;
  }

  private grow(): void {
    const { offsets, sizes, keys } = this;
    this.offsets = new Float64Array(2 * offsets.length);
    this.sizes = new Uint32Array(2 * sizes.length);
    this.keys = new Uint32Array(2 * keys.length);
    this.offsets.set(offsets);
    this.sizes.set(sizes);
    this.keys.set(keys);
    this.table = new Uint32Array(2 * this.table.length);
    for (let entry = 0; entry < this.count; entry++) this.place(entry);
  }
}
