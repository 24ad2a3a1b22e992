/**
 * What the API reads of an index besides lists of rows, by the database alone: nothing that the writer has in memory is needed for an
 * answer, so whoever has the rows can give the same.
 */
import type Database from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { Deployment } from "../../protocol/room.ts";
import type { State } from "../../protocol/state.ts";
import { BlockLog } from "../store/block-log.ts";
import { ChangeLog } from "../store/change-log.ts";
import { ContentCache } from "../store/content-cache.ts";
import { StateRows } from "../store/state-rows.ts";
import { Statements } from "../store/statements.ts";
import type { Status } from "../store/verdict-columns.ts";
import { WantRows } from "../store/want-rows.ts";

/** A wallet's newest key, and whether it can be written to. */
export interface CurrentKey {
  readonly status: "usable" | "rejected" | "revoked";
  readonly version: number;
}

const NEWEST = "ORDER BY key_index DESC LIMIT 1";

export class IndexReader {
  readonly deployment: Deployment;
  readonly log: Pick<BlockLog, "cursor" | "finalized" | "alarm">;
  readonly changes: Pick<ChangeLog, "name" | "end" | "read" | "reaches" | "reorgDepths">;
  private readonly database: Database.Database;
  private readonly content: ContentCache;
  private readonly missing: WantRows;
  private readonly statements: Statements;

  constructor(database: Database.Database, deployment: Deployment) {
    this.deployment = deployment;
    this.database = database;
    this.log = new BlockLog(database);
    this.changes = new ChangeLog(database);
    this.content = new ContentCache(database);
    this.missing = new WantRows(database);
    this.statements = new Statements(database);
  }

  block(cid: Cid): Uint8Array | undefined {
    return this.content.read(cid);
  }

  /** How many blocks no source has had; a message is counted at each place that lists it. */
  get missingCount(): number {
    return this.missing.size;
  }

  isMissing(cid: Cid): boolean {
    return this.missing.has(cid);
  }

  /** The state that the tip has; nothing of it is read until it is asked for. */
  openState(): State {
    // Its references are good until a reorg takes its nodes back, so it is opened for each answer.
    const states = new StateRows(this.database);
    return states.stateAt(states.tip);
  }

  /** Null for a wallet without keys. */
  findCurrentKey(wallet: Address): CurrentKey | null {
    const key = this.statements
      .prepare<{ version: number; status: Status }>(
        `SELECT version, status FROM keys WHERE wallet = ? AND kind = 'key' ${NEWEST}`,
      )
      .get(wallet);
    if (key === undefined) return null;
    const last = this.statements
      .prepare<{ kind: "key" | "revocation" }>(`SELECT kind FROM keys WHERE wallet = ? ${NEWEST}`)
      .get(wallet);
    if (last?.kind === "revocation") return { status: "revoked", version: key.version };
    return { status: key.status === "verified" ? "usable" : "rejected", version: key.version };
  }
}
