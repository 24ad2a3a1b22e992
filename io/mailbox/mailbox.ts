/** What exists nowhere else until it is anchored: the messages sent from here. One SQLite file for each deployment. */
import { join } from "node:path";

import type { Database } from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import type { Cid } from "../../protocol/cid.ts";
import { decodeEnvelope } from "../../protocol/envelope.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { KeyEvent } from "../../protocol/event.ts";
import type { Block } from "../../protocol/manifest.ts";
import type { Replay } from "../../protocol/replay/replay.ts";
import type { Deployment, RoomId } from "../../protocol/room.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { makeFolder } from "../durable-folder.ts";
import { AcceptedKeys } from "./accepted-keys.ts";
import { accessEach, accessMailbox, openMailboxFile } from "./access.ts";
import { Anchors } from "./anchors.ts";
import { Line } from "./line.ts";
import { Messages, type MailboxMessage, type NewMessage, type PinPage } from "./messages.ts";
import { OwnWallets } from "./own-wallets.ts";
import { prepareSchema } from "./schema.ts";

const FILE = "mailbox.sqlite";

/** Every method may throw DATABASE_DAMAGED, DATABASE_BUSY and, when it writes, DATABASE_WRITE_FAILED. */
export class Mailbox {
  private readonly database: Database;
  private readonly mail: Messages;
  private readonly line: Line;
  private readonly own: OwnWallets;
  private readonly accepted: AcceptedKeys;
  /** Own anchors, and the line of manifests that they go on with. */
  readonly anchors: Anchors;

  private constructor(database: Database) {
    this.database = database;
    this.mail = new Messages(database);
    this.line = new Line(database);
    this.own = new OwnWallets(database);
    this.accepted = new AcceptedKeys(database);
    this.anchors = new Anchors(database, this.line, this.mail, (work) => this.transaction(work));
  }

  /**
   * Opens `mailbox.sqlite` in a folder, made when it is not there.
   * @throws DATABASE_NEWER, DATABASE_FOREIGN, DATABASE_DAMAGED, DATABASE_BUSY, DATABASE_WRITE_FAILED
   */
  static open(folder: string, deployment: Deployment): Mailbox {
    try {
      makeFolder(folder, 0o700);
    } catch (cause) {
      throw new DmtpError("DATABASE_WRITE_FAILED", `the folder ${folder} cannot be made`, { cause });
    }
    const database = openMailboxFile(join(folder, FILE));
    try {
      return accessMailbox(() => {
        prepareSchema(database, deployment);
        return new Mailbox(database);
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
    // A crash before the commit returns leaves the mailbox as it was; after, everything is on the disk.
    return accessMailbox(() => this.database.transaction(work).immediate());
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
    return accessMailbox(() => this.mail.unanchored());
  }

  /** The first messages after this id that are not pinned, in the order in which they came; none at the end. */
  unpinned(afterId: number, limit: number): PinPage {
    return accessMailbox(() => this.mail.unpinned(afterId, limit));
  }

  /** The blocks of all messages between the ends of a page, pinned ones too, some at a time: as many as `maxBytes` take, and one more. */
  *blocks(page: PinPage, maxBytes: number): Generator<Block[]> {
    yield* accessEach(this.mail.blocks(page, maxBytes));
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

  /**
   * Takes over what a replay of the chain found: messages are anchored exactly where verified anchors list them, verified ones
   * that were not known are kept, and tip and rooms are the replay's. Where an anchor's content is missing, what this mailbox
   * knows of it stays: it may be the only one who does. Own open anchors are ended: the replay accounts for them, or their
   * messages wait again.
   * @param head CIDStore's after the replay's last anchor, 32 bytes
   */
  adopt(replay: Replay, head: Uint8Array, blockOf: (cid: Cid) => Uint8Array | undefined, nowMs: number): void {
    this.transaction(() => {
      for (const room of replay.rooms) {
        for (const { cid, verdict } of replay.entries(room)) {
          if (verdict.status !== "verified" || this.mail.block(cid) !== null) continue;
          const block = blockOf(cid);
          if (block !== undefined) this.mail.add({ cid, block, envelope: decodeEnvelope(block) });
        }
      }
      // An entry that took another's place says nothing about the messages of the other.
      const last = this.anchors.lastUnmoved(replay.anchors);
      this.mail.unmarkAnchors((index) => index <= last && replay.anchors[index]?.verdict.status === "missing");
      for (const room of replay.rooms) {
        for (const { cid, anchorIndex, verdict } of replay.entries(room)) {
          if (!isWorthAnotherAnchor(verdict)) this.mail.markAnchored(anchorIndex, room, [cid]);
        }
      }
      this.anchors.endAll(replay.anchors);
      this.adoptTip(replay);
      const isSettled = replay.missing().size === 0;
      this.line.setAccounted({ count: replay.anchors.length, head, isSettled });
      this.anchors.recordLook(nowMs, isSettled);
    });
  }

  close(): void {
    this.database.close();
  }

  private adoptTip({ anchors, tip }: Replay): void {
    const known = this.line.tipAnchor();
    const anchor = known === null ? undefined : anchors[known.index];
    // Our own anchor, still where it was, whose blocks nobody gives us now.
    const isOurs = known !== null && anchor?.event.cid === known.cid && anchor.verdict.status === "missing";
    if (isOurs && (tip === null || tip.index < known.index)) return;
    if (tip === null) this.line.clear();
    else this.line.setTip(tip);
  }
}

/** Whether a message with this verdict can be verified by a later anchor: when a key of its two comes to be known (SPEC 8.4). */
function isWorthAnotherAnchor(verdict: Verdict): boolean {
  return verdict.status === "rejected" && ["KEY_UNKNOWN", "RECEIVER_KEY_UNKNOWN"].includes(verdict.code);
}

/** Ends a rehearsal's transaction without a commit. */
class Rehearsed extends Error {}
