/** Every path of the service, but for the documents that describe it (server.ts). */
import { anchor, anchors, keys } from "./chain-routes.ts";
import { events } from "./event-routes.ts";
import { block, message } from "./message-routes.ts";
import { messages, room, rooms } from "./room-routes.ts";
import type { Route } from "../../http/route.ts";
import type { Service } from "./route.ts";
import { health, metrics, ready, status } from "./service-routes.ts";

/** What the OpenAPI document says of the service. */
export const INFO = {
  title: "DMTP indexer",
  description:
    "Verified histories of DMTP rooms. Everything served can be rebuilt and checked from one RPC endpoint and IPFS; this " +
    "service is a convenience that nobody has to trust. Errors are RFC 9457 problem documents.",
};

export const ROUTES: readonly Route<Service>[] = [
  health,
  ready,
  status,
  metrics,
  rooms,
  room,
  messages,
  message,
  block,
  keys,
  anchors,
  anchor,
  events,
];
