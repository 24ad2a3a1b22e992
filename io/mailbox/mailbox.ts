/** What exists nowhere else until it is anchored: the messages sent from here. One SQLite file for each deployment. */
import { join } from "node:path";

import type { Database } from "better-sqlite3";
import { keccak256 } from "ethers/crypto";

import type { Address } from "../../protocol/address.ts";
import { fromHex, utf8 } from "../../protocol/bytes.ts";
import { digestOfCid, type Cid } from "../../protocol/cid.ts";
import { decodeEnvelope } from "../../protocol/envelope.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { AnchorEvent } from "../../protocol/event.ts";
import type { Tip } from "../../protocol/manifest.ts";
import type { Replay } from "../../protocol/replay.ts";
import type { Deployment, RoomId } from "../../protocol/room.ts";
import type { Delta } from "../../protocol/state.ts";
import { makeFolder } from "../durable-folder.ts";
import { openDatabase, translated } from "../database.ts";
import { Line, type AccountedLog } from "./line.ts";
import { Messages, type MailboxMessage, type NewMessage } from "./messages.ts";
import { prepareSchema } from "./schema.ts";

const FILE = "mailbox.sqlite";

/** Every method may throw MAILBOX_DAMAGED, MAILBOX_BUSY and, when it writes, MAILBOX_WRITE_FAILED. */
export class Mailbox {
  private readonly database: Database;
  private readonly mail: Messages;
  private readonly line: Line;

  private constructor(database: Database) {
    this.database = database;
    this.mail = new Messages(database);
    this.line = new Line(database);
  }

  /**
   * Opens `mailbox.sqlite` in a folder, made when it is not there.
   * @throws MAILBOX_NEWER, MAILBOX_FOREIGN, MAILBOX_DAMAGED, MAILBOX_BUSY, MAILBOX_WRITE_FAILED
   */
  static open(folder: string, deployment: Deployment): Mailbox {
    try {
      makeFolder(folder, 0o700);
    } catch (cause) {
      throw new DmtpError("MAILBOX_WRITE_FAILED", `the folder ${folder} cannot be made`, { cause });
    }
    const database = openDatabase(join(folder, FILE));
    try {
      return translated(() => {
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
    return translated(() => this.database.transaction(work).immediate());
  }

  /** The sender's highest known sequence number in the room, plus one. */
  nextSeq(room: RoomId, sender: Address): number {
    return translated(() => this.mail.nextSeq(room, sender));
  }

  /** Digests of the messages of a room that no known message of it names, ascending; of more than 16, the newest. */
  heads(room: RoomId): Uint8Array[] {
    return translated(() => this.mail.heads(room));
  }

  /** Keeps messages, in this order; what is there already is left as it is. Acknowledged means durable. */
  add(messages: readonly NewMessage[]): void {
    this.transaction(() => {
      for (const message of messages) this.mail.add(message);
    });
  }

  /** In the order in which they came. */
  unanchored(): { readonly room: RoomId; readonly cid: Cid }[] {
    return translated(() => this.mail.unanchored());
  }

  unpinned(): Cid[] {
    return translated(() => this.mail.unpinned());
  }

  markPinned(cids: Iterable<Cid>): void {
    this.transaction(() => {
      this.mail.markPinned(cids);
    });
  }

  /** In the order in which they came. */
  messages(room: RoomId): MailboxMessage[] {
    return translated(() => this.mail.inRoom(room));
  }

  message(cid: Cid): MailboxMessage | null {
    return translated(() => this.mail.get(cid));
  }

  block(cid: Cid): Uint8Array | null {
    return translated(() => this.mail.block(cid));
  }

  counts(): { readonly messages: number; readonly unanchored: number; readonly unpinned: number } {
    return translated(() => this.mail.counts());
  }

  /** What the next manifest builds on, as far as this mailbox knows. */
  tip(): Tip | null {
    return translated(() => this.line.tip());
  }

  anchorCount(): number {
    return this.accounted().count;
  }

  /** What of CIDStore has gone into this mailbox. */
  accounted(): AccountedLog {
    return translated(() => this.line.accounted());
  }

  /**
   * After our own anchor was mined: its messages are anchored, its state is the rooms', and it is the tip; unless another process
   * has meanwhile taken over what the chain says of it and of later ones.
   */
  recordAnchor(tip: Tip, delta: Delta): void {
    this.transaction(() => {
      for (const [room, cids] of delta) this.mail.markAnchored(tip.index, room, cids);
      const { count, isSettled } = this.line.accounted();
      if (tip.index < count) return;
      this.line.setTip(tip);
      this.line.setAccounted({ count: tip.index + 1, head: digestOfCid(tip.cid), isSettled });
    });
  }

  /**
   * Takes over what a replay of the chain found: messages are anchored exactly where verified anchors list them, verified ones
   * that were not known are kept, and tip and rooms are the replay's. Where an anchor's content is missing, what this mailbox
   * knows of it stays: it may be the only one who does.
   */
  adopt(replay: Replay, blockOf: (cid: Cid) => Uint8Array | undefined): void {
    this.transaction(() => {
      for (const room of replay.rooms) {
        for (const { cid, verdict } of replay.entries(room)) {
          if (verdict.status !== "verified" || this.mail.block(cid) !== null) continue;
          const block = blockOf(cid);
          if (block !== undefined) this.mail.add({ cid, block, envelope: decodeEnvelope(block) });
        }
      }
      this.mail.unmarkAnchors((index) => replay.anchors[index]?.verdict.status === "missing");
      for (const { event, delta, verdict } of replay.anchors) {
        if (verdict.status !== "verified") continue;
        for (const [room, cids] of delta ?? []) this.mail.markAnchored(event.index, room, cids);
      }
      this.adoptTip(replay);
      const isSettled = replay.missing().size === 0;
      this.line.setAccounted({ count: replay.anchors.length, head: headOf(replay.anchors.at(-1)?.event), isSettled });
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

/** CIDStore's head when this is its last entry. */
function headOf(event: AnchorEvent | undefined): Uint8Array {
  if (event === undefined) return new Uint8Array(32);
  // A text that is not UTF-8 gives another hash than the contract's: the log is then read again each time, which does no harm.
  return event.cid === null ? fromHex(keccak256(utf8(event.text))) : digestOfCid(event.cid);
}
