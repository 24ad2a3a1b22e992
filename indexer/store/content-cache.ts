/** Bytes by CID: true whatever the chain does, so a rollback leaves them alone. */
import type Database from "better-sqlite3";

import { verifyBlock, type Cid } from "../../protocol/cid.ts";
import { CidRows } from "./cid-rows.ts";

const NOTHING: ReadonlyMap<Cid, Uint8Array> = new Map();

export class ContentCache {
  private readonly cids: CidRows;
  private readonly getBytes: Database.Statement<[Cid], Uint8Array>;
  private readonly hasBytes: Database.Statement<[Cid]>;
  private readonly putBytes: Database.Statement<[cidId: number, bytes: Uint8Array]>;

  /** At hand for now, each the block that its CID names. */
  private offered = NOTHING;
  private readonly taken = new Set<Cid>();

  constructor(database: Database.Database) {
    this.cids = new CidRows(database);
    this.getBytes = database
      .prepare<[Cid], Uint8Array>("SELECT bytes FROM content WHERE id = (SELECT id FROM cids WHERE cid = ?)")
      .pluck();
    this.hasBytes = database.prepare("SELECT 1 FROM content WHERE id = (SELECT id FROM cids WHERE cid = ?)");
    // Replaces: what the disk damaged is fetched again and arrives here.
    this.putBytes = database.prepare("INSERT OR REPLACE INTO content VALUES (?, ?)");
  }

  /** Has these at hand while `work` runs: who asks for one gets it, and only then it is kept. */
  offering(blocks: ReadonlyMap<Cid, Uint8Array>, work: () => void): void {
    this.offered = blocks;
    try {
      work();
    } finally {
      this.offered = NOTHING;
      this.taken.clear();
    }
  }

  /**
   * A block that is offered; undefined for any other, also when it is kept.
   * @param cidId the number of its CID, where that is known
   */
  take(cid: Cid, cidId?: number): Uint8Array | undefined {
    const bytes = this.offered.get(cid);
    if (bytes !== undefined && !this.taken.has(cid)) {
      this.taken.add(cid);
      this.putBytes.run(cidId ?? this.cids.add(cid).id, bytes);
    }
    return bytes;
  }

  /** Bytes that the disk damaged are as good as none. */
  get(cid: Cid): Uint8Array | undefined {
    const offered = this.take(cid);
    if (offered !== undefined) return offered;
    const bytes = this.getBytes.get(cid);
    if (bytes === undefined) return undefined;
    try {
      // A Buffer from SQLite owns its memory; a plain view of it is what protocol/ takes and gives.
      return verifyBlock(cid, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    } catch {
      return undefined;
    }
  }

  /** Whether it is kept; what is offered is, from then on. */
  keeps(cid: Cid): boolean {
    return this.take(cid) !== undefined || this.hasBytes.get(cid) !== undefined;
  }
}
