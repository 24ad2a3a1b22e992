/** What stands on the chain: keys and anchors. */
import { z } from "zod";

import { anchorAnswerSchema, anchorsPageSchema, keysPageSchema } from "../../client/api/chain.ts";
import { isSettled, readAnchor, readAnchors } from "../read/anchors.ts";
import { readKeys } from "../read/keys.ts";
import { Lasting } from "../../http/route.ts";
import { openCursor, pageFrom } from "./page.ts";
import {
  indexParameter,
  orderParameter,
  pagingParameters,
  roomParameter,
  sinceParameter,
  verdictParameter,
  walletParameter,
} from "../../http/parameters.ts";
import { route, unknown } from "./route.ts";

const indexPlace = z.tuple([z.int()]);

export const keys = route.json(
  {
    path: "/v1/wallets/{wallet}/keys",
    summary: "A wallet's key history, tombstones included, in chain order",
    problems: [404, 410, 503],
    params: { wallet: walletParameter },
    query: pagingParameters,
    body: keysPageSchema,
  },
  ({ snapshots }, { wallet }, { limit, cursor: text }) =>
    snapshots.read((snapshot) => {
      const current = snapshot.index.findCurrentKey(wallet) ?? unknown("wallet with keys");
      const list = { scope: `keys ${wallet}`, place: indexPlace, contract: "keys" as const };
      const cursor = openCursor(snapshot, list, text);
      const slice = readKeys(snapshot, wallet, cursor?.place[0] ?? -1, limit);
      const page = pageFrom(
        snapshot,
        list,
        cursor,
        slice,
        ({ index }) => [index],
        (key) => key,
      );
      return { ...page, wallet, current };
    }),
);

export const anchors = route.json(
  {
    path: "/v1/anchors",
    summary: "Anchors by index, all of them or those that list messages of one room",
    problems: [410, 503],
    query: {
      ...pagingParameters,
      order: orderParameter,
      since: sinceParameter,
      verdict: verdictParameter,
      room: roomParameter.optional(),
    },
    body: anchorsPageSchema,
  },
  ({ snapshots }, _, { limit, cursor: text, order, since = null, verdict = null, room = null }) =>
    snapshots.read((snapshot) => {
      const scope = `anchors ${order} ${since ?? "all"} ${verdict ?? "all"} ${room ?? "all"}`;
      const list = { scope, place: indexPlace, contract: "anchors" as const };
      const cursor = openCursor(snapshot, list, text);
      const after = cursor?.place[0] ?? null;
      const slice = readAnchors(snapshot, { order, after, since, verdict, room, limit });
      return pageFrom(
        snapshot,
        list,
        cursor,
        slice,
        ({ index }) => [index],
        (anchor) => anchor,
      );
    }),
);

export const anchor = route.json(
  {
    path: "/v1/anchors/{index}",
    summary: "One anchor: manifest, verdict, and what it lacks",
    description:
      "What can never change any more is answered as of the anchor's own block, with the same bytes for ever: `Cache-Control` " +
      "says so.",
    problems: [404],
    params: { index: indexParameter },
    body: anchorAnswerSchema,
  },
  ({ snapshots }, { index }) =>
    snapshots.read((snapshot) => {
      const anchor = readAnchor(snapshot, index) ?? unknown("anchor");
      if (!isSettled(snapshot, anchor)) return { at: snapshot.at, anchor };
      return new Lasting({ at: { block: anchor.blockNumber, hash: anchor.blockHash }, anchor });
    }),
);
