/** SHA-256 digests; memory is bounded, however many there are. */
import type { Statement } from "better-sqlite3";

import { openTemporary, translated } from "./database.ts";

export class DigestSet {
  private readonly database = openTemporary("CREATE TABLE digests (digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID");
  private readonly insert: Statement<[Uint8Array]> = this.database.prepare(
    "INSERT INTO digests VALUES (?) ON CONFLICT DO NOTHING",
  );

  /** @returns whether it was not there */
  add(digest: Uint8Array): boolean {
    return translated(() => this.insert.run(digest).changes === 1, "a temporary file");
  }

  close(): void {
    this.database.close();
  }
}
