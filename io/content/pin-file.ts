/** The list of pinned roots: a text file with a CID a line that is only ever appended to. */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";

import { isCid, type Cid } from "../../protocol/cid.ts";
import { syncFolder } from "../durable-folder.ts";

export class PinFile {
  private readonly path: string;
  private known = new Set<Cid>();
  private sizeBytes = 0;

  constructor(path: string) {
    this.path = path;
  }

  /** All pins, those of other processes among them. */
  read(): ReadonlySet<Cid> {
    const size = statSync(this.path, { throwIfNoEntry: false })?.size ?? 0;
    if (size !== this.sizeBytes) {
      const lines = size === 0 ? [] : readFileSync(this.path, "utf8").split("\n");
      // A crash may have cut the last line short: it is no CID then, and that pin was not acknowledged.
      this.known = new Set(lines.filter(isCid));
      this.sizeBytes = size;
    }
    return this.known;
  }

  add(cids: readonly Cid[]): void {
    const pinned = this.read();
    const added = [...new Set(cids)].filter((cid) => !pinned.has(cid));
    if (added.length === 0) return;
    const isNew = !existsSync(this.path);
    const descriptor = openSync(this.path, "a");
    try {
      // It begins with a line break, so that a line that a crash cut short spoils no other. In one write, so that another
      // process's lines do not come between.
      writeSync(descriptor, `\n${added.join("\n")}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    // A crash before this line may take the new file away: its pins are not acknowledged yet.
    if (isNew) syncFolder(dirname(this.path));
  }
}
