import type { roomDetailSchema, roomSchema, roomStateSchema } from "../../client/api/rooms.ts";
import type { Plain } from "../../client/api/schema.ts";
import type { Address } from "../../protocol/address.ts";
import { toHex } from "../../protocol/bytes.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { RootedRoom } from "../../protocol/state-tree.ts";
import { NOT_VERIFIED, OF_ROOM } from "../store/schema.ts";
import { readOmissions } from "./omissions.ts";
import type { CountsAnswer, Slice, Snapshot } from "./snapshot.ts";

type RoomAnswer = Plain<typeof roomSchema>;
type RoomStateAnswer = Plain<typeof roomStateSchema>;
type RoomDetailAnswer = Plain<typeof roomDetailSchema>;

interface RoomRow extends CountsAnswer {
  readonly number: number;
  readonly id: RoomId;
}

const MAX_NAMED = 100;

export interface RoomsQuery {
  /** Only the rooms of this one. */
  readonly wallet: Address | null;
  /** Only rooms that this anchor or a later one lists messages of. */
  readonly since: number | null;
  readonly after: string;
  readonly limit: number;
}

/** Rooms by ascending id, behind `after`. With `since`, a page may be shorter than asked for and have more behind it. */
export function readRooms(snapshot: Snapshot, { wallet, since, after, limit }: RoomsQuery): Slice<RoomAnswer> {
  const [from, id, values] =
    wallet === null
      ? ["rooms WHERE true", "id", []]
      : ["room_members JOIN rooms ON rooms.id = room WHERE wallet = ?", "room", [wallet]];
  const list = `FROM ${from} AND ${id} > ? ORDER BY ${id} LIMIT ?`;
  const { items, hasMore, lookedAt } =
    since === null
      ? snapshot.slice<RoomRow>(limit, `SELECT rooms.* ${list}`, ...values, after)
      : snapshot.sliceOfThose<RoomRow & { readonly is_new: number }>(
          limit,
          ({ is_new }) => is_new === 1,
          `SELECT rooms.*, EXISTS (SELECT 1 FROM entries WHERE room_number = number AND anchor_index >= ?) AS is_new ${list}`,
          since,
          ...values,
          after,
        );
  const [last] = lookedAt === undefined ? [] : answersOf(snapshot, [lookedAt]);
  return { items: answersOf(snapshot, items), hasMore, ...(last !== undefined && { lookedAt: last }) };
}

/** What the tip has of a room: nulls when it does not have it. Null for a room that no verified anchor lists. */
export function readRoomState(snapshot: Snapshot, id: RoomId): RoomStateAnswer | null {
  const row = snapshot.get<RoomRow>("SELECT * FROM rooms WHERE id = ?", id);
  return row === undefined ? null : stateAnswer(snapshot.index.openState().room(id));
}

/** Null for a room that no verified anchor lists. */
export function readRoom(snapshot: Snapshot, id: RoomId): RoomDetailAnswer | null {
  const row = snapshot.get<RoomRow>("SELECT * FROM rooms WHERE id = ?", id);
  const [room] = row === undefined ? [] : answersOf(snapshot, [row]);
  if (row === undefined || room === undefined) return null;
  const messages = snapshot.all<{ cid: string }>(
    `SELECT DISTINCT cid FROM entries JOIN cids ON cids.id = cid_id
     WHERE ${OF_ROOM} AND ${NOT_VERIFIED} AND status = 'missing' LIMIT ${MAX_NAMED}`,
    id,
  );
  const anchors = snapshot.all<{ anchor_index: number }>(
    `SELECT anchor_index FROM anchors WHERE status = 'missing' ORDER BY anchor_index LIMIT ${MAX_NAMED}`,
  );
  return {
    ...room,
    omissions: readOmissions(snapshot, row.number),
    lacks: { messages: messages.map(({ cid }) => cid), anchors: anchors.map((anchor) => anchor.anchor_index) },
  };
}

function answersOf(snapshot: Snapshot, rows: readonly RoomRow[]): RoomAnswer[] {
  const ids = JSON.stringify(rows.map(({ id }) => id));
  const members = Map.groupBy(
    snapshot.all<{ room: string; wallet: string }>(
      "SELECT room, wallet FROM room_members WHERE room IN (SELECT value FROM json_each(?)) ORDER BY room, wallet",
      ids,
    ),
    ({ room }) => room,
  );
  const state = snapshot.index.openState();
  return rows.map(({ id, verified, rejected, missing }) => ({
    id,
    members: (members.get(id) ?? []).map(({ wallet }) => wallet),
    counts: { verified, rejected, missing },
    ...stateAnswer(state.room(id)),
  }));
}

function stateAnswer(room: RootedRoom | undefined): RoomStateAnswer {
  return {
    n: room?.range.size ?? null,
    root: room === undefined ? null : toHex(room.root),
    lastAnchor: room?.lastIndex ?? null,
  };
}
