/** The line of manifests as the mailbox knows it: its tip, the rooms' state there, and how much of the chain went into it. */
import type { Database, Statement } from "better-sqlite3";

import { concat } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Tip } from "../../protocol/manifest.ts";
import type { RoomId } from "../../protocol/room.ts";
import { State, type RoomState } from "../../protocol/state.ts";

/** What of CIDStore the mailbox has accounted for. */
export interface AccountedLog {
  /** Entries. */
  readonly count: number;
  /** CIDStore's head after them, 32 bytes; zero when there are none. */
  readonly head: Uint8Array;
  /** Whether everything that they name could be read: if not, the next look may find more. */
  readonly isSettled: boolean;
}

interface RoomRow {
  readonly room: RoomId;
  readonly size: number;
  readonly hashes: Uint8Array;
  readonly lastIndex: number;
}

const HASH_BYTES = 32;
const EMPTY_LOG: AccountedLog = { count: 0, head: new Uint8Array(HASH_BYTES), isSettled: true };

export class Line {
  private readonly getMeta: Statement<[string]>;
  private readonly setMeta: Statement<[string, unknown]>;
  private readonly deleteTip: Statement<[]>;
  private readonly allRooms: Statement<[], RoomRow>;
  private readonly deleteRooms: Statement<[]>;
  private readonly setRoom: Statement<[RoomId, number, Uint8Array, number]>;

  constructor(database: Database) {
    this.getMeta = database.prepare<[string]>("SELECT value FROM meta WHERE name = ?").pluck();
    this.setMeta = database.prepare(
      "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    );
    this.deleteTip = database.prepare(
      "DELETE FROM meta WHERE name IN ('tip_index', 'tip_cid', 'tip_seq', 'tip_state')",
    );
    this.allRooms = database.prepare("SELECT room, size, hashes, last_index AS lastIndex FROM rooms ORDER BY room");
    this.deleteRooms = database.prepare("DELETE FROM rooms");
    this.setRoom = database.prepare("INSERT OR REPLACE INTO rooms VALUES (?, ?, ?, ?)");
  }

  /** Which anchor the tip is; what a replay needs to put a damaged line right. */
  tipAnchor(): Pick<Tip, "index" | "cid"> | null {
    const index = this.getMeta.get("tip_index");
    return index === undefined ? null : { index: index as number, cid: this.getMeta.get("tip_cid") as Cid };
  }

  /** @throws MAILBOX_DAMAGED when the rooms do not give the state that was recorded */
  tip(): Tip | null {
    const anchor = this.tipAnchor();
    if (anchor === null) return null;
    const state = State.of(this.allRooms.all().map(roomOf));
    const recorded = this.getMeta.get("tip_state");
    if (!(recorded instanceof Uint8Array) || !Buffer.from(state.root).equals(recorded)) {
      throw new DmtpError("MAILBOX_DAMAGED", "the mailbox: the rooms do not give the recorded state root");
    }
    return {
      ...anchor,
      seq: this.getMeta.get("tip_seq") as number,
      state,
    };
  }

  /** Stores a tip with these of its rooms, which are all that differ from what is stored. */
  setTip(tip: Tip, rooms: Iterable<RoomState>): void {
    this.setMeta.run("tip_index", tip.index);
    this.setMeta.run("tip_cid", tip.cid);
    this.setMeta.run("tip_seq", tip.seq);
    this.setMeta.run("tip_state", tip.state.root);
    for (const { id, range, lastIndex } of rooms) this.setRoom.run(id, range.size, concat(...range.hashes), lastIndex);
  }

  /** Forgets the tip and every room. */
  clear(): void {
    this.deleteTip.run();
    this.deleteRooms.run();
  }

  accounted(): AccountedLog {
    const count = this.getMeta.get("anchor_count");
    const head = this.getMeta.get("anchor_head");
    if (typeof count !== "number" || !(head instanceof Uint8Array)) return EMPTY_LOG;
    return { count, head: new Uint8Array(head), isSettled: this.getMeta.get("is_settled") === 1 };
  }

  setAccounted({ count, head, isSettled }: AccountedLog): void {
    this.setMeta.run("anchor_count", count);
    this.setMeta.run("anchor_head", head);
    this.setMeta.run("is_settled", isSettled ? 1 : 0);
  }
}

function roomOf({ room, size, hashes, lastIndex }: RoomRow): RoomState {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < hashes.length; at += HASH_BYTES)
    parts.push(Uint8Array.from(hashes.subarray(at, at + HASH_BYTES)));
  return { id: room, range: { size, hashes: parts }, lastIndex };
}
