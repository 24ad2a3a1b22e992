/** Bytes by CID: true whatever the chain does, so a rollback leaves them alone. */
import type Database from "better-sqlite3";

import { verifyBlock, type Cid } from "../../protocol/cid.ts";
import { CidRows } from "./cid-rows.ts";

export class ContentCache {
  private readonly cids: CidRows;
  private readonly getBytes: Database.Statement<[Cid], Uint8Array>;
  private readonly putBytes: Database.Statement<[cidId: number, bytes: Uint8Array]>;

  /** At hand for now, each the block that its CID names. */
  private offered: ReadonlyMap<Cid, Uint8Array>[] = [];
  private readonly taken = new Set<Cid>();

  constructor(database: Database.Database) {
    this.cids = new CidRows(database);
    this.getBytes = database
      .prepare<[Cid], Uint8Array>("SELECT bytes FROM content WHERE id = (SELECT id FROM cids WHERE cid = ?)")
      .pluck();
    // Replaces: what the disk damaged is fetched again and arrives here.
    this.putBytes = database.prepare("INSERT OR REPLACE INTO content VALUES (?, ?)");
  }

  /** Offers these blocks until {@link withdraw}: a block is kept once somebody asks for it. */
  offer(blocks: ReadonlyMap<Cid, Uint8Array>): void {
    if (blocks.size > 0) this.offered.push(blocks);
  }

  /** What was offered and not asked for is forgotten. */
  withdraw(): void {
    this.offered = [];
    this.taken.clear();
  }

  /** A block that is offered; undefined for any other, also when it is kept. */
  take(cid: Cid): Uint8Array | undefined {
    for (const blocks of this.offered) {
      const bytes = blocks.get(cid);
      if (bytes === undefined) continue;
      if (!this.taken.has(cid)) {
        this.taken.add(cid);
        this.putBytes.run(this.cids.add(cid).id, bytes);
      }
      return bytes;
    }
    return undefined;
  }

  /** A block that is offered or kept; it is not kept for that. */
  look(cid: Cid): Uint8Array | undefined {
    return this.offered.find((blocks) => blocks.has(cid))?.get(cid) ?? this.read(cid);
  }

  /** A block that is offered, which is kept then, or that is kept already. */
  get(cid: Cid): Uint8Array | undefined {
    return this.take(cid) ?? this.read(cid);
  }

  /** A block that is kept. Bytes that the disk damaged are as good as none. */
  read(cid: Cid): Uint8Array | undefined {
    const bytes = this.getBytes.get(cid);
    if (bytes === undefined) return undefined;
    try {
      // A Buffer from SQLite owns its memory; a plain view of it is what protocol/ takes and gives.
      return verifyBlock(cid, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    } catch {
      return undefined;
    }
  }
}
