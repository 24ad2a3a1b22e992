/** What exists nowhere else until it is anchored: the messages sent from here. One SQLite file for each deployment. */
import { join } from "node:path";

import type { Database } from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import type { Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { KeyEvent } from "../../protocol/event.ts";
import type { Block } from "../../protocol/manifest.ts";
import type { Replay } from "../../protocol/replay/replay.ts";
import type { Deployment, RoomId } from "../../protocol/room.ts";
import type { ChainIdentity } from "../chain/agreement/chain-identity.ts";
import { makeFolder } from "../durable-folder.ts";
import { AcceptedKeys } from "./accepted-keys.ts";
import { accessEach, accessMailbox, openMailboxFile } from "./access.ts";
import { adoptReplay } from "./adoption.ts";
import { Anchors } from "./anchors.ts";
import { Backlog, type HeldMessages, type RefusedMessage } from "./backlog.ts";
import { ChainLog, type LogUpdate } from "./chain-log.ts";
import { OwnEntryJudge } from "./own-entry-judge.ts";
import { Line } from "./line.ts";
import { Messages, type MailboxMessage, type NewMessage, type PinPage } from "./messages.ts";
import { OwnWallets } from "./own-wallets.ts";
import { RegistryCalls } from "./registry-calls.ts";
import { Relayed } from "./relayed.ts";
import { prepareSchema } from "./schema.ts";
import { UnreadListings } from "./unread-listings.ts";

const FILE = "mailbox.sqlite";

/** Every method may throw DATABASE_DAMAGED, DATABASE_BUSY and, when it writes, DATABASE_WRITE_FAILED. */
export class Mailbox {
  private readonly database: Database;
  private readonly mail: Messages;
  private readonly line: Line;
  private readonly own: OwnWallets;
  private readonly accepted: AcceptedKeys;
  private readonly backlog: Backlog;
  private readonly unread: UnreadListings;
  private readonly judge: OwnEntryJudge;
  /** What both contracts logged, as far as it was read. */
  readonly log: ChainLog;
  /** Own anchors, and the line of manifests that they go on with. */
  readonly anchors: Anchors;
  /** Own registrations and revocations of keys. */
  readonly calls: RegistryCalls;
  /** What a relay takes in, and tells of. */
  readonly relayed: Relayed;

  private constructor(database: Database, deployment: Deployment) {
    this.database = database;
    this.mail = new Messages(database);
    this.line = new Line(database);
    this.own = new OwnWallets(database);
    this.accepted = new AcceptedKeys(database);
    this.backlog = new Backlog(database);
    this.unread = new UnreadListings(database);
    this.log = new ChainLog(database, deployment);
    this.judge = new OwnEntryJudge(this.backlog, this.log.registry);
    this.anchors = new Anchors(database, this.line, this.backlog, this.log, this.judge, (work) =>
      this.transaction(work),
    );
    this.calls = new RegistryCalls(database, (work) => this.transaction(work));
    this.relayed = new Relayed(database, this.mail, this.log, this.judge, (work) => this.transaction(work));
  }

  /**
   * Opens `mailbox.sqlite` in a folder, made when it is not there.
   * @throws DATABASE_OLDER, DATABASE_NEWER, DATABASE_FOREIGN when it is of another chain, DATABASE_DAMAGED, DATABASE_BUSY, DATABASE_WRITE_FAILED
   */
  static open(folder: string, chain: ChainIdentity): Mailbox {
    try {
      makeFolder(folder, 0o700);
    } catch (cause) {
      throw new DmtpError("DATABASE_WRITE_FAILED", `the folder ${folder} cannot be made`, { cause });
    }
    const database = openMailboxFile(join(folder, FILE));
    try {
      return accessMailbox(() => {
        prepareSchema(database, chain);
        return new Mailbox(database, chain.deployment);
      });
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /**
   * Runs `work` alone: what it reads stays true until it has written. All of it is kept, or, when it throws, nothing; inside
   * another transaction it is a part of that one. `work` is synchronous.
   */
  transaction<T>(work: () => T): T {
    try {
      // A crash before the commit returns leaves the mailbox as it was; after, everything is on the disk.
      return accessMailbox(() => this.database.transaction(work).immediate());
    } catch (error) {
      this.log.registry.forgetCached();
      throw error;
    }
  }

  /**
   * Runs `work`, which only reads, on the mailbox as it is now: what others write meanwhile is not seen, and waits for nothing. Many
   * small reads, such as a state's, take a tenth of the time in it.
   */
  snapshot<T>(work: () => T): T {
    return accessMailbox(() => this.database.transaction(work).deferred());
  }

  /** The highest known sequence number of the sender's key version in the room, plus one: 2^53 when none is left. */
  nextSeq(room: RoomId, sender: Address, keyVersion: number): number {
    return accessMailbox(() => this.mail.nextSeq(room, sender, keyVersion));
  }

  /** Digests of the messages of a room that no known message of it names, ascending; of more than 16, the newest. */
  heads(room: RoomId): Uint8Array[] {
    return accessMailbox(() => this.mail.heads(room));
  }

  /** Keeps messages that are sent from here, in this order; what is there already is left as it is. Acknowledged means durable. */
  add(messages: readonly NewMessage[]): void {
    this.transaction(() => {
      for (const message of messages) this.mail.add(message);
      for (const sender of new Set(messages.map(({ envelope }) => envelope.sender))) this.own.note(sender);
    });
  }

  /** The wallets that sent from here, or registered a key. */
  ownWallets(): Address[] {
    return accessMailbox(() => this.own.wallets());
  }

  noteOwnWallet(wallet: Address): void {
    this.transaction(() => this.own.note(wallet));
  }

  /** Whether the user has accepted this very key of a contract wallet, for which nodes alone vouch. */
  hasAccepted(key: KeyEvent): boolean {
    return accessMailbox(() => this.accepted.has(key));
  }

  acceptKey(key: KeyEvent): void {
    this.transaction(() => this.accepted.accept(key));
  }

  /** In the order in which they came. */
  unanchored(): { readonly room: RoomId; readonly cid: Cid }[] {
    return accessMailbox(() => this.backlog.unanchored());
  }

  /** The first messages after this id that are not pinned, in the order in which they came; none at the end. */
  unpinned(afterId: number, limit: number): PinPage {
    return accessMailbox(() => this.mail.unpinned(afterId, limit));
  }

  /** The blocks of all messages between the ends of a page, pinned ones too, some at a time: as many as `maxBytes` take, and one more. */
  *blocks(page: PinPage, maxBytes: number): Generator<Block[]> {
    yield* accessEach(this.mail.blocks(page, maxBytes));
  }

  /** Pins are those of one store: in another, by this name, nothing is pinned yet. */
  keepPinsOf(store: string): void {
    if (accessMailbox(() => this.mail.pinnedIn()) === store) return;
    this.transaction(() => {
      this.mail.pinIn(store);
    });
  }

  markPinned(page: PinPage): void {
    this.transaction(() => {
      this.mail.markPinned(page);
    });
  }

  /** In the order in which they came. */
  messages(room: RoomId): MailboxMessage[] {
    return accessMailbox(() => this.mail.inRoom(room));
  }

  message(cid: Cid): MailboxMessage | null {
    return accessMailbox(() => this.mail.get(cid));
  }

  block(cid: Cid): Uint8Array | null {
    return accessMailbox(() => this.mail.block(cid));
  }

  counts(): { readonly messages: number; readonly unanchored: number; readonly unpinned: number } {
    return accessMailbox(() => this.mail.counts());
  }

  /** Runs `work` alone, and takes back all that it writes. */
  rehearse<T>(work: () => T): T {
    let result: { readonly value: T } | undefined;
    try {
      return this.transaction(() => {
        result = { value: work() };
        throw new Rehearsed();
      });
    } catch (error) {
      if (error instanceof Rehearsed && result !== undefined) return result.value;
      throw error;
    }
  }

  /** Takes what the chain says that the log does not know. What a reorg took back decides about no message any more. @throws MAILBOX_OVERTAKEN */
  readLog(update: LogUpdate): void {
    this.transaction(() => {
      const kept = this.log.apply(update);
      this.backlog.unmarkAll((index) => index < kept);
    });
  }

  /** {@link adoptReplay}, of a replay of all that the log has. */
  adopt(replay: Replay, head: Uint8Array, blockOf: (cid: Cid) => Uint8Array | undefined, nowMs: number): void {
    const { mail, backlog, log, line, anchors, unread } = this;
    this.transaction(() => {
      adoptReplay({ mail, backlog, log, line, anchors, unread }, replay, head, blockOf, nowMs);
    });
  }

  /** The last anchor that lists, or may list, a message of the room that the last replay did not have; null when there is none, or it is accepted. */
  lastUnread(room: RoomId): number | null {
    return accessMailbox(() => this.unread.last(room));
  }

  /** The user does without what is missing in a room, of the anchors up to this one: a number may be repeated there. */
  acceptMissing(room: RoomId, anchorIndex: number): void {
    this.transaction(() => {
      this.unread.accept(room, anchorIndex);
    });
  }

  /** The last anchor with a message of the room by this sender and key version; null when there is none. */
  lastAnchored(room: RoomId, sender: Address, keyVersion: number): number | null {
    return accessMailbox(() => this.mail.lastAnchored(room, sender, keyVersion));
  }

  /** How many messages of this sender no anchor decides about. */
  countWaiting(sender: Address): number {
    const pairs = accessMailbox(() => this.backlog.waitingPairs());
    return pairs.reduce((sum, pair) => (pair.sender === sender ? sum + pair.count : sum), 0);
  }

  /** The messages that wait and would be rejected if they were anchored now, by the code. */
  held(): HeldMessages[] {
    return accessMailbox(() => this.judge.held());
  }

  /** The messages whose entry is rejected for good, of which no person was told yet; with `isAll`, all of them. */
  refused(isAll: boolean): RefusedMessage[] {
    return accessMailbox(() => this.backlog.refused(isAll));
  }

  markTold(): void {
    this.transaction(() => {
      this.backlog.markTold();
    });
  }

  close(): void {
    this.database.close();
  }
}

/** Ends a rehearsal's transaction without a commit. */
class Rehearsed extends Error {}
