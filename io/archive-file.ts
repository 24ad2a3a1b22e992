/** An archive on this machine's disk, believed only after all of it was looked at. */
import { createHash } from "node:crypto";

import { decodeArchive, decodeEvents, encodeEvent } from "../protocol/archive.ts";
import { equal } from "../protocol/bytes.ts";
import { verifyBlock, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { ArchiveExport, type ArchiveSubject } from "./archive.ts";
import { CarFileSource } from "./content/car-source.ts";

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
   * @throws ARCHIVE_MALFORMED, CAR_MALFORMED, BLOCK_TOO_LARGE, BLOCK_HASH_MISMATCH, VERSION_UNSUPPORTED, FILE_UNREADABLE, CONTENT_UNREACHABLE
   */
  static async open(path: string, onProgress: (blocks: number) => void = () => undefined): Promise<ArchiveFile> {
    const source = new CarFileSource(path);
    try {
      const digest = createHash("sha256");
      const seen: { blocks: number; last: Uint8Array | null } = { blocks: 0, last: null };
      await source.load({
        onPayload: (chunk) => digest.update(chunk),
        onBlock: (cid, bytes) => {
          seen.last = verifyBlock(cid, bytes);
          if (++seen.blocks % 1_024 === 0) onProgress(seen.blocks);
        },
      });
      if (seen.last === null) throw malformed(`${source.name} has no block`);
      const archive = decodeArchive(seen.last);
      const { deployment, scope } = archive;
      const file = new ArchiveFile({ deployment, scope, events: await readEvents(archive.events, source) }, source);
      const again = createHash("sha256");
      for await (const chunk of new ArchiveExport(file.subject, file).bytes()) again.update(chunk);
      if (!digest.digest().equals(again.digest()))
        throw malformed(`${source.name} is not what an export of its content gives`);
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

/** A page at a time: only the events are held. */
async function readEvents(pages: readonly Cid[], source: CarFileSource): Promise<ChainEvent[]> {
  const events: ChainEvent[] = [];
  const counts = { anchor: 0, key: 0 };
  for (const cid of pages) {
    const page = await source.fetch(cid);
    if (page === null) throw malformed(`${source.name} lacks its events`);
    for (const event of decodeEvents([page])) {
      events.push({ ...event, index: counts[event.kind === "anchor" ? "anchor" : "key"]++ });
    }
  }
  return events;
}

function malformed(what: string): DmtpError {
  return new DmtpError("ARCHIVE_MALFORMED", what);
}
