/** The registry's events with the verdicts on them, one row each: the key history of every wallet. */
import type Database from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import { fromHex, toHex, type Hex } from "../../protocol/bytes.ts";
import { cidOfDigest, digestOfCid, type Cid } from "../../protocol/cid.ts";
import type { ErrorCode } from "../../protocol/error.ts";
import type { KeyEvent, Position, RegistryEvent, RevocationEvent } from "../../protocol/event.ts";
import { findKey, type KeyHistory, type KeyLookup, type KeySource, type KeyVersion } from "../../protocol/keys.ts";
import type { DocumentVerdict } from "../../protocol/key-document.ts";
import { Lru } from "../../protocol/lru.ts";
import { SIGNED } from "./schema.ts";
import { Statements } from "./statements.ts";
import { verdictColumns, verdictOfRow, type Status, type VerdictRow } from "./verdict-columns.ts";
import { WaitingCids } from "./waiting-cids.ts";

/** As the table has a tombstone; of a key it has more. */
export interface RevocationRow {
  readonly kind: "revocation";
  readonly key_index: number;
  readonly wallet: Address;
  readonly version: number;
  readonly block_number: number;
  readonly log_index: number;
  readonly block_hash: Hex;
  readonly transaction_hash: Hex;
}

export interface KeyRow extends Omit<RevocationRow, "kind">, VerdictRow {
  readonly kind: "key";
  readonly encryption_key: string;
  readonly signing_key: string;
  readonly deadline: string;
  readonly signature: string;
  readonly has_code: number;
  readonly binding: KeyVersion["binding"];
  readonly document: Cid;
  readonly document_status: Status;
  readonly document_code: ErrorCode | null;
  readonly document_reason: string | null;
}

/** Wallets whose histories stay in memory: the same ones write again and again. */
const MAX_KEPT = 10_000;

export class KeyRows implements KeySource {
  private readonly statements: Statements;
  private readonly histories = new Lru<Address, KeyHistory>(MAX_KEPT);
  private readonly waiting: WaitingCids;

  constructor(database: Database.Database) {
    this.statements = new Statements(database);
    this.waiting = new WaitingCids(database, "SELECT document FROM keys WHERE document_status = 'missing'");
  }

  find(wallet: Address, version: number, position: Position): KeyLookup {
    return findKey(this.history(wallet), version, position);
  }

  history(wallet: Address): KeyHistory {
    let history = this.histories.get(wallet);
    if (history === undefined) {
      history = this.statements
        .prepare<KeyRow | RevocationRow>("SELECT * FROM keys WHERE wallet = +? ORDER BY key_index")
        .all(wallet)
        .map((row) => (row.kind === "key" ? versionOf(row) : { event: revocationOf(row) }));
      this.histories.set(wallet, history);
    }
    return history;
  }

  /** Whether one of the wallet's keys {@link isSignedVersion}. */
  hasSigned(wallet: Address): boolean {
    const select = `SELECT 1 AS found FROM keys WHERE wallet = ? AND ${SIGNED} LIMIT 1`;
    return this.statements.prepare<{ found: number }>(select).get(wallet) !== undefined;
  }

  addKey({ event, binding, verdict }: KeyVersion, documentVerdict: DocumentVerdict): void {
    this.statements.run(
      "INSERT INTO keys VALUES (?, 'key', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
      ...placeColumns(event),
    );
    this.histories.delete(event.wallet);
    if (documentVerdict.status === "missing") this.waiting.add(this.documentCid(event));
  }

  addRevocation(event: RevocationEvent): void {
    this.statements.run(
      `INSERT INTO keys (key_index, kind, wallet, version, block_number, log_index, block_hash, transaction_hash)
       VALUES (?, 'revocation', ?, ?, ?, ?, ?, ?)`,
      event.index,
      event.wallet,
      event.version,
      ...placeColumns(event),
    );
    this.histories.delete(event.wallet);
  }

  writeDocumentVerdict({ index }: KeyEvent, verdict: DocumentVerdict): void {
    this.statements.run(
      "UPDATE keys SET document_status = ?, document_code = ?, document_reason = ? WHERE key_index = ?",
      ...verdictColumns(verdict),
      index,
    );
    this.waiting.forget();
  }

  /** False only when no key waits for this document. */
  mayAwait(document: Cid): boolean {
    return this.waiting.mayHave(document);
  }

  documentCid({ document }: KeyEvent): Cid {
    return cidOfDigest(document);
  }

  /** The keys whose document this is, and that wait for it. */
  awaiting(document: Cid): KeyEvent[] {
    if (!this.waiting.mayHave(document)) return [];
    return this.statements
      .prepare<KeyRow>("SELECT * FROM keys WHERE document = +? AND document_status = 'missing' ORDER BY key_index")
      .all(document)
      .map((row) => versionOf(row).event);
  }

  /** Takes out this event and all behind it. */
  truncate(fromIndex: number): void {
    this.statements.run("DELETE FROM keys WHERE key_index >= ?", fromIndex);
    this.histories.clear();
  }
}

function placeColumns({
  blockNumber,
  logIndex,
  blockHash,
  transactionHash,
}: RegistryEvent): [number, number, Hex, Hex] {
  return [blockNumber, logIndex, blockHash, transactionHash];
}

function revocationOf(row: KeyRow | RevocationRow): RevocationEvent {
  return {
    kind: "revocation",
    index: row.key_index,
    wallet: row.wallet,
    version: row.version,
    blockNumber: row.block_number,
    logIndex: row.log_index,
    blockHash: row.block_hash,
    transactionHash: row.transaction_hash,
  };
}

function versionOf(row: KeyRow): KeyVersion {
  const event: KeyEvent = {
    ...revocationOf(row),
    kind: "key",
    encryptionKey: fromHex(row.encryption_key),
    signingKey: fromHex(row.signing_key),
    document: digestOfCid(row.document),
    deadline: BigInt(row.deadline),
    signature: fromHex(row.signature),
    hasCode: row.has_code === 1,
  };
  return { event, binding: row.binding, verdict: verdictOfRow(row) };
}
