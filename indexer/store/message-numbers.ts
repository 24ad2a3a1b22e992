/**
 * The numbers by which entries name their messages, and, of the messages that were met last, where they stand: most are listed once,
 * and their one entry need not be looked up again when its block comes.
 */
import type Database from "better-sqlite3";

import type { Cid } from "../../protocol/cid.ts";
import { Lru } from "../../protocol/lru.ts";
import type { PlacedEntry } from "../../protocol/replay/store.ts";
import { CidRows } from "./cid-rows.ts";
import type { Status } from "./verdict-columns.ts";

/** A message as it is remembered. */
export interface NumberedMessage {
  readonly id: number;
  /** `none`: it has no entry. `one`: `entry` is its only one. `unknown`: the rows have to be asked. */
  places: "none" | "one" | "unknown";
  entry: PlacedEntry | null;
  status: Status | null;
  /** Whether a message may name it as seen (omission-rows.ts). */
  mayBeNamed: boolean;
}

/** About 300 bytes each. */
const REMEMBERED_MESSAGES = 32_768;

export class MessageNumbers {
  private readonly cids: CidRows;
  private readonly messages = new Lru<Cid, NumberedMessage>(REMEMBERED_MESSAGES);

  constructor(database: Database.Database) {
    this.cids = new CidRows(database);
  }

  /** Undefined where it is not remembered. */
  find(cid: Cid): NumberedMessage | undefined {
    return this.messages.get(cid);
  }

  get(cid: Cid): NumberedMessage {
    const known = this.messages.get(cid);
    if (known !== undefined) return known;
    const { id, isNew } = this.cids.add(cid);
    const message: NumberedMessage = {
      id,
      places: isNew ? "none" : "unknown",
      entry: null,
      status: null,
      mayBeNamed: !isNew,
    };
    this.messages.set(cid, message);
    return message;
  }

  /** Notes a new entry, or what became of one. */
  note(message: NumberedMessage, entry: PlacedEntry | null, status: Status, isNew: boolean): void {
    if (!isNew) {
      if (message.places === "one") message.status = status;
    } else if (message.places === "none") {
      message.places = "one";
      message.entry = entry;
      message.status = status;
    } else {
      message.places = "unknown";
      message.entry = null;
      message.status = null;
    }
  }
}
