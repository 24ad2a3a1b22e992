/** The nodes of the rooms' state tree (SPEC 7.4) in two tables, so that an anchor reads and writes only the paths that it touches. */
import type { Database, Statement } from "better-sqlite3";

import { concat, equal } from "../../protocol/bytes.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { primitives } from "../../protocol/crypto/provider.ts";
import { isRoomId, type RoomId } from "../../protocol/room.ts";
import type { RoomState, StateNode } from "../../protocol/state-tree.ts";

interface RoomRow {
  readonly room: RoomId;
  readonly size: number;
  readonly hashes: Uint8Array;
  readonly lastIndex: number;
  readonly checksum: Uint8Array;
}

const HASH_BYTES = 32;
const ID_BITS = 256;

/** Prepared statements over the tables of schema.ts; transactions and errors are the mailbox's. */
export class Rooms {
  private readonly getBranch: Statement<[string]>;
  private readonly getRoom: Statement<[string, string], RoomRow>;
  private readonly setBranch: Statement<[string, Uint8Array]>;
  private readonly setRoom: Statement<[RoomId, number, Uint8Array, number, Uint8Array]>;
  private readonly deleteBranches: Statement<[]>;
  private readonly deleteRooms: Statement<[]>;

  constructor(database: Database) {
    this.getBranch = database.prepare<[string]>("SELECT children FROM branches WHERE prefix = ?").pluck();
    this.getRoom = database.prepare(
      "SELECT room, size, hashes, last_index AS lastIndex, checksum FROM rooms WHERE room BETWEEN ? AND ? LIMIT 1",
    );
    this.setBranch = database.prepare(
      "INSERT INTO branches VALUES (?, ?) ON CONFLICT (prefix) DO UPDATE SET children = excluded.children",
    );
    this.setRoom = database.prepare(
      "INSERT OR REPLACE INTO rooms (room, size, hashes, last_index, checksum) VALUES (?, ?, ?, ?, ?)",
    );
    this.deleteBranches = database.prepare("DELETE FROM branches");
    this.deleteRooms = database.prepare("DELETE FROM rooms");
  }

  /** The node under these bits, unproved; undefined where there is none, or nothing that could be one. */
  node(prefix: string): StateNode | undefined {
    const children = this.getBranch.get(prefix);
    if (children !== undefined) {
      if (!(children instanceof Uint8Array) || children.length !== 2 * HASH_BYTES) return undefined;
      const [left, right] = splitHashes(children) as [Uint8Array, Uint8Array];
      return { left, right };
    }
    const row = this.getRoom.get(boundary(prefix, "0"), boundary(prefix, "1"));
    const room = row && roomOf(row);
    return room && { room };
  }

  save(nodes: Iterable<{ readonly prefix: string; readonly node: StateNode }>): void {
    for (const { prefix, node } of nodes) {
      if ("room" in node) {
        const { id, range, lastIndex } = node.room;
        this.setRoom.run(id, range.size, concat(...range.hashes), lastIndex, checksumOfRoom(node.room));
      } else {
        this.setBranch.run(prefix, concat(node.left, node.right));
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

/** The 32-byte hashes that lie one after the other. */
export function splitHashes(hashes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < hashes.length; at += HASH_BYTES)
    parts.push(Uint8Array.from(hashes.subarray(at, at + HASH_BYTES)));
  return parts;
}

/** The first or last room id that begins with these bits. */
function boundary(prefix: string, fill: "0" | "1"): string {
  const digits = Math.ceil(prefix.length / 4);
  const head = prefix.padEnd(4 * digits, fill).replace(/.{4}/g, (bits) => Number.parseInt(bits, 2).toString(16));
  return `0x${head.padEnd(ID_BITS / 4, fill === "0" ? "0" : "f")}`;
}
