/** Every path of the service, but for the document that describes them (server.ts). */
import { z } from "zod";

import { DmtpError } from "../../protocol/error.ts";
import {
  addressSchema,
  anchorDetailSchema,
  anchorSchema,
  heightSchema,
  keySchema,
  messageSchema,
  pageOf,
  roomDetailSchema,
  roomSchema,
  statusSchema,
} from "../answer.ts";
import { readAnchor, readAnchors } from "../read/anchors.ts";
import { readKeys } from "../read/keys.ts";
import { readMessages, readPlacesOf } from "../read/messages.ts";
import { hasRoom, readRoom, readRooms } from "../read/rooms.ts";
import type { Slice } from "../read/snapshot.ts";
import { illness, unreadiness } from "../read/status.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import {
  cidParameter,
  cursorParameter,
  includeParameter,
  indexParameter,
  limitParameter,
  orderParameter,
  roomParameter,
  walletParameter,
} from "./parameters.ts";
import { blockRoute, jsonRoute, type Route } from "./route.ts";

/** Places in the history that one message is shown at; honest operators list each once. */
const MAX_PLACES = 100;

const roomPlace = z.tuple([z.string()]);
const indexPlace = z.tuple([z.int()]);
const messagePlace = z.tuple([z.int(), z.int()]);
const paging = { limit: limitParameter, cursor: cursorParameter };

const health = jsonRoute(
  {
    path: "/health",
    summary: "Whether the service works; restart it when it says no",
    problems: [503],
    body: z.strictObject({ status: z.literal("ok") }),
  },
  ({ follower }) => {
    const problem = illness(follower);
    if (problem !== null) throw problem;
    return { status: "ok" as const };
  },
);

const ready = jsonRoute(
  {
    path: "/ready",
    summary: "Whether the answers are current and complete",
    description:
      "503 says why not. Content that was asked for and no source has now does not make it unready: it shows as missing.",
    problems: [503],
    body: z.strictObject({ status: z.literal("ready"), at: heightSchema }),
  },
  ({ follower, fetcher, snapshots }) => {
    const problem = unreadiness(follower, fetcher);
    if (problem !== null) throw problem;
    return snapshots.read(({ at }) => ({ status: "ready" as const, at }));
  },
);

const status = jsonRoute(
  { path: "/status", summary: "Deployment, heights, counts, tip and state root", body: statusSchema },
  (service) => service.snapshots.read((snapshot) => service.status.read(snapshot)),
);

const rooms = jsonRoute(
  {
    path: "/v1/rooms",
    summary: "Rooms by ascending id, all of them or those of one wallet",
    description: "A wallet is known to be in a room once a message that names both of its wallets has been fetched.",
    query: { wallet: walletParameter.optional(), ...paging },
    body: pageOf(roomSchema),
  },
  ({ snapshots }, _, { wallet, limit, cursor }) => {
    const scope = `rooms ${wallet ?? "all"}`;
    const [after] = cursor === undefined ? [""] : decodeCursor(scope, roomPlace, cursor);
    return snapshots.read((snapshot) => {
      const slice = readRooms(snapshot, wallet ?? null, after, limit);
      return { at: snapshot.at, ...page(slice, scope, ({ id }) => [id]) };
    });
  },
);

const room = jsonRoute(
  {
    path: "/v1/rooms/{room}",
    summary: "One room: counts, root, omissions, and what it lacks",
    problems: [404],
    params: { room: roomParameter },
    body: z.strictObject({ at: heightSchema, room: roomDetailSchema }),
  },
  ({ snapshots }, params) =>
    snapshots.read((snapshot) => ({
      at: snapshot.at,
      room: readRoom(snapshot, params.room) ?? unknown("room"),
    })),
);

const messages = jsonRoute(
  {
    path: "/v1/rooms/{room}/messages",
    summary: "A room's messages in chain order, with their verdicts",
    description: "Rejected and missing messages are listed too, with the reason.",
    problems: [404],
    params: { room: roomParameter },
    query: { ...paging, order: orderParameter, include: includeParameter },
    body: pageOf(messageSchema),
  },
  ({ snapshots }, params, { limit, cursor, order, include }) => {
    const scope = `messages ${params.room} ${order}`;
    const after = cursor === undefined ? null : decodeCursor(scope, messagePlace, cursor);
    return snapshots.read((snapshot) => {
      const slice = readMessages(snapshot, { room: params.room, order, after, limit, withBlocks: include });
      if (slice.items.length === 0 && !hasRoom(snapshot, params.room)) unknown("room");
      return { at: snapshot.at, ...page(slice, scope, ({ anchorIndex, ordinal }) => [anchorIndex, ordinal]) };
    });
  },
);

const message = jsonRoute(
  {
    path: "/v1/messages/{cid}",
    summary: "One message by its CID",
    description: `The place where it counts is \`message\`; if it was listed at others, they are \`elsewhere\` (at most ${MAX_PLACES}).`,
    problems: [404],
    params: { cid: cidParameter },
    query: { include: includeParameter },
    body: z.strictObject({ at: heightSchema, message: messageSchema, elsewhere: z.array(messageSchema) }),
  },
  ({ snapshots }, { cid }, { include }) =>
    snapshots.read((snapshot) => {
      const places = readPlacesOf(snapshot, cid, MAX_PLACES + 1, include);
      const best = places.find(({ verdict }) => verdict.status === "verified") ?? places[0] ?? unknown("message");
      return { at: snapshot.at, message: best, elsewhere: places.filter((place) => place !== best) };
    }),
);

const block = blockRoute(
  {
    path: "/v1/blocks/{cid}",
    summary: "A block as it is on IPFS: envelope, manifest, shard, heads or key document",
    description: "404 for a block that the history does not name; 503 for one that it names and no source has now.",
    problems: [404, 503],
    params: { cid: cidParameter },
  },
  ({ snapshots }, { cid }) => {
    const { history } = snapshots;
    const bytes = history.block(cid);
    if (bytes !== undefined) return { cid, bytes };
    if (history.missing.has(cid)) throw new DmtpError("CONTENT_MISSING", "no content source has the block now");
    return unknown("block");
  },
);

const keys = jsonRoute(
  {
    path: "/v1/wallets/{wallet}/keys",
    summary: "A wallet's key history, tombstones included, in chain order",
    problems: [404],
    params: { wallet: walletParameter },
    query: paging,
    body: z.strictObject({
      ...pageOf(keySchema).shape,
      wallet: addressSchema,
      current: z
        .strictObject({ status: z.enum(["usable", "rejected", "revoked"]), version: z.int() })
        .describe("Its newest key"),
    }),
  },
  ({ snapshots }, { wallet }, { limit, cursor }) => {
    const scope = `keys ${wallet}`;
    const [after] = cursor === undefined ? [-1] : decodeCursor(scope, indexPlace, cursor);
    return snapshots.read((snapshot) => {
      const lookup = snapshot.history.replay.keys.current(wallet);
      if (lookup.status === "unknown") return unknown("wallet with keys");
      const slice = readKeys(snapshot, wallet, after, limit);
      return {
        at: snapshot.at,
        wallet,
        current: { status: lookup.status, version: lookup.key.event.version },
        ...page(slice, scope, ({ index }) => [index]),
      };
    });
  },
);

const anchors = jsonRoute(
  {
    path: "/v1/anchors",
    summary: "Anchors by index",
    query: { ...paging, order: orderParameter },
    body: pageOf(anchorSchema),
  },
  ({ snapshots }, _, { limit, cursor, order }) => {
    const scope = `anchors ${order}`;
    const [after] = cursor === undefined ? [null] : decodeCursor(scope, indexPlace, cursor);
    return snapshots.read((snapshot) => {
      const slice = readAnchors(snapshot, order, after, limit);
      return { at: snapshot.at, ...page(slice, scope, ({ index }) => [index]) };
    });
  },
);

const anchor = jsonRoute(
  {
    path: "/v1/anchors/{index}",
    summary: "One anchor: manifest, verdict, and what it lacks",
    problems: [404],
    params: { index: indexParameter },
    body: z.strictObject({ at: heightSchema, anchor: anchorDetailSchema }),
  },
  ({ snapshots }, { index }) =>
    snapshots.read((snapshot) => ({ at: snapshot.at, anchor: readAnchor(snapshot, index) ?? unknown("anchor") })),
);

export const ROUTES: readonly Route[] = [
  health,
  ready,
  status,
  rooms,
  room,
  messages,
  message,
  block,
  keys,
  anchors,
  anchor,
];

function page<Item>(
  { items, hasMore }: Slice<Item>,
  scope: string,
  placeOf: (item: Item) => readonly (string | number)[],
) {
  const last = items.at(-1);
  return { items, next: hasMore && last !== undefined ? encodeCursor(scope, placeOf(last)) : null };
}

/** @throws NOT_FOUND */
function unknown(what: string): never {
  throw new DmtpError("NOT_FOUND", `no such ${what} in the history as it is known here`);
}
