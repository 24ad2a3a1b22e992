/** What the replay found, as rows to serve from. Written in the transaction that brings the cause: a block or content. */
import type Database from "better-sqlite3";

import type { Anchor } from "../../protocol/anchor.ts";
import { toHex } from "../../protocol/bytes.ts";
import { cidOfDigest } from "../../protocol/cid.ts";
import type { Entry } from "../../protocol/entry.ts";
import type { KeyEvent, RevocationEvent } from "../../protocol/event.ts";
import type { KeyVersion } from "../../protocol/keys.ts";
import type { Manifest, Tip } from "../../protocol/manifest.ts";
import { rootOf } from "../../protocol/merkle.ts";
import { roomIdOf, type Deployment, type RoomId } from "../../protocol/room.ts";
import { State } from "../../protocol/state.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { writeMeta } from "./meta.ts";
import { Statements } from "./statements.ts";

type VerdictColumns = [status: string, code: string | null, reason: string | null];

export class DerivedRows {
  private readonly deployment: Deployment;
  private readonly database: Database.Database;
  private readonly statements: Statements;

  constructor(database: Database.Database, deployment: Deployment) {
    this.database = database;
    this.statements = new Statements(database);
    this.deployment = deployment;
  }

  /** Empties every derived table, to be written again from the first event. */
  clear(): void {
    for (const table of ["anchors", "entries", "rooms", "room_members", "keys"]) this.run(`DELETE FROM ${table}`);
    this.writeTip(null);
  }

  writeAnchor({ event, verdict, manifest, wants }: Anchor): void {
    this.run(
      "INSERT OR REPLACE INTO anchors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      event.index,
      event.cid,
      event.text,
      ...verdictColumns(verdict),
      manifest === null ? null : encodeManifestRow(manifest),
      JSON.stringify([...new Set(wants)]),
      event.blockNumber,
      event.logIndex,
      event.blockHash,
      event.transactionHash,
    );
  }

  /** The entries of an anchor that has just been verified. */
  listEntries(entries: readonly Entry[]): void {
    for (const entry of entries) this.run("INSERT OR IGNORE INTO rooms VALUES (?, NULL, NULL, NULL)", entry.room);
    for (const entry of entries) this.writeEntry(entry);
  }

  writeEntry({ anchorIndex, ordinal, room, cid, verdict, message }: Entry): void {
    this.run(
      "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      anchorIndex,
      ordinal,
      room,
      cid,
      ...verdictColumns(verdict),
      message?.sender ?? null,
      message?.receiver ?? null,
      message?.seq ?? null,
      message?.timestamp ?? null,
      message?.sizeBytes ?? null,
    );
    if (message === null) return;
    const { sender, receiver } = message;
    // A room id is a hash of its two wallets: whoever names the right two has told the truth, signed or not.
    if (sender === receiver || roomIdOf(this.deployment, sender, receiver) !== room) return;
    for (const wallet of [sender, receiver]) this.run("INSERT OR IGNORE INTO room_members VALUES (?, ?)", wallet, room);
  }

  /** Count and root of a room at the tip; nulls for a room that only other lines of manifests have. */
  writeRoom(room: RoomId, state: State): void {
    const found = state.room(room);
    this.run(
      "UPDATE rooms SET n = ?, root = ?, last_index = ? WHERE id = ?",
      found?.range.size ?? null,
      found === undefined ? null : toHex(rootOf(found.range)),
      found?.lastIndex ?? null,
      room,
    );
  }

  writeTip(tip: Tip | null): void {
    const row = tip === null ? null : JSON.stringify({ anchorIndex: tip.index, cid: tip.cid, seq: tip.seq });
    writeMeta(this.database, "tip", row);
    writeMeta(this.database, "stateRoot", toHex((tip?.state ?? State.EMPTY).root));
  }

  writeKey({ event, binding, verdict }: KeyVersion, documentVerdict: Verdict): void {
    this.run(
      "INSERT OR REPLACE INTO keys VALUES (?, 'key', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      event.index,
      event.wallet,
      event.version,
      toHex(event.encryptionKey),
      toHex(event.signingKey),
      event.deadline.toString(),
      toHex(event.signature),
      event.hasCode ? 1 : 0,
      binding,
      ...verdictColumns(verdict),
      cidOfDigest(event.document),
      ...verdictColumns(documentVerdict),
      event.blockNumber,
      event.logIndex,
      event.blockHash,
      event.transactionHash,
    );
  }

  writeRevocation(event: RevocationEvent): void {
    this.run(
      `INSERT OR REPLACE INTO keys (key_index, kind, wallet, version, block_number, log_index, block_hash, transaction_hash)
       VALUES (?, 'revocation', ?, ?, ?, ?, ?, ?)`,
      event.index,
      event.wallet,
      event.version,
      event.blockNumber,
      event.logIndex,
      event.blockHash,
      event.transactionHash,
    );
  }

  writeKeyDocument(event: KeyEvent, verdict: Verdict): void {
    this.run(
      "UPDATE keys SET document_status = ?, document_code = ?, document_reason = ? WHERE key_index = ?",
      ...verdictColumns(verdict),
      event.index,
    );
  }

  private run(sql: string, ...values: unknown[]): void {
    this.statements.prepare(sql).run(...values);
  }
}

function verdictColumns(verdict: Verdict): VerdictColumns {
  return verdict.status === "rejected" ? [verdict.status, verdict.code, verdict.reason] : [verdict.status, null, null];
}

function encodeManifestRow({ seq, base, rooms, heads, count, state }: Manifest): string {
  return JSON.stringify({
    seq,
    base: base?.index ?? null,
    prev: base?.cid ?? null,
    rooms,
    heads,
    count,
    state: toHex(state),
  });
}
