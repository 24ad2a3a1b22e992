/**
 * A room's history, checked instead of believed: blocks by their hashes, manifests, shards and heads against each other, the
 * room's root, the keys' bindings, the messages' signatures. Whatever of the indexer's answers contradicts them is refused.
 */
import { toHex } from "../protocol/bytes.ts";
import type { Cid } from "../protocol/cid.ts";
import { envelopeIn } from "../protocol/envelope.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { rootOf } from "../protocol/merkle.ts";
import { findOmissions } from "../protocol/omissions.ts";
import { Replay } from "../protocol/replay/replay.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import type { Verdict } from "../protocol/verdict.ts";
import type { AnchorAnswer } from "./api/chain.ts";
import type { RoomState } from "./api/rooms.ts";
import type { VerdictAnswer } from "./api/values.ts";
import type { IndexerClient, ListedMessage } from "./indexer.ts";
import { followHeads } from "./room-line.ts";
import { untrue, type Blocks, type RoomClaims, type RoomFinding, type VerifiedRoom } from "./room-report.ts";

/** The most bytes of blocks that are held at once: a room of about a million messages has as many. */
const MAX_BYTES = 512 * 1024 * 1024;
/** New data may come in between two answers, or a reorg; three times in a row they do not. */
const ATTEMPTS = 3;

/**
 * @example
 * const { messages, believed } = await verifyRoom(new IndexerClient(url), deployment, room);
 * for (const { cid, verdict, binding, accounted } of messages) console.log(cid, verdict.status, binding, accounted);
 *
 * @param deployment as the caller knows it; what the indexer says of itself is not asked
 * @param events the chain's, in chain order, from an RPC that the caller trusts: then the whole history is replayed, as an
 *   indexer does it, with the blocks that this one has, and nothing is left to believe. It costs the shards of all rooms.
 * @param maxBytes of the room's blocks; an indexer that gives more is not listened to any longer
 * @throws ANSWER_UNTRUE, BLOCK_HASH_MISMATCH, NOT_FOUND, INDEXER_UNREACHABLE, ANSWER_MALFORMED
 */
export async function verifyRoom(
  indexer: IndexerClient,
  deployment: Deployment,
  room: RoomId,
  events: readonly ChainEvent[] | null = null,
  maxBytes = MAX_BYTES,
): Promise<VerifiedRoom> {
  for (let attempt = 1; ; attempt++) {
    try {
      const claims = await readClaims(indexer, room, maxBytes);
      const blocks = blocksOf(indexer, claims.messages);
      const found =
        events === null
          ? await followHeads(indexer, deployment, room, claims, blocks)
          : await replayAll(deployment, room, events, blocks);
      compare(claims, found, events !== null);
      const entries = found.messages.map(({ envelope, ...entry }) => ({ ...entry, message: envelope }));
      return { ...found, omissions: findOmissions(entries) };
    } catch (error) {
      const mayPass = error instanceof DmtpError && ["ANSWER_UNTRUE", "CURSOR_ORPHANED"].includes(error.code);
      if (!mayPass || attempt === ATTEMPTS) throw error;
    }
  }
}

/** @throws ANSWER_MALFORMED for lists that do not go on in the order of the history, or are larger than `maxBytes` */
async function readClaims(indexer: IndexerClient, room: RoomId, maxBytes: number): Promise<RoomClaims> {
  const anchors: AnchorAnswer[] = [];
  for await (const anchor of indexer.anchors({ room, limit: 200 })) {
    if (anchor.index <= (anchors.at(-1)?.index ?? -1)) throw malformed("anchors that are not in their order");
    anchors.push(anchor);
  }
  const messages: ListedMessage[] = [];
  let sizeBytes = 0;
  let state: RoomState = { n: null, root: null, lastAnchor: null };
  for await (const page of indexer.messagePages(room, { blocks: true, limit: 200 })) {
    for (const message of page.items) {
      messages.push(message);
      sizeBytes += message.block?.length ?? 0;
    }
    if (sizeBytes > maxBytes) throw malformed(`more than ${maxBytes} bytes of messages`);
    state = page.room;
  }
  return { anchors, messages, state };
}

function malformed(what: string): DmtpError {
  return new DmtpError("ANSWER_MALFORMED", `the indexer lists ${what}`);
}

function blocksOf(indexer: IndexerClient, messages: readonly ListedMessage[]): Blocks {
  // The client has checked them against their CIDs.
  const held = new Map(messages.flatMap(({ cid, block }) => (block === null ? [] : [[cid, block] as const])));
  return async (cid) => held.get(cid) ?? (await indexer.block(cid)) ?? undefined;
}

/** Every event of both contracts and every block but other rooms' messages: the verdicts are the protocol's own. */
async function replayAll(
  deployment: Deployment,
  room: RoomId,
  events: readonly ChainEvent[],
  blocks: Blocks,
): Promise<RoomFinding> {
  const replay = new Replay(deployment);
  for (const event of events) replay.add(event);
  const held = new Map<Cid, Uint8Array>();
  const asked = new Set<Cid>();
  for (;;) {
    replay.settle((cid) => held.get(cid));
    const lacking = [
      ...replay.missingParts(),
      ...[...replay.missingHeads()].flatMap(({ cids }) => cids),
      ...replay.entries(room).flatMap(({ cid, verdict }) => (verdict.status === "missing" ? [cid] : [])),
    ].filter((cid) => !asked.has(cid));
    if (lacking.length === 0) break;
    for (const cid of new Set(lacking)) {
      asked.add(cid);
      const bytes = await blocks(cid);
      if (bytes !== undefined) held.set(cid, bytes);
    }
  }
  const state = replay.roomState(room);
  return {
    messages: replay.entries(room).map(({ cid, anchorIndex, ordinal, verdict, message }) => {
      const binding = message?.binding ?? null;
      const accounted = replay.isAccounted({ anchorIndex });
      return { cid, anchorIndex, ordinal, verdict, accounted, binding, envelope: envelopeIn(held.get(cid)) };
    }),
    state: state === undefined ? null : { n: state.range.size, root: toHex(rootOf(state.range)) },
    believed: [],
  };
}

/** @throws ANSWER_UNTRUE */
function compare({ anchors, messages, state }: RoomClaims, found: RoomFinding, isWhole: boolean): void {
  const last = anchors.at(-1)?.index ?? -1;
  const places = isWhole ? found.messages : found.messages.filter(({ anchorIndex }) => anchorIndex <= last);
  const accounts = new Map(anchors.map(({ index, verdict }) => [index, verdict.status]));
  if (messages.length !== places.length) throw untrue(`${messages.length} messages, and there are ${places.length}`);
  messages.forEach((claimed, i) => {
    const { cid, anchorIndex, ordinal, verdict, accounted, binding } = places[i] ?? expectNever();
    const where = `message ${ordinal} of anchor ${anchorIndex}`;
    if (claimed.cid !== cid || claimed.anchorIndex !== anchorIndex || claimed.ordinal !== ordinal) {
      throw untrue(`another message in place of ${where}`);
    }
    if (!isCompatible(claimed.verdict, verdict))
      throw untrue(`${where} is ${verdict.status}, not ${claimed.verdict.status}`);
    if (claimed.verdict.status === "verified" && verdict.status === "verified" && claimed.binding !== binding)
      throw untrue(`the key of ${where} is known by ${String(binding)}, not by ${String(claimed.binding)}`);
    const account = accounts.get(anchorIndex);
    if (claimed.accounted !== (account === "verified")) throw untrue(`${where} is not accounted as its anchor is`);
    if (claimed.accounted && !accounted) throw untrue(`${where} is called accounted, and its anchor is not verified`);
    if (accounted && account === "rejected") throw untrue(`the anchor of ${where} is verified, not rejected`);
  });
  if (state.n !== (found.state?.n ?? null) || state.root !== (found.state?.root ?? null)) {
    throw untrue("the room's root is not that of its messages");
  }
}

/** What is missing on one side may have come, or gone, since the other was told. */
function isCompatible(claimed: VerdictAnswer, found: Verdict): boolean {
  if (claimed.status === "missing" || found.status === "missing") return true;
  const [a, b] = [claimed, found].map((verdict) => (verdict.status === "rejected" ? verdict.code : verdict.status));
  return a === b;
}

function expectNever(): never {
  throw new RangeError("a place beyond the list");
}
