/** The nodes of the rooms' state tree (SPEC 7.4) in two tables, so that an anchor reads and writes only the paths that it touches. */
import type { Database, Statement } from "better-sqlite3";

import { concat, equal } from "../../protocol/bytes.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { primitives } from "../../protocol/crypto/provider.ts";
import { isRoomId, type RoomId } from "../../protocol/room.ts";
import type { RoomState, SavedBranch, SavedNode } from "../../protocol/state-tree.ts";
import { decodeBranch, encodeBranch, splitHashes } from "../state-codec.ts";

interface RoomRow {
  readonly room: RoomId;
  readonly size: number;
  readonly hashes: Uint8Array;
  readonly lastIndex: number;
  readonly checksum: Uint8Array;
}

const ID_DIGITS = 64;

/** Prepared statements over the tables of schema.ts; transactions and errors are the mailbox's. */
export class Rooms {
  private readonly getBranch: Statement<[string]>;
  private readonly getRoom: Statement<[string, string], RoomRow>;
  private readonly setBranch: Statement<[string, Uint8Array]>;
  private readonly setRoom: Statement<[RoomId, number, Uint8Array, number, Uint8Array]>;
  private readonly deleteBranches: Statement<[]>;
  private readonly deleteRooms: Statement<[]>;

  constructor(database: Database) {
    this.getBranch = database.prepare<[string]>("SELECT ways FROM branches WHERE prefix = ?").pluck();
    this.getRoom = database.prepare(
      "SELECT room, size, hashes, last_index AS lastIndex, checksum FROM rooms WHERE room BETWEEN ? AND ? LIMIT 1",
    );
    this.setBranch = database.prepare(
      "INSERT INTO branches VALUES (?, ?) ON CONFLICT (prefix) DO UPDATE SET ways = excluded.ways",
    );
    this.setRoom = database.prepare(
      "INSERT OR REPLACE INTO rooms (room, size, hashes, last_index, checksum) VALUES (?, ?, ?, ?, ?)",
    );
    this.deleteBranches = database.prepare("DELETE FROM branches");
    this.deleteRooms = database.prepare("DELETE FROM rooms");
  }

  /** Unproved; undefined where there is none, or nothing that could be one. */
  branch(prefix: string): SavedBranch | undefined {
    const ways = this.getBranch.get(prefix);
    return ways instanceof Uint8Array ? decodeBranch(ways) : undefined;
  }

  /** As {@link branch}. */
  room(prefix: string): RoomState | undefined {
    const row = this.getRoom.get(`0x${prefix.padEnd(ID_DIGITS, "0")}`, `0x${prefix.padEnd(ID_DIGITS, "f")}`);
    return row && roomOf(row);
  }

  save(nodes: Iterable<SavedNode>): void {
    for (const node of nodes) {
      if ("room" in node) {
        const { id, range, lastIndex } = node.room;
        this.setRoom.run(id, range.size, concat(...range.hashes), lastIndex, checksumOfRoom(node.room));
      } else {
        this.setBranch.run(node.prefix, encodeBranch(node.branch));
      }
    }
  }

  clear(): void {
    this.deleteBranches.run();
    this.deleteRooms.run();
  }
}

/**
 * SHA-256 over the row. The state root covers all of it but the last index, which goes into the heads of the next anchor: a wrong
 * one would have that anchor rejected.
 */
export function checksumOfRoom({ id, range, lastIndex }: RoomState): Uint8Array {
  return primitives.sha256(encode([id, range.size, range.hashes, lastIndex]));
}

/** Undefined for a row that {@link Rooms.save} did not write: a damaged file can give values of any type. */
function roomOf({ room, size, hashes, lastIndex, checksum }: RoomRow): RoomState | undefined {
  if (!isRoomId(room) || !isCount(size) || !isCount(lastIndex)) return undefined;
  if (!(hashes instanceof Uint8Array) || !(checksum instanceof Uint8Array)) return undefined;
  const state: RoomState = { id: room, range: { size, hashes: splitHashes(hashes) }, lastIndex };
  return equal(checksumOfRoom(state), checksum) ? state : undefined;
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
