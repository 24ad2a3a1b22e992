/** Live updates. */
import { eventSchemas } from "../../client/api/events.ts";
import { afterParameter, roomParameter, walletParameter } from "../../http/parameters.ts";
import { route } from "./route.ts";

export const events = route.stream(
  {
    path: "/v1/events",
    summary: "Live updates, as server-sent events",
    description:
      "`message`, `anchor` and `key` carry the item as it is now (what an anchor counts follows from its messages), `reorg` says what was taken back, `height` that everything up " +
      "to a block has been sent, `reset` that the position is not known and the lists have to be read again. The data are " +
      "described by the schemas Message, Anchor, WalletKey, Reorg, HeightEvent and Reset. With the id of the last event " +
      "(the header Last-Event-ID, or `after`) what came since is sent first, each item once and in its newest state; without it, " +
      "only what is new. An id is good across restarts. To miss nothing: listen first, then read the lists.",
    problems: [503],
    events: eventSchemas,
    query: {
      room: roomParameter.optional(),
      wallet: walletParameter.optional(),
      after: afterParameter,
    },
  },
  ({ streams }, { room = null, wallet = null, after = null }, { response, lastEventId }) =>
    streams.attach(response, { room, wallet }, lastEventId ?? after),
);
