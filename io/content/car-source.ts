/** A CAR as a content source. */
import { createReadStream } from "node:fs";
import { mkdtemp, open, rm, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Statement } from "better-sqlite3";

import { digestOfCid, verifyBlock, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import { openTemporary, translated } from "../database.ts";
import type { Resolve } from "./address-guard.ts";
import { BoundedHttp } from "./bounded-http.ts";
import { decodeCar } from "./car.ts";
import { SOURCES_HINT, sourceFault } from "./source-fault.ts";
import type { ContentSource } from "./store.ts";

/** A file can name one block many times, with bytes that are not its own. At most this number of them are looked at. */
const MAX_CANDIDATES = 8;

/** There is no such file, or it is not for this user: to try again does not help. */
const NOT_READABLE = new Set(["ENOENT", "ENOTDIR", "EISDIR", "EACCES", "EPERM"]);

/** Sees a file as it is read through. */
export interface CarWatcher {
  /** The bytes of the CARv1, without what a CARv2 wraps around it. */
  readonly onPayload?: (bytes: Uint8Array) => void;
  /** Whether they are the block's is still unknown. */
  readonly onBlock?: (cid: Cid, bytes: Uint8Array) => void;
}

interface Place {
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

interface OpenCar {
  readonly file: FileHandle;
  readonly index: CarIndex;
}

export class CarFileSource implements ContentSource {
  readonly name: string;
  readonly isLocal = true;
  private readonly path: string;
  private opened: Promise<OpenCar> | undefined;

  /** @param path read at the first block that is asked for, once */
  constructor(path: string, name = `CAR file ${path}`) {
    this.path = path;
    this.name = name;
  }

  /** @throws CAR_MALFORMED, BLOCK_TOO_LARGE, FILE_UNREADABLE for the whole file, whatever is asked for */
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
    opened?.index.close();
    this.opened = undefined;
  }

  /**
   * Reads the file through, unless it was.
   * @throws CAR_MALFORMED, BLOCK_TOO_LARGE, FILE_UNREADABLE, CONTENT_UNREACHABLE
   */
  async load(watcher: CarWatcher): Promise<void> {
    await (this.opened ??= this.open(watcher));
  }

  private async open({ onPayload, onBlock }: CarWatcher = {}): Promise<OpenCar> {
    const index = new CarIndex();
    let file: FileHandle | undefined;
    try {
      file = await open(this.path, "r").catch((cause: unknown) => this.refuse(cause));
      for await (const { cid, bytes, offset } of decodeCar(this.chunks(), onPayload)) {
        onBlock?.(cid, bytes);
        index.add(digestOfCid(cid), { offset, size: bytes.length });
      }
      return { file, index };
    } catch (error) {
      await file?.close();
      index.close();
      throw error;
    }
  }

  private async *chunks(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of createReadStream(this.path)) yield chunk as Buffer;
    } catch (cause) {
      this.refuse(cause);
    }
  }

  private refuse(cause: unknown): never {
    const { code } = cause as NodeJS.ErrnoException;
    const isNotThere = code !== undefined && NOT_READABLE.has(code);
    throw new DmtpError(isNotThere ? "FILE_UNREADABLE" : "CONTENT_UNREACHABLE", `${this.name} cannot be read`, {
      cause,
    });
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
    this.http = new BoundedHttp(url, { resolve: options.resolve, hint: SOURCES_HINT });
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
      throw sourceFault(
        { name: this.name, hint: SOURCES_HINT },
        fault,
        `HTTP status ${answer.status}`,
        undefined,
        answer.retryAfterMs,
      );
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
        throw sourceFault({ name: this.name, hint: SOURCES_HINT }, "wrong", error.message, error);
      }
      throw error;
    } finally {
      await file.close();
    }
    return new CarFileSource(path, this.name);
  }
}

/** Where blocks lie, by their digests; memory is bounded, however many there are. */
class CarIndex {
  private readonly database = openTemporary(
    "CREATE TABLE blocks (digest BLOB, offset INTEGER, size INTEGER, PRIMARY KEY (digest, offset)) STRICT, WITHOUT ROWID",
  );
  private readonly insert: Statement<[Uint8Array, number, number]> = this.database.prepare(
    "INSERT INTO blocks VALUES (?, ?, ?)",
  );
  private readonly select: Statement<[Uint8Array, number], Place> = this.database.prepare(
    "SELECT offset, size FROM blocks WHERE digest = ? ORDER BY offset LIMIT ?",
  );

  add(digest: Uint8Array, { offset, size }: Place): void {
    translated(() => this.insert.run(digest, offset, size), "a temporary file");
  }

  find(digest: Uint8Array): Place[] {
    return translated(() => this.select.all(digest, MAX_CANDIDATES), "a temporary file");
  }

  close(): void {
    this.database.close();
  }
}
