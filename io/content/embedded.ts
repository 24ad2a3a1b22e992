/** Blocks in a folder: real CIDs without a daemon. Nothing is ever collected, so a pin only records that it was asked for. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

import { verifyBlock, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { syncFolder } from "../durable-folder.ts";
import { readBlockFile, removeLeftovers, writeFiles } from "./block-files.ts";
import { PinFile } from "./pin-file.ts";
import type { ContentStore } from "./store.ts";

/** Reads are synchronous, for that is several times faster; a server must get its turn in between. */
const YIELD_AFTER_MS = 10;

export class EmbeddedStore implements ContentStore {
  readonly name: string;
  private readonly folder: string;
  private readonly pins: PinFile;
  private lastYield = performance.now();

  /** @param folder made at the first write */
  constructor(folder: string) {
    this.folder = folder;
    this.name = `the folder ${folder}`;
    this.pins = new PinFile(join(folder, "pins"));
    removeLeftovers(folder);
  }

  async get(cid: Cid): Promise<Uint8Array | null> {
    if (performance.now() - this.lastYield > YIELD_AFTER_MS) {
      await new Promise(setImmediate);
      this.lastYield = performance.now();
    }
    try {
      return this.read(cid);
    } catch (cause) {
      throw new DmtpError("CONTENT_UNREACHABLE", `${this.pathOf(cid)} cannot be read${reasonOf(cause)}`, { cause });
    }
  }

  async put(blocks: readonly Block[]): Promise<void> {
    for (const { cid, bytes } of blocks) verifyBlock(cid, bytes);
    try {
      const wanted = new Map(blocks.map(({ cid, bytes }) => [cid, { path: this.pathOf(cid), bytes }]));
      const here: string[] = [];
      for (const [cid, { path }] of wanted) {
        // A file with other bytes, such as one that a power cut emptied, is written again.
        if (!existsSync(path) || this.read(cid) === null) continue;
        wanted.delete(cid);
        here.push(dirname(path));
      }
      await writeFiles([...wanted.values()], this.folder);
      // Another process may have put them there a moment ago, and not have synced their folder yet.
      for (const folder of new Set(here)) syncFolder(folder);
    } catch (cause) {
      throw new DmtpError("CONTENT_WRITE_FAILED", `cannot write to ${this.name}${reasonOf(cause)}`, { cause });
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- an error must come as a rejection, as from every store
  async pin(roots: readonly Cid[]): Promise<void> {
    for (const cid of roots) {
      if (!existsSync(this.pathOf(cid))) throw new DmtpError("CONTENT_MISSING", `${cid} is not in ${this.name}`);
    }
    try {
      this.pins.add(roots);
    } catch (cause) {
      throw new DmtpError("CONTENT_WRITE_FAILED", `cannot write to ${this.name}${reasonOf(cause)}`, { cause });
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- as above
  async isPinned(cids: readonly Cid[]): Promise<boolean[]> {
    try {
      const pinned = this.pins.read();
      return cids.map((cid) => pinned.has(cid));
    } catch (cause) {
      throw new DmtpError("CONTENT_UNREACHABLE", `the pins of ${this.name} cannot be read${reasonOf(cause)}`, {
        cause,
      });
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private read(cid: Cid): Uint8Array | null {
    const bytes = readBlockFile(this.pathOf(cid));
    if (bytes === null) return null;
    try {
      return verifyBlock(cid, bytes);
    } catch {
      return null;
    }
  }

  /** By the last two characters but one, as IPFS's own block folder does: the last one has two bits only. */
  private pathOf(cid: Cid): string {
    return join(this.folder, cid.slice(-3, -1), cid);
  }
}

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return code === undefined ? "" : ` (${code})`;
}
