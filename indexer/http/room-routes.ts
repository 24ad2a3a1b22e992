/** Rooms, and what was said in them. */
import { z } from "zod";

import { messagesPageSchema, roomAnswerSchema, roomsPageSchema } from "../../client/api/rooms.ts";
import { readMessages } from "../read/messages.ts";
import { readRoom, readRooms, readRoomState } from "../read/rooms.ts";
import { openCursor, pageFrom } from "./page.ts";
import {
  includeParameter,
  orderParameter,
  pagingParameters,
  roomParameter,
  sinceParameter,
  verdictParameter,
  walletParameter,
} from "../../http/parameters.ts";
import { route, unknown } from "./route.ts";

const roomPlace = z.tuple([z.string()]);
const messagePlace = z.tuple([z.int(), z.int()]);

export const rooms = route.json(
  {
    path: "/v1/rooms",
    summary: "Rooms by ascending id, all of them or those of one wallet",
    description:
      "A wallet is known to be in a room once a message that names both of its wallets has been fetched. With `since`, a page " +
      "may be shorter than `limit` and still have a `next`.",
    problems: [410, 503],
    query: { wallet: walletParameter.optional(), since: sinceParameter, ...pagingParameters },
    body: roomsPageSchema,
  },
  ({ snapshots }, _, { wallet = null, since = null, limit, cursor: text }) =>
    snapshots.read((snapshot) => {
      const scope = `rooms ${wallet ?? "all"} ${since ?? "all"}`;
      const list = { scope, place: roomPlace, contract: "anchors" as const };
      const cursor = openCursor(snapshot, list, text);
      const slice = readRooms(snapshot, { wallet, since, after: cursor?.place[0] ?? "", limit });
      // A room is the sum of all anchors so far.
      const newest = snapshot.event("anchors", "newest") ?? { index: -1, blockNumber: -1, blockHash: "" };
      return pageFrom(
        snapshot,
        list,
        cursor,
        slice,
        ({ id }) => [id],
        () => newest,
      );
    }),
);

export const room = route.json(
  {
    path: "/v1/rooms/{room}",
    summary: "One room: counts, root, omissions, and what it lacks",
    problems: [404],
    params: { room: roomParameter },
    body: roomAnswerSchema,
  },
  ({ snapshots }, params) =>
    snapshots.read((snapshot) => ({
      at: snapshot.at,
      room: readRoom(snapshot, params.room) ?? unknown("room"),
    })),
);

export const messages = route.json(
  {
    path: "/v1/rooms/{room}/messages",
    summary: "A room's messages in chain order, with their verdicts",
    description:
      "Rejected and missing messages are listed too, with the reason. `room` is what the tip has of the room at the same " +
      "height. With `include=block`, a page ends early when its blocks are large. With `verdict`, a page may be shorter than " +
      "`limit` and still have a `next`.",
    problems: [404, 410, 503],
    params: { room: roomParameter },
    query: {
      ...pagingParameters,
      order: orderParameter,
      since: sinceParameter,
      verdict: verdictParameter,
      include: includeParameter,
    },
    body: messagesPageSchema,
  },
  ({ snapshots }, { room }, { limit, cursor: text, order, since = null, verdict = null, include }) =>
    snapshots.read((snapshot) => {
      const state = readRoomState(snapshot, room) ?? unknown("room");
      const scope = `messages ${room} ${order} ${since ?? "all"} ${verdict ?? "all"}`;
      const list = { scope, place: messagePlace, contract: "anchors" as const };
      const cursor = openCursor(snapshot, list, text);
      const after = cursor?.place ?? null;
      const slice = readMessages(snapshot, { room, order, after, since, verdict, limit, withBlocks: include });
      const page = pageFrom(
        snapshot,
        list,
        cursor,
        slice,
        ({ anchorIndex, ordinal }) => [anchorIndex, ordinal],
        ({ anchorIndex, blockNumber, blockHash }) => ({ index: anchorIndex, blockNumber, blockHash }),
      );
      return { ...page, room: state };
    }),
);
