/** An archive on this machine's disk, believed only after all of it was looked at. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

import { decodeArchive, decodeEvents, encodeEvent } from "../protocol/archive.ts";
import { equal } from "../protocol/bytes.ts";
import { verifyBlock, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { ArchiveExport, type ArchiveSubject } from "./archive.ts";
import { CarFileSource } from "./content/car-source.ts";
import { decodeCar } from "./content/car.ts";

const READ_BYTES = 1024 * 1024;

export class ArchiveFile {
  readonly name: string;
  readonly subject: ArchiveSubject;
  private readonly source: CarFileSource;

  private constructor(subject: ArchiveSubject, source: CarFileSource) {
    this.subject = subject;
    this.source = source;
    this.name = source.name;
  }

  /**
   * Opens a file that is byte for byte what an export of its own content gives: nothing can be left out, added or moved in it. That
   * the chain ever logged what it says is another question ({@link compareWithChain}).
   * @throws ARCHIVE_MALFORMED, CAR_MALFORMED, BLOCK_TOO_LARGE, BLOCK_HASH_MISMATCH, VERSION_UNSUPPORTED, CONTENT_UNREACHABLE
   */
  static async open(path: string, onProgress: (blocks: number) => void = () => undefined): Promise<ArchiveFile> {
    const source = new CarFileSource(path);
    try {
      const { digest, last } = await readThrough(path, source.name, onProgress);
      const archive = decodeArchive(last);
      const pages: Uint8Array[] = [];
      for (const cid of archive.events) {
        const page = await source.fetch(cid);
        if (page === null) throw malformed(`${source.name} lacks its events`);
        pages.push(page);
      }
      const { deployment, scope } = archive;
      const file = new ArchiveFile({ deployment, scope, events: [...decodeEvents(pages)] }, source);
      const again = createHash("sha256");
      for await (const chunk of new ArchiveExport(file.subject, file).bytes()) again.update(chunk);
      if (!digest.equals(again.digest())) throw malformed(`${source.name} is not what an export of its content gives`);
      return file;
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  get(cid: Cid): Promise<Uint8Array | null> {
    return this.source.fetch(cid);
  }

  /**
   * Compares what the file says of the chain with the chain, which may have gone on since.
   * @param events of the chain, as far as the reader knows it
   * @throws ARCHIVE_UNTRUE
   */
  compareWithChain(events: readonly ChainEvent[]): void {
    this.subject.events.forEach((event, i) => {
      const other = events[i];
      if (other !== undefined && equal(encodeEvent(event), encodeEvent(other))) return;
      const what = other === undefined ? "the chain does not have" : "is another one on the chain";
      throw new DmtpError("ARCHIVE_UNTRUE", `${this.name} has an event of block ${event.blockNumber} that ${what}`);
    });
  }

  close(): Promise<void> {
    return this.source.close();
  }
}

/** Every block by its hash; the SHA-256 of the whole file, and its last block. */
async function readThrough(
  path: string,
  name: string,
  onProgress: (blocks: number) => void,
): Promise<{ readonly digest: Buffer; readonly last: Uint8Array }> {
  const hash = createHash("sha256");
  const hashed = async function* (): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES })) {
        hash.update(chunk as Buffer);
        yield chunk as Buffer;
      }
    } catch (cause) {
      throw new DmtpError("CONTENT_UNREACHABLE", `${name} cannot be read`, { cause });
    }
  };
  let last: Uint8Array | undefined;
  let blocks = 0;
  for await (const { cid, bytes } of decodeCar(hashed())) {
    last = verifyBlock(cid, bytes);
    if (++blocks % 1_024 === 0) onProgress(blocks);
  }
  if (last === undefined) throw malformed(`${name} has no block`);
  return { digest: hash.digest(), last };
}

function malformed(what: string): DmtpError {
  return new DmtpError("ARCHIVE_MALFORMED", what);
}
