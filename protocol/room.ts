import { bytesOfAddress, type Address } from "./address.ts";
import { concat, toHex, uint64 } from "./bytes.ts";
import { primitives } from "./crypto/provider.ts";
import { label } from "./label.ts";
import { DmtpError } from "./error.ts";
import { Lru } from "./lru.ts";

declare const brand: unique symbol;

/** The conversation of two wallets in one deployment: `0x` and 64 lower-case hexadecimal digits. */
export type RoomId = `0x${string}` & { readonly [brand]: "RoomId" };

/** The contracts that a history lives in. Everything signed, sealed or hashed is bound to `chainId` and `keyRegistry`. */
export interface Deployment {
  readonly chainId: number;
  readonly cidStore: Address;
  readonly keyRegistry: Address;
}

/** Rooms whose ids are kept in mind: the same two write again and again. */
const MAX_KEPT = 4_096;
const known = new WeakMap<Deployment, Lru<string, RoomId>>();

/** Whether both are the same contracts on chains of the same id. */
export function isSameDeployment(a: Deployment, b: Deployment): boolean {
  return a.chainId === b.chainId && a.cidStore === b.cidStore && a.keyRegistry === b.keyRegistry;
}

/** SPEC 5.1: SHA-256(label "room" ‖ uint64 chain id ‖ registry ‖ lower wallet ‖ higher wallet). Symmetric. */
export function roomIdOf(deployment: Deployment, a: Address, b: Address): RoomId {
  const [low, high] = a < b ? [a, b] : [b, a];
  const rooms = known.get(deployment) ?? new Lru<string, RoomId>(MAX_KEPT);
  const pair = low + high;
  let id = rooms.get(pair);
  if (id === undefined) {
    id = hashOf(deployment, low, high);
    rooms.set(pair, id);
    known.set(deployment, rooms);
  }
  return id;
}

function hashOf(deployment: Deployment, low: Address, high: Address): RoomId {
  const hash = primitives.sha256(
    concat(
      label("room"),
      uint64(deployment.chainId),
      bytesOfAddress(deployment.keyRegistry),
      bytesOfAddress(low),
      bytesOfAddress(high),
    ),
  );
  return toHex(hash) as RoomId;
}

export function isRoomId(text: unknown): text is RoomId {
  return typeof text === "string" && /^0x[0-9a-f]{64}$/.test(text);
}

/** @throws ROOM_ID_INVALID */
export function parseRoomId(text: unknown): RoomId {
  if (!isRoomId(text)) throw new DmtpError("ROOM_ID_INVALID", "not a room id");
  return text;
}
