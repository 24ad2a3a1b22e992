/** The state of all rooms at the tip, kept as rows; from them, the state at any other verified anchor. */
import type Database from "better-sqlite3";

import { decodeBranch, encodeBranch, splitHashes } from "../../io/state-codec.ts";
import { concat, fromHex, toHex } from "../../protocol/bytes.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Tip } from "../../protocol/manifest.ts";
import type { RoomId } from "../../protocol/room.ts";
import { State } from "../../protocol/state.ts";
import type { NodeSource, RoomState, SavedBranch } from "../../protocol/state-tree.ts";
import { readMeta, writeMeta } from "./meta.ts";
import { Statements } from "./statements.ts";

interface VersionRow {
  readonly room: RoomId;
  readonly anchor_index: number;
  readonly size: number;
  readonly hashes: Uint8Array;
  readonly previous: number | null;
}

const ID_DIGITS = 64;
/** The next anchors are likely to touch the same rooms: so many times what one touched stays in memory, and no more than this. */
const KEPT_TIMES = 4;
const MAX_KEPT = 8_192;

export class StateRows implements NodeSource {
  private readonly database: Database.Database;
  private readonly statements: Statements;
  private tipIndex: number | null;
  private tipState: State;
  /** Rooms that were touched since it was read from the rows. */
  private keptRooms = 0;

  constructor(database: Database.Database) {
    this.database = database;
    this.statements = new Statements(database);
    const tip = readMeta(database, "tip");
    this.tipIndex = tip === null ? null : (JSON.parse(tip) as { anchorIndex: number }).anchorIndex;
    this.tipState = this.open(readMeta(database, "stateRoot") ?? toHex(State.EMPTY.root));
  }

  /** The anchor whose state is kept; null for the state before the first. */
  get tip(): number | null {
    return this.tipIndex;
  }

  /** The state after a verified anchor. */
  at(anchorIndex: number | null): State {
    if (anchorIndex === this.tipIndex) return this.tipState;
    const changed: RoomState[] = [];
    const removed: RoomId[] = [];
    for (const [room, index] of this.difference(anchorIndex)) {
      const state = index === null ? undefined : this.version(index, room);
      if (state === undefined) removed.push(room);
      else changed.push(state);
    }
    return this.tipState.changed(changed, removed);
  }

  /** Notes how a newly verified anchor left the rooms that it touched. */
  addVersions(anchorIndex: number, rooms: Iterable<RoomId>, before: State, after: State): void {
    const insert = this.statements.prepare("INSERT INTO room_versions VALUES (?, ?, ?, ?, ?)");
    for (const id of rooms) {
      const { range } = after.room(id) ?? lacking(id);
      insert.run(anchorIndex, id, range.size, concat(...range.hashes), before.room(id)?.lastIndex ?? null);
    }
  }

  /** Keeps the state at this tip from now on, in whatever line it is. */
  move(tip: Tip | null): void {
    const to = tip?.index ?? null;
    if (to === this.tipIndex) return;
    // Before anything is written: it may still read what was kept.
    const state = tip?.state ?? State.EMPTY;
    const rooms = Array.from(this.difference(to).keys(), (id) => ({ id, room: state.room(id) }));
    const setRoom = this.statements.prepare("UPDATE rooms SET n = ?, root = ?, last_index = ? WHERE id = ?");
    for (const { id, room } of rooms) {
      setRoom.run(room?.range.size ?? null, room && toHex(room.root), room?.lastIndex ?? null, id);
    }
    this.forgetBranches(rooms.filter(({ room }) => room === undefined).map(({ id }) => id));
    const setBranch = this.statements.prepare("INSERT OR REPLACE INTO branches VALUES (?, ?)");
    for (const node of state.unsaved()) if ("branch" in node) setBranch.run(node.prefix, encodeBranch(node.branch));
    const root = toHex(state.root);
    writeMeta(
      this.database,
      "tip",
      tip === null ? null : JSON.stringify({ anchorIndex: tip.index, cid: tip.cid, seq: tip.seq }),
    );
    writeMeta(this.database, "stateRoot", root);
    this.tipIndex = to;
    this.keptRooms += rooms.length;
    const isKept = this.keptRooms <= Math.min(MAX_KEPT, KEPT_TIMES * rooms.length);
    // Otherwise read again from the rows: what was touched would stay in memory for ever, and be written again each time.
    if (!isKept) this.keptRooms = 0;
    this.tipState = isKept ? state : this.open(root);
  }

  /** Takes out what this anchor and all behind it left; the tip has to be before it. */
  truncate(fromAnchor: number): void {
    this.statements.prepare("DELETE FROM room_versions WHERE anchor_index >= ?").run(fromAnchor);
  }

  branch(prefix: string): SavedBranch | undefined {
    const row = this.statements.prepare<{ ways: Uint8Array }>("SELECT ways FROM branches WHERE prefix = ?").get(prefix);
    return row && decodeBranch(row.ways);
  }

  room(prefix: string): RoomState | undefined {
    const row = this.statements
      .prepare<VersionRow>(
        `SELECT v.* FROM rooms CROSS JOIN room_versions AS v ON v.anchor_index = last_index AND v.room = id
         WHERE id BETWEEN ? AND ? LIMIT 1`,
      )
      .get(`0x${prefix.padEnd(ID_DIGITS, "0")}`, `0x${prefix.padEnd(ID_DIGITS, "f")}`);
    return row && stateOf(row);
  }

  refusal(prefix: string): Error {
    // No integrity error: the replay would take it for a verdict on the anchor that it was asked about.
    return new DmtpError("INTERNAL", `the state of the rooms 0x${prefix}… in the index is not what it was`, {
      hint: "Delete the index: it is rebuilt from chain and content.",
    });
  }

  /** The branches that lead to these rooms; those of them that others need too are among the unsaved. */
  private forgetBranches(rooms: readonly RoomId[]): void {
    const forget = this.statements.prepare("DELETE FROM branches WHERE prefix = ?");
    const forgotten = new Set<string>();
    for (const id of rooms) {
      for (let digits = 0; digits < ID_DIGITS; digits++) {
        const prefix = id.slice(2, 2 + digits);
        if (forgotten.has(prefix)) continue;
        if (forget.run(prefix).changes === 0) break;
        forgotten.add(prefix);
      }
    }
  }

  private open(root: string): State {
    return State.open(fromHex(root), this);
  }

  /**
   * The rooms that are others at that anchor than in the kept state, and the anchor that touched each last, null for a room that is
   * not there: walks both lines back to where they part.
   */
  private difference(to: number | null): ReadonlyMap<RoomId, number | null> {
    const left: number[] = [];
    const entered: number[] = [];
    let [a, b] = [this.tipIndex, to];
    while (a !== b) {
      if ((a ?? -1) > (b ?? -1)) a = this.baseOf(a, left);
      else b = this.baseOf(b, entered);
    }
    // Newest anchors come first, so what is found last is what stood where the lines part, and what is found first stands at the end.
    const stands = new Map<RoomId, number | null>();
    for (const index of left) for (const { room, previous } of this.versionsOf(index)) stands.set(room, previous);
    for (const index of entered.reverse()) for (const { room } of this.versionsOf(index)) stands.set(room, index);
    return stands;
  }

  private version(anchorIndex: number, room: RoomId): RoomState | undefined {
    const sql = "SELECT * FROM room_versions WHERE anchor_index = ? AND room = ?";
    const row = this.statements.prepare<VersionRow>(sql).get(anchorIndex, room);
    return row && stateOf(row);
  }

  private baseOf(index: number | null, walked: number[]): number | null {
    if (index !== null) walked.push(index);
    const sql = "SELECT base FROM anchors WHERE anchor_index = ?";
    return this.statements.prepare<{ base: number | null }>(sql).get(index)?.base ?? null;
  }

  private versionsOf(anchorIndex: number): Pick<VersionRow, "room" | "previous">[] {
    return this.statements
      .prepare<VersionRow>("SELECT room, previous FROM room_versions WHERE anchor_index = ?")
      .all(anchorIndex);
  }
}

function stateOf({ room, anchor_index, size, hashes }: VersionRow): RoomState {
  return { id: room, range: { size, hashes: splitHashes(hashes) }, lastIndex: anchor_index };
}

function lacking(id: RoomId): never {
  throw new RangeError(`the state after an anchor lacks room ${id}`);
}
