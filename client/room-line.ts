/**
 * A room alone, without a replay of all rooms: from one manifest that lists messages of it to the next, by the heads. Each
 * head says how many entries the room has, their root, and which anchor touched the room before; so an anchor that was left
 * out, or a message, breaks the line.
 */
import type { Address } from "../protocol/address.ts";
import { equal, toHex } from "../protocol/bytes.ts";
import { bytesOfCid, type Cid } from "../protocol/cid.ts";
import { envelopeIn } from "../protocol/envelope.ts";
import { DmtpError } from "../protocol/error.ts";
import { comparePositions, type AnchorEvent, type ChainEvent, type RegistryEvent } from "../protocol/event.ts";
import { decodeHeads, type Head } from "../protocol/heads.ts";
import { manifestIn, type Manifest } from "../protocol/manifest.ts";
import { append, EMPTY_RANGE, rootOf, type CompactRange } from "../protocol/merkle.ts";
import { replay } from "../protocol/replay/replay.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import { RoomPolicy } from "../protocol/room-policy.ts";
import { shardIn } from "../protocol/shard.ts";
import type { AnchorAnswer } from "./api/chain.ts";
import type { IndexerClient } from "./indexer.ts";
import { untrue, type Blocks, type RoomClaims, type RoomFinding, type VerifiedMessage } from "./room-report.ts";

/** What an anchor lists of the room, in its order. */
interface Listing {
  readonly anchor: AnchorAnswer;
  readonly manifest: Manifest;
  readonly cids: readonly Cid[];
  /** How many messages its shards list in all rooms; null unless all of them are there, read, and follow each other in order. */
  readonly count: number | null;
}

/** Checks what the indexer claims, as far as it goes without the chain. @throws ANSWER_UNTRUE */
export async function followHeads(
  indexer: IndexerClient,
  deployment: Deployment,
  room: RoomId,
  { anchors, state }: RoomClaims,
  blocks: Blocks,
): Promise<RoomFinding> {
  const held = new Map<Cid, Uint8Array>();
  const hold: Blocks = async (cid) => {
    const bytes = held.get(cid) ?? (await blocks(cid));
    if (bytes !== undefined) held.set(cid, bytes);
    return bytes;
  };
  const ranges = new Map<number, CompactRange>();
  const messages = new Map<Cid, Uint8Array>();
  for (const anchor of anchors) {
    const listing = await readListing(anchor, room, hold);
    if (anchor.verdict.status === "verified") await checkAccount(listing, room, ranges, hold);
    for (const cid of listing.cids) {
      const bytes = await hold(cid);
      if (bytes !== undefined) messages.set(cid, bytes);
    }
  }
  const keys = await readKeys(indexer, new RoomPolicy(deployment), [...messages.values()]);
  const tip = state.lastAnchor === null ? undefined : ranges.get(state.lastAnchor);
  if (state.lastAnchor !== null && tip === undefined) throw untrue("the room's last anchor is left out");
  return {
    messages: replayRoom(deployment, room, anchors, keys, held),
    state: tip === undefined ? null : { n: tip.size, root: toHex(rootOf(tip)) },
    believed: ["anchors", "keys"],
  };
}

/** What an anchor lists of the room, whatever its account. The blocks are proved by its CID; what is no manifest lists nothing. */
async function readListing(anchor: AnchorAnswer, room: RoomId, blocks: Blocks): Promise<Listing> {
  const { index, cid, text } = anchor;
  // The text is what stands on the chain.
  const bytes = cid === null || cid !== text ? undefined : await blocks(cid);
  if (bytes === undefined) throw untrue(`anchor ${index} is said to list messages, and its manifest is not there`);
  const manifest = manifestIn(bytes);
  if (manifest === null) throw untrue(`anchor ${index} is no manifest, and is said to list messages`);
  const cids: Cid[] = [];
  let count: number | null = 0;
  let lastRoom = "";
  for (const link of manifest.rooms) {
    const delta = shardIn(await blocks(link));
    for (const [id, listed] of delta ?? []) {
      if (id === room) cids.push(...listed);
      if (count !== null) count = id < lastRoom ? null : count + listed.length;
      lastRoom = id;
    }
    if (delta === null) count = null;
  }
  if (cids.length === 0) throw untrue(`anchor ${index} lists nothing of the room`);
  return { anchor, manifest, cids, count };
}

/**
 * Holds what a verified anchor lists against its count, and against its heads, which lead from one anchor of the room to the one before.
 */
async function checkAccount(
  { anchor: { index }, manifest, cids, count }: Listing,
  room: RoomId,
  ranges: Map<number, CompactRange>,
  blocks: Blocks,
): Promise<void> {
  if (count !== manifest.count) throw untrue(`anchor ${index} is called verified, and does not list what it counts`);
  const head = await findHead(index, manifest, room, blocks);
  const before = head.lastIndex === null ? EMPTY_RANGE : ranges.get(head.lastIndex);
  if (before === undefined) throw untrue(`anchor ${head.lastIndex} lists messages of the room, and is left out`);
  const range = append(before, cids.map(bytesOfCid));
  if (range.size !== head.n || !equal(rootOf(range), head.roomRoot)) {
    throw untrue(`the messages of anchor ${index} are not those that its manifest commits to`);
  }
  ranges.set(index, range);
}

async function findHead(index: number, { heads }: Manifest, room: RoomId, blocks: Blocks): Promise<Head> {
  for (const link of heads) {
    const bytes = await blocks(link);
    if (bytes === undefined) throw untrue(`anchor ${index} is called verified without its blocks`);
    let found: Head | undefined;
    try {
      found = decodeHeads(bytes).find((head) => head.room === room);
    } catch (cause) {
      if (!(cause instanceof DmtpError)) throw cause;
      throw untrue(`anchor ${index} is called verified, and is not: ${cause.code}`);
    }
    if (found !== undefined) return found;
  }
  throw untrue(`anchor ${index} is called verified, and has no head of the room`);
}

/** The registry's events of everybody who is named as a sender or a receiver. */
async function readKeys(
  indexer: IndexerClient,
  policy: RoomPolicy,
  blocks: readonly Uint8Array[],
): Promise<RegistryEvent[]> {
  const wallets = new Set<Address>();
  for (const block of blocks) {
    const envelope = envelopeIn(block);
    if (envelope !== null) for (const wallet of policy.listParties(envelope)) wallets.add(wallet);
  }
  const events: RegistryEvent[] = [];
  for (const wallet of wallets) {
    try {
      for await (const { event } of indexer.keys(wallet)) events.push(event);
    } catch (error) {
      // A wallet without keys: its messages are KEY_UNKNOWN.
      if (!(error instanceof DmtpError) || error.code !== "NOT_FOUND") throw error;
    }
  }
  return events;
}

/** The engine on one room: its anchors are numbered anew, since only those that list something of it are known. */
function replayRoom(
  deployment: Deployment,
  room: RoomId,
  anchors: readonly AnchorAnswer[],
  keys: readonly RegistryEvent[],
  held: ReadonlyMap<Cid, Uint8Array>,
): VerifiedMessage[] {
  const listing = anchors.map((anchor, index): AnchorEvent => ({ ...anchor, kind: "anchor", index }));
  const events: ChainEvent[] = [...keys, ...listing].sort(comparePositions);
  const found = replay(deployment, events, (cid) => held.get(cid), { onlyRoom: room });
  return found.entries(room).map(({ cid, anchorIndex, ordinal, verdict, message }) => {
    const index = anchors[anchorIndex]?.index ?? anchorIndex;
    const binding = message?.binding ?? null;
    // Whoever calls an anchor verified had to show that its own blocks say what its heads do.
    const accounted = anchors[anchorIndex]?.verdict.status === "verified";
    return { cid, anchorIndex: index, ordinal, verdict, accounted, binding, envelope: envelopeIn(held.get(cid)) };
  });
}
