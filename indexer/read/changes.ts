/** The index's change log, as the events that clients get. */
import type { eventSchemas } from "../../client/api/events.ts";
import type { Plain } from "../../client/api/schema.ts";
import type { Address } from "../../protocol/address.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { EventLog, EventWindow } from "../../http/live/event-log.ts";
import { changeOf, type Change, type ChangeRow } from "../store/change-log.ts";
import { readAnchorItem } from "./anchors.ts";
import { readKey } from "./keys.ts";
import { readMessageAt } from "./messages.ts";
import type { Snapshot, Snapshots } from "./snapshot.ts";

export type EventName = keyof typeof eventSchemas;
export type EventData<Name extends EventName = EventName> = Plain<(typeof eventSchemas)[Name]>;

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

/** A part of the log: what of it fits a filter, and where it ends. */
export interface ChangeWindow {
  readonly changes: readonly Change[];
  /** The position behind it. */
  readonly end: number;
  readonly hasMore: boolean;
  /** How many rows were looked at, or about that. */
  readonly lookedAt: number;
}

/** What a look at the log costs at least, in changes. */
const LOOK_COST = 10;
/** Rows that are looked at for one window. */
const WINDOW = 1_000;

export class ChangeEvents implements EventLog<ChangeFilter> {
  private readonly snapshots: Snapshots;

  constructor(snapshots: Snapshots) {
    this.snapshots = snapshots;
  }

  get name(): string {
    return this.snapshots.index.changes.name;
  }

  get end(): number {
    return this.snapshots.index.changes.end;
  }

  reaches(place: number): boolean {
    return this.snapshots.index.changes.reaches(place);
  }

  look<T>(filter: ChangeFilter, after: number, limit: number, take: (window: EventWindow) => T): T {
    return this.snapshots.read((snapshot) => {
      const { changes, end, hasMore, lookedAt } = readWindow(snapshot, filter, after, limit);
      const { finalized } = snapshot.index.log;
      return take({
        events: readEvents(snapshot, changes, filter),
        end,
        hasMore,
        cost: LOOK_COST + Math.max(changes.length, Math.ceil(lookedAt / 10)),
        height: { at: snapshot.at, finalized: finalized < 0 ? null : finalized },
      });
    });
  }
}

function* readEvents(
  snapshot: Snapshot,
  changes: readonly Change[],
  filter: ChangeFilter,
): Generator<ChangeEvent | { readonly id: number; readonly name: null }> {
  for (const change of changes) yield readChange(snapshot, change, filter) ?? { id: change.id, name: null };
}

/** At most `limit` changes behind a position; with a filter, the changes among as many rows as take about as long to read. */
export function readWindow(snapshot: Snapshot, filter: ChangeFilter, after: number, limit: number): ChangeWindow {
  const { room, wallet } = filter;
  const log = snapshot.index.changes;
  if (room === null && wallet === null) {
    const changes = log.read(after, limit);
    return {
      changes,
      end: changes.at(-1)?.id ?? after,
      hasMore: changes.length === limit,
      lookedAt: changes.length,
    };
  }
  const last = after + WINDOW;
  const { sql, values } = conditionOf(filter);
  const rows = snapshot.all<ChangeRow>(
    `SELECT c.* FROM changes AS c LEFT JOIN entries AS e
       ON c.kind = 'message' AND e.anchor_index = c.subject AND e.ordinal = c.ordinal
     WHERE c.id > ? AND c.id <= ? AND (c.kind = 'reorg' OR ${sql}) ORDER BY c.id LIMIT ?`,
    ...[after, last, ...values, limit],
  );
  const end = rows.length === limit ? (rows.at(-1)?.id ?? last) : Math.min(last, Math.max(after, log.end));
  return { changes: rows.map(changeOf), end, hasMore: end < log.end, lookedAt: end - after };
}

/** What of the log {@link readChange} would not leave out, as far as rows of other tables tell it. */
function conditionOf({ room, wallet }: ChangeFilter): { readonly sql: string; readonly values: readonly unknown[] } {
  const ofRoom = "e.room_number = (SELECT number FROM rooms WHERE id = ?)";
  const ofWallet = "e.room_number IN (SELECT number FROM room_members JOIN rooms ON rooms.id = room WHERE wallet = ?)";
  if (wallet === null) return { sql: `(${ofRoom})`, values: [room] };
  if (room !== null) return { sql: `(${ofRoom} AND ${ofWallet})`, values: [room, wallet] };
  const ownKey = "c.kind = 'key' AND (SELECT keys.wallet FROM keys WHERE key_index = c.subject) = ?";
  return { sql: `(${ofWallet} OR ${ownKey})`, values: [wallet, wallet] };
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
