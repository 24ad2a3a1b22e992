/**
 * Which blocks an export has found, and which not. A file has a block at each of its places or at none: otherwise it is not what an
 * export of its own content gives, and nobody can read it. What a source has may change in between, and how long it is asked, too.
 */
import type { Statement } from "better-sqlite3";

import { digestOfCid, type Cid } from "../protocol/cid.ts";
import { openTemporary, translated } from "./database.ts";

const NAME = "a temporary file";

export class BlockOutcomes {
  private readonly database = openTemporary(
    "CREATE TABLE outcomes (digest BLOB PRIMARY KEY, is_found INTEGER NOT NULL) STRICT, WITHOUT ROWID",
  );
  private readonly select: Statement<[Uint8Array], number> = this.database
    .prepare<[Uint8Array], number>("SELECT is_found FROM outcomes WHERE digest = ?")
    .pluck();
  private readonly insert: Statement<[Uint8Array, number]> = this.database.prepare(
    "INSERT OR IGNORE INTO outcomes VALUES (?, ?)",
  );

  /** Null for a block that was not asked for. */
  find(cid: Cid): boolean | null {
    const found = translated(() => this.select.get(digestOfCid(cid)), NAME);
    return found === undefined ? null : found === 1;
  }

  note(cid: Cid, isFound: boolean): void {
    translated(() => this.insert.run(digestOfCid(cid), isFound ? 1 : 0), NAME);
  }

  close(): void {
    this.database.close();
  }
}
