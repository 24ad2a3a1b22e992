/** Bytes by CID: true whatever the chain does, so a rollback leaves them alone. */
import type Database from "better-sqlite3";

import { verifyBlock, type Cid } from "../../protocol/cid.ts";
import { CidRows } from "./cid-rows.ts";

const MAX_OFFERED_BYTES = 16 * 1024 * 1024;

export class ContentCache {
  /** The number of a CID, which is given one. Whoever keeps numbers in mind puts that here, so that each CID is numbered once. */
  numberOf: (cid: Cid) => number;
  private readonly getBytes: Database.Statement<[Cid], Uint8Array>;
  private readonly putBytes: Database.Statement<[cidId: number, bytes: Uint8Array]>;

  /** Available for now, each the block that its CID names. */
  private readonly offered = new Map<Cid, Uint8Array>();
  private offeredBytes = 0;
  private readonly taken = new Set<Cid>();

  constructor(database: Database.Database) {
    const cids = new CidRows(database);
    this.numberOf = (cid) => cids.add(cid).id;
    this.getBytes = database
      .prepare<[Cid], Uint8Array>("SELECT bytes FROM content WHERE id = (SELECT id FROM cids WHERE cid = ?)")
      .pluck();
    // Replaces: what the disk damaged is fetched again and arrives here.
    this.putBytes = database.prepare("INSERT OR REPLACE INTO content VALUES (?, ?)");
  }

  /** Whether more should be offered when some of it was asked for, or withdrawn: it is all in memory. */
  get isFull(): boolean {
    return this.offeredBytes >= MAX_OFFERED_BYTES;
  }

  /** Offers these blocks until {@link withdraw}: a block is kept once somebody asks for it. */
  offer(blocks: ReadonlyMap<Cid, Uint8Array>): void {
    for (const [cid, bytes] of blocks) {
      this.offered.set(cid, bytes);
      this.offeredBytes += bytes.length;
    }
  }

  /** What was offered and not asked for is forgotten. */
  withdraw(): void {
    this.offered.clear();
    this.offeredBytes = 0;
    this.taken.clear();
  }

  /** A block that is offered; undefined for any other, also when it is kept. */
  take(cid: Cid): Uint8Array | undefined {
    const bytes = this.offered.get(cid);
    if (bytes !== undefined && !this.taken.has(cid)) {
      this.taken.add(cid);
      this.putBytes.run(this.numberOf(cid), bytes);
    }
    return bytes;
  }

  /** A block that is offered or kept; it is not kept for that. */
  look(cid: Cid): Uint8Array | undefined {
    return this.offered.get(cid) ?? this.read(cid);
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
