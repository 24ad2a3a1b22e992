import type { z } from "zod";

import type { Address } from "../../protocol/address.ts";
import { cidOfDigest } from "../../protocol/cid.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { roomDetailSchema, roomSchema } from "../answer.ts";
import { countsByOwner, countsOf, type Slice, type Snapshot } from "./snapshot.ts";

type RoomAnswer = z.infer<typeof roomSchema>;
type RoomDetailAnswer = z.infer<typeof roomDetailSchema>;

interface RoomRow {
  readonly id: RoomId;
  readonly n: number | null;
  readonly root: string | null;
  readonly last_index: number | null;
}

const MAX_NAMED = 100;

/** Rooms by ascending id, behind `after`; those of one wallet when it is given. */
export function readRooms(snapshot: Snapshot, wallet: Address | null, after: string, limit: number): Slice<RoomAnswer> {
  const { items, hasMore } =
    wallet === null
      ? snapshot.slice<RoomRow>(limit, "SELECT * FROM rooms WHERE id > ? ORDER BY id LIMIT ?", after)
      : snapshot.slice<RoomRow>(
          limit,
          `SELECT rooms.* FROM room_members JOIN rooms ON rooms.id = room
           WHERE wallet = ? AND room > ? ORDER BY room LIMIT ?`,
          wallet,
          after,
        );
  return { items: answersOf(snapshot, items), hasMore };
}

/** Null for a room that no verified anchor lists. */
export function readRoom(snapshot: Snapshot, id: RoomId): RoomDetailAnswer | null {
  const row = snapshot.get<RoomRow>("SELECT * FROM rooms WHERE id = ?", id);
  const [room] = row === undefined ? [] : answersOf(snapshot, [row]);
  if (room === undefined) return null;
  const { gaps, forks, unseen } = snapshot.history.omissions(id);
  const named = (list: readonly { sender: string; seq: number }[]) => list.map(({ sender, seq }) => ({ sender, seq }));
  const messages = snapshot.all<{ cid: string }>(
    `SELECT DISTINCT cid FROM entries WHERE room = ? AND status = 'missing' LIMIT ${MAX_NAMED}`,
    id,
  );
  const anchors = snapshot.all<{ anchor_index: number }>(
    `SELECT anchor_index FROM anchors WHERE status = 'missing' ORDER BY anchor_index LIMIT ${MAX_NAMED}`,
  );
  return {
    ...room,
    omissions: { gaps: named(gaps), forks: named(forks), unseen: unseen.map(cidOfDigest) },
    lacks: { messages: messages.map(({ cid }) => cid), anchors: anchors.map((anchor) => anchor.anchor_index) },
  };
}

export function hasRoom(snapshot: Snapshot, id: RoomId): boolean {
  return snapshot.get("SELECT 1 FROM rooms WHERE id = ?", id) !== undefined;
}

function answersOf(snapshot: Snapshot, rows: readonly RoomRow[]): RoomAnswer[] {
  const ids = JSON.stringify(rows.map(({ id }) => id));
  const counts = countsByOwner(
    snapshot.all<{ owner: string; status: string; n: number }>(
      `SELECT room AS owner, status, count(*) AS n FROM entries
       WHERE room IN (SELECT value FROM json_each(?)) GROUP BY room, status`,
      ids,
    ),
  );
  const members = Map.groupBy(
    snapshot.all<{ room: string; wallet: string }>(
      "SELECT room, wallet FROM room_members WHERE room IN (SELECT value FROM json_each(?)) ORDER BY room, wallet",
      ids,
    ),
    ({ room }) => room,
  );
  return rows.map(({ id, n, root, last_index }) => ({
    id,
    members: (members.get(id) ?? []).map(({ wallet }) => wallet),
    counts: counts.get(id) ?? countsOf([]),
    n,
    root,
    lastAnchor: last_index,
  }));
}
