/** Entries of the change log as the events that clients get. */
import type { z } from "zod";

import type { Address } from "../../protocol/address.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { eventSchemas } from "../answer.ts";
import type { Change } from "../store/change-log.ts";
import { readAnchorItem } from "./anchors.ts";
import { readKey } from "./keys.ts";
import { readMessageAt } from "./messages.ts";
import type { Snapshot } from "./snapshot.ts";

export type EventName = keyof typeof eventSchemas;
export type EventData<Name extends EventName = EventName> = z.infer<(typeof eventSchemas)[Name]>;

export interface ChangeEvent {
  readonly id: number;
  readonly name: EventName;
  readonly data: EventData;
}

/** Null: everything. With a room, only its messages; with a wallet, only messages of its rooms, and its keys. Reorgs always. */
export interface ChangeFilter {
  readonly room: RoomId | null;
  readonly wallet: Address | null;
}

/** Null for a change that a newer one in the log replaces, and for one that the filter leaves out. */
export function readChange(snapshot: Snapshot, change: Change, { room, wallet }: ChangeFilter): ChangeEvent | null {
  const { id } = change;
  switch (change.kind) {
    case "reorg": {
      const { ancestor, depth, cause } = change;
      const to = ancestor === null ? null : { block: ancestor.number, hash: ancestor.hash };
      return { id, name: "reorg", data: { to, depth, cause } };
    }
    case "message": {
      const message = readMessageAt(snapshot, [change.index, change.ordinal]);
      if (message?.verdict.status !== change.status) return null;
      if (room !== null && message.room !== room) return null;
      return wallet === null || isMember(snapshot, wallet, message.room)
        ? { id, name: "message", data: message }
        : null;
    }
    case "anchor": {
      if (room !== null || wallet !== null) return null;
      const anchor = readAnchorItem(snapshot, change.index);
      return anchor?.verdict.status === change.status ? { id, name: "anchor", data: anchor } : null;
    }
    case "key": {
      if (room !== null) return null;
      const event = readKey(snapshot, change.index);
      if (event === null || (wallet !== null && event.wallet !== wallet)) return null;
      const status = event.key.kind === "revocation" ? event.key.kind : event.key.documentVerdict.status;
      return status === change.status ? { id, name: "key", data: event } : null;
    }
  }
}

function isMember(snapshot: Snapshot, wallet: Address, room: string): boolean {
  return snapshot.get("SELECT 1 FROM room_members WHERE wallet = ? AND room = ?", wallet, room) !== undefined;
}
