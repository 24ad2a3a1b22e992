/**
 * What KeyRegistry logged, as the mailbox has read it: which keys a wallet had at a position of the chain, and what the verdict on a
 * message (SPEC 8.4) would say of its keys there, without a replay.
 */
import type { Database, Statement } from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import { decodeEvent, encodeEvent } from "../../protocol/archive.ts";
import { examineHeader } from "../../protocol/entry.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Position, RegistryEvent } from "../../protocol/event.ts";
import {
  currentKey,
  findKey,
  KeyDirectory,
  type Binding,
  type KeyHistory,
  type KeyLookup,
  type KeySource,
} from "../../protocol/keys.ts";
import { Lru } from "../../protocol/lru.ts";
import { roomIdOf, type Deployment } from "../../protocol/room.ts";
import { isVerdictCode, rejected, VERIFIED, type Verdict, type VerdictCode } from "../../protocol/verdict.ts";
import { accessMailbox } from "./access.ts";

/** The keys that a message was made with. */
export interface KeyPair {
  readonly sender: Address;
  readonly senderKeyVersion: number;
  readonly receiver: Address;
  readonly receiverKeyVersion: number;
}

/** More wallets than these are not kept in memory at once. */
const KEPT_WALLETS = 10_000;
const VERIFIED_TEXT = "verified";

interface Row {
  readonly index: number;
  readonly event: Uint8Array;
  readonly binding: Binding | null;
  readonly verdict: string | null;
  readonly reason: string | null;
}

/** Every method may throw DATABASE_DAMAGED, DATABASE_BUSY, and DATABASE_WRITE_FAILED when it writes. */
export class Registry implements KeySource {
  private readonly deployment: Deployment;
  private readonly database: Database;
  private readonly histories = new Lru<Address, KeyHistory>(KEPT_WALLETS);
  /** The file's data version when {@link histories} was filled: it changes when another process writes. */
  private dataVersion: unknown;
  private readonly ofWallet: Statement<[Address], Row>;
  private readonly all: Statement<[], Row>;
  private readonly insert: Statement<[number, number, string, Address, number, Uint8Array]>;
  private readonly deleteAfter: Statement<[number]>;
  private readonly setVerdict: Statement<[Binding, string, string | null, number]>;

  constructor(database: Database, deployment: Deployment) {
    this.database = database;
    this.deployment = deployment;
    const columns = 'event_index AS "index", event, binding, verdict, reason';
    this.ofWallet = database.prepare(`SELECT ${columns} FROM registry_events WHERE wallet = ? ORDER BY version`);
    this.all = database.prepare(`SELECT ${columns} FROM registry_events ORDER BY event_index`);
    this.insert = database.prepare(
      `INSERT INTO registry_events (event_index, block_number, block_hash, wallet, version, event) VALUES (?, ?, ?, ?, ?, ?)`,
    );
    this.deleteAfter = database.prepare("DELETE FROM registry_events WHERE block_number > ?");
    this.setVerdict = database.prepare(
      "UPDATE registry_events SET binding = ?, verdict = ?, reason = ? WHERE event_index = ?",
    );
  }

  find(wallet: Address, version: number, position: Position): KeyLookup {
    return findKey(this.history(wallet), version, position);
  }

  /** What the wallet uses now. */
  current(wallet: Address): KeyLookup {
    return currentKey(this.history(wallet));
  }

  /** All keys and tombstones of the wallet that were read. */
  history(wallet: Address): KeyHistory {
    return accessMailbox(() => {
      const dataVersion = this.database.pragma("data_version", { simple: true });
      if (dataVersion !== this.dataVersion) this.histories.clear();
      this.dataVersion = dataVersion;
      const history = this.histories.get(wallet) ?? readHistory(this.deployment, this.ofWallet.all(wallet));
      this.histories.set(wallet, history);
      return history;
    });
  }

  /** With which code a message with these keys is rejected at a position, because of its keys; null when they are right. */
  refusal(pair: KeyPair, position: Position): VerdictCode | null {
    const room = roomIdOf(this.deployment, pair.sender, pair.receiver);
    const header = { v: 1 as const, ...pair, room, seq: 1, seen: [], timestamp: 0 };
    const finding = examineHeader(this.deployment, this, { room }, position, header, 0);
    return "verdict" in finding && finding.verdict.status === "rejected" ? finding.verdict.code : null;
  }

  /** Takes the next events, in the order of the chain. */
  add(events: Iterable<RegistryEvent>): void {
    for (const event of events) {
      this.insert.run(event.index, event.blockNumber, event.blockHash, event.wallet, event.version, encodeEvent(event));
      this.histories.delete(event.wallet);
    }
  }

  /** Forgets what later blocks than this logged. */
  rollBack(toBlock: number): void {
    if (this.deleteAfter.run(toBlock).changes > 0) this.histories.clear();
  }

  /** Forgets what is in memory of events that a transaction added and then took back. */
  forgetCached(): void {
    this.histories.clear();
  }

  /** Writes down the verdicts on a wallet's keys, which take milliseconds each, so that they are never worked out again. */
  keepVerdicts(wallet: Address): void {
    if (!this.ofWallet.all(wallet).some(isUnjudged)) return;
    for (const entry of this.history(wallet)) {
      if (!("verdict" in entry)) continue;
      const { verdict, binding, event } = entry;
      const [text, reason] = verdict.status === "rejected" ? [verdict.code, verdict.reason] : [VERIFIED_TEXT, null];
      this.setVerdict.run(binding, text, reason, event.index);
    }
  }

  /** Every event, in the order of the chain. */
  *events(): Generator<RegistryEvent> {
    for (const row of this.all.iterate()) yield decodeRow(row);
  }
}

function readHistory(deployment: Deployment, rows: readonly Row[]): KeyHistory {
  const directory = new KeyDirectory(deployment);
  if (rows.some(isUnjudged)) {
    const events = rows.map(decodeRow);
    for (const event of events) directory.add(event);
    return events[0] === undefined ? [] : directory.history(events[0].wallet);
  }
  return rows.map((row) => {
    const event = decodeRow(row);
    if (event.kind === "revocation") return { event };
    return { event, binding: row.binding ?? "chain", verdict: readVerdict(row) };
  });
}

/** @throws DATABASE_DAMAGED */
function readVerdict({ index, verdict, reason }: Row): Verdict {
  if (verdict === VERIFIED_TEXT) return VERIFIED;
  if (verdict !== null && isVerdictCode(verdict)) return rejected(verdict, reason ?? "");
  throw new DmtpError("DATABASE_DAMAGED", `the mailbox: key ${index} has a verdict that is none`);
}

/** Whether it is a key whose verdict was not written down yet; a tombstone has none. */
function isUnjudged(row: Row): boolean {
  return row.verdict === null && decodeRow(row).kind === "key";
}

function decodeRow({ event, index }: Row): RegistryEvent {
  const decoded = decodeLogged(event, index);
  if (decoded.kind !== "anchor") return decoded;
  throw new DmtpError("DATABASE_DAMAGED", `the mailbox: event ${index} of the registry is none`);
}

/** @throws DATABASE_DAMAGED */
export function decodeLogged(bytes: Uint8Array, index: number): ReturnType<typeof decodeEvent> {
  try {
    return decodeEvent(new Uint8Array(bytes), index);
  } catch (cause) {
    throw new DmtpError("DATABASE_DAMAGED", `the mailbox: event ${index} of the log has other bytes`, { cause });
  }
}
