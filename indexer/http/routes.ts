/** Every path of the service, but for the documents that describe it (server.ts). */
import { anchor, anchors, keys } from "./chain-routes.ts";
import { events } from "./event-routes.ts";
import { block, message } from "./message-routes.ts";
import { messages, room, rooms } from "./room-routes.ts";
import type { Route } from "./route.ts";
import { health, metrics, ready, status } from "./service-routes.ts";

export const ROUTES: readonly Route[] = [
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
