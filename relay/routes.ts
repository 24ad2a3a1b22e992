/** Every path of a relay, but for the document that describes them. */
import { z } from "zod";

import {
  nextSchema,
  pendingPageSchema,
  relayedAnswerSchema,
  relayEventSchemas,
  relayHealthSchema,
  relayReadySchema,
  relaySchema,
  takenSchema,
} from "../client/api/relay.ts";
import type { Streams } from "../http/live/streams.ts";
import {
  afterParameter,
  cidParameter,
  includeParameter,
  pagingParameters,
  roomParameter,
  walletParameter,
} from "../http/parameters.ts";
import { RouteMaker, type Route } from "../http/route.ts";
import type { Mailbox } from "../io/mailbox/mailbox.ts";
import type { RelayedFilter } from "../io/mailbox/relayed.ts";
import { toHex } from "../protocol/bytes.ts";
import { MAX_BLOCK_BYTES } from "../protocol/cbor.ts";
import { isCid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { Deployment } from "../protocol/room.ts";
import type { Follower } from "./follower.ts";
import { MAX_OUTSTANDING, type Intake } from "./intake.ts";
import { DAY_S, type Limit, type Limits } from "./limits.ts";
import { describeMessage, describeView, readHeight } from "./messages.ts";
import type { RelayMetrics } from "./metrics.ts";
import type { Promiser } from "./promises.ts";

/** What routes answer from. */
export interface RelayService {
  readonly deployment: Deployment;
  readonly mailbox: Mailbox;
  readonly intake: Intake;
  readonly promiser: Promiser;
  readonly follower: Follower;
  readonly streams: Streams<RelayedFilter>;
  readonly limits: Limits;
  readonly metrics: RelayMetrics;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** What the OpenAPI document says of the service. */
export const RELAY_INFO = {
  title: "DMTP relay",
  description:
    "Takes signed envelopes, keeps them until an anchor lists them, and promises by when that is. It can hide or delay a message, and " +
    "its receipts show that it did; it can read none and change none. Errors are RFC 9457 problem documents.",
};

const route = new RouteMaker<RelayService>();

const relay = route.json(
  {
    path: "/v1/relay",
    summary: "The deployment, the key that promises, and the limits",
    body: relaySchema,
    isLive: true,
  },
  ({ deployment, mailbox, promiser, limits, now }) => {
    const { chainId, cidStore, keyRegistry } = deployment;
    const { authorization } = promiser;
    return {
      deployment: { chainId, cidStore, keyRegistry },
      ...describeView(mailbox),
      now: now(),
      promise: {
        blocks: promiser.promiseBlocks,
        silence: promiser.readStanding().silence,
        key: authorization === null ? null : { ...authorization, signature: toHex(authorization.signature) },
      },
      limits: {
        maxBlockBytes: MAX_BLOCK_BYTES,
        maxOutstanding: MAX_OUTSTANDING,
        conversation: describeLimit(limits.conversation),
        senderBytes: describeLimit(limits.senderBytes),
        newReceivers: describeLimit(limits.newReceivers),
        strangers: describeLimit(limits.strangers),
        clientWrites: describeLimit(limits.clientWrites),
      },
    };
  },
);

const put = route.taking(
  {
    method: "PUT",
    path: "/v1/envelopes/{cid}",
    summary: "Bring a message: an envelope's block, named by its CID",
    description:
      "201 when it is new, 200 when it was here; the same receipt each time. Acknowledged means on the disk. 409 SEQ_TAKEN names the " +
      "next number and the heads: seal again. 409 KEY_UNKNOWN: the relay's view of the chain has no such key yet. 422 will never be taken.",
    problems: [403, 409, 413, 415, 422, 429, 503],
    statuses: [200, 201],
    params: { cid: cidParameter },
    admit: ({ intake }, client) => intake.admitClient(client),
    input: { mediaType: "application/vnd.ipld.dag-cbor", maxBytes: MAX_BLOCK_BYTES },
    body: takenSchema,
  },
  async ({ intake, follower }, { cid }, { bytes, client }) => {
    if (!follower.isCurrent) {
      throw new DmtpError(
        "CHAIN_UNREACHABLE",
        "the relay has not seen the chain for a while, and takes nothing until it does",
      );
    }
    const { isNew, message } = await intake.take(cid, bytes, client);
    return { status: isNew ? (201 as const) : (200 as const), body: { message: describeMessage(message, false) } };
  },
);

const envelope = route.json(
  {
    path: "/v1/envelopes/{cid}",
    summary: "What has become of a message",
    problems: [404],
    params: { cid: cidParameter },
    query: { include: includeParameter },
    body: relayedAnswerSchema,
  },
  ({ mailbox }, { cid }, { include }) =>
    mailbox.snapshot(() => {
      const message = mailbox.relayed.message(cid);
      if (message === null) throw new DmtpError("NOT_FOUND", "the relay has no such message");
      return { at: readHeight(mailbox), message: describeMessage(message, include) };
    }),
);

const next = route.json(
  {
    path: "/v1/rooms/{room}/next",
    summary: "The number of a sender's next message in a room, and the heads that it names as seen",
    description: "Heads are digests of the messages, pending ones too, that no other names: `seen` of the envelope.",
    params: { room: roomParameter },
    query: { sender: walletParameter, version: versionParameter() },
    body: nextSchema,
    isLive: true,
  },
  ({ mailbox }, { room }, { sender, version }) =>
    mailbox.snapshot(() => ({
      seq: mailbox.nextSeq(room, sender, version),
      heads: mailbox.heads(room).map(toHex),
    })),
);

const pendingInRoom = route.json(
  {
    path: "/v1/rooms/{room}/pending",
    summary: "The messages of a room that no anchor lists yet, oldest first, with their blocks",
    problems: [410],
    params: { room: roomParameter },
    query: pagingParameters,
    body: pendingPageSchema,
    isLive: true,
  },
  ({ mailbox }, { room }, page) => readPending(mailbox, { room, wallet: null }, page),
);

const pendingOfWallet = route.json(
  {
    path: "/v1/wallets/{wallet}/pending",
    summary: "The messages from or to a wallet that no anchor lists yet, oldest first, with their blocks",
    problems: [410],
    params: { wallet: walletParameter },
    query: pagingParameters,
    body: pendingPageSchema,
    isLive: true,
  },
  ({ mailbox }, { wallet }, page) => readPending(mailbox, { room: null, wallet }, page),
);

const live = route.stream(
  {
    path: "/v1/live",
    summary: "Live updates, as server-sent events",
    description:
      "`message` carries a message as it is now, whenever its state is another: pending (with its block), anchored, rejected, and pending " +
      "again after a reorg. `height` says how far the chain was read and what is final; `reset` that the place to go on from is not " +
      "known here. With the id of the last event (the header Last-Event-ID, or `after`) what came since is sent first.",
    problems: [503],
    events: relayEventSchemas,
    query: {
      room: roomParameter.optional(),
      wallet: walletParameter.optional(),
      after: afterParameter,
    },
  },
  ({ streams }, { room = null, wallet = null, after = null }, { response, lastEventId }) =>
    streams.attach(response, { room, wallet }, lastEventId ?? after),
);

const health = route.json(
  {
    path: "/health",
    summary: "Whether the service works; restart it when it says no",
    body: relayHealthSchema,
    isLive: true,
  },
  () => ({ status: "ok" as const }),
);

const ready = route.json(
  {
    path: "/ready",
    summary: "Whether messages are taken, and promises given",
    problems: [503],
    body: relayReadySchema,
    isLive: true,
  },
  ({ follower, promiser }) => {
    if (!follower.isCurrent) throw follower.problem ?? new DmtpError("CHAIN_UNREACHABLE", "the chain was not read yet");
    return { status: "ready" as const, promises: promiser.readStanding().silence === null };
  },
);

const metrics = route.metrics(
  { path: "/metrics", summary: "What Prometheus collects", isLive: true },
  ({ metrics: own }) => own.read(),
);

export const RELAY_ROUTES: readonly Route<RelayService>[] = [
  relay,
  put,
  envelope,
  next,
  pendingInRoom,
  pendingOfWallet,
  live,
  health,
  ready,
  metrics,
];

function versionParameter() {
  return z
    .string()
    .regex(/^[1-9][0-9]{0,14}$/, "not a key version")
    .meta({ description: "The sender's key version: each counts its own messages" })
    .transform(Number);
}

function describeLimit({ size, perSecond }: Limit): { size: number; perDay: number } {
  return { size, perDay: Math.round(perSecond * DAY_S) };
}

function readPending(
  mailbox: Mailbox,
  filter: RelayedFilter,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
) {
  if (cursor !== undefined && !isCid(cursor))
    throw new DmtpError("PARAMETER_INVALID", "cursor: not one that a page gave");
  return mailbox.snapshot(() => {
    const found = mailbox.relayed.pending(filter, cursor ?? null, limit + 1);
    const items = found.slice(0, limit);
    const last = found.length > limit ? items.at(-1) : undefined;
    return {
      at: readHeight(mailbox),
      items: items.map((message) => describeMessage(message, true)),
      next: last?.cid ?? null,
    };
  });
}
