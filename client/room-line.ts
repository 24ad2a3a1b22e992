/**
 * A room alone, without a replay of all rooms: from one manifest that lists messages of it to the next, by the heads. Each
 * head says how many messages the room has, their root, and which anchor touched the room before; so an anchor that was left
 * out, or a message, breaks the line.
 */
import type { Address } from "../protocol/address.ts";
import { bytesOfCid, type Cid } from "../protocol/cid.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import { equal, toHex } from "../protocol/bytes.ts";
import { claimOf, DUPLICATE, examineEntry, SIGNATURE_INVALID } from "../protocol/entry.ts";
import { DmtpError } from "../protocol/error.ts";
import { comparePositions, type Position, type RegistryEvent } from "../protocol/event.ts";
import { decodeHeads, type Head } from "../protocol/heads.ts";
import { KeyDirectory } from "../protocol/keys.ts";
import { decodeManifest } from "../protocol/manifest.ts";
import { append, EMPTY_RANGE, rootOf, type CompactRange } from "../protocol/merkle.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import { decodeShard, joinShards } from "../protocol/shard.ts";
import { VERIFIED, type Verdict } from "../protocol/verdict.ts";
import type { AnchorAnswer } from "./answer.ts";
import type { IndexerClient } from "./indexer.ts";
import {
  envelopeOf,
  untrue,
  type Blocks,
  type RoomClaims,
  type RoomFinding,
  type VerifiedMessage,
} from "./room-report.ts";

interface Listed {
  readonly cid: Cid;
  readonly ordinal: number;
}

/** Checks what the indexer claims, as far as it goes without the chain. @throws ANSWER_UNTRUE */
export async function followHeads(
  indexer: IndexerClient,
  deployment: Deployment,
  room: RoomId,
  { anchors, state }: RoomClaims,
  blocks: Blocks,
): Promise<RoomFinding> {
  const ranges = new Map<number, CompactRange>();
  const listed: (Listed & { readonly anchor: AnchorAnswer })[] = [];
  for (const anchor of anchors) {
    const { head, entries } = await readAnchor(anchor, room, blocks);
    const before = head.lastIndex === null ? EMPTY_RANGE : ranges.get(head.lastIndex);
    if (before === undefined) throw untrue(`anchor ${head.lastIndex} lists messages of the room, and is left out`);
    const range = append(
      before,
      entries.map(({ cid }) => bytesOfCid(cid)),
    );
    if (range.size !== head.n || !equal(rootOf(range), head.roomRoot)) {
      throw untrue(`the messages of anchor ${anchor.index} are not those that its manifest commits to`);
    }
    ranges.set(anchor.index, range);
    for (const entry of entries) listed.push({ ...entry, anchor });
  }

  const held = new Map<Cid, Uint8Array>();
  for (const { cid } of listed) {
    const bytes = held.get(cid) ?? (await blocks(cid));
    if (bytes !== undefined) held.set(cid, bytes);
  }
  const keys = await readKeys(indexer, deployment, [...held.values()]);
  const messages = verdictsOf(deployment, keys, room, listed, held);
  const tip = state.lastAnchor === null ? undefined : ranges.get(state.lastAnchor);
  if (state.lastAnchor !== null && tip === undefined) throw untrue("the room's last anchor is left out");
  return {
    messages,
    state: tip === undefined ? null : { n: tip.size, root: toHex(rootOf(tip)) },
    believed: ["anchors", "keys"],
  };
}

/** What a verified anchor says of the room. The blocks are proved by its CID; what is no manifest was not verified. */
async function readAnchor(
  { index, cid, verdict }: AnchorAnswer,
  room: RoomId,
  blocks: Blocks,
): Promise<{ head: Head; entries: Listed[] }> {
  if (cid === null || verdict.status !== "verified")
    throw untrue(`anchor ${index} is not verified, and lists messages`);
  const need = async (link: Cid): Promise<Uint8Array> => {
    const bytes = await blocks(link);
    if (bytes === undefined) throw untrue(`anchor ${index} is called verified without its blocks`);
    return bytes;
  };
  try {
    const manifest = decodeManifest(await need(cid));
    const shards: Uint8Array[] = [];
    for (const link of manifest.rooms) shards.push(await need(link));
    const delta = joinShards(shards.map((shard) => decodeShard(shard)));
    const entries: Listed[] = [];
    let ordinal = 0;
    for (const [id, cids] of delta) {
      if (id === room) cids.forEach((each, i) => entries.push({ cid: each, ordinal: ordinal + i }));
      ordinal += cids.length;
    }
    if (ordinal !== manifest.count) throw untrue(`anchor ${index} lists ${ordinal} messages, not ${manifest.count}`);
    for (const link of manifest.heads) {
      const head = decodeHeads(await need(link)).find((each) => each.room === room);
      if (head !== undefined && entries.length > 0) return { head, entries };
    }
  } catch (cause) {
    if (cause instanceof DmtpError && /^(MANIFEST|SHARD|HEADS|BLOCK_NOT)/.test(cause.code)) {
      throw untrue(`anchor ${index} is called verified, and is not: ${cause.code}`);
    }
    throw cause;
  }
  throw untrue(`anchor ${index} lists nothing of the room`);
}

/** The keys of everybody who is named as a sender or a receiver, their bindings checked. */
async function readKeys(
  indexer: IndexerClient,
  deployment: Deployment,
  blocks: readonly Uint8Array[],
): Promise<KeyDirectory> {
  const wallets = new Set<Address>();
  for (const block of blocks) {
    const envelope = envelopeOf(block);
    if (envelope !== null) for (const wallet of [envelope.sender, envelope.receiver]) wallets.add(wallet);
  }
  const keys = new KeyDirectory(deployment);
  for (const wallet of wallets) {
    const events: RegistryEvent[] = [];
    try {
      for await (const { event } of indexer.keys(wallet)) events.push(event);
    } catch (error) {
      // A wallet without keys: its messages are KEY_UNKNOWN.
      if (!(error instanceof DmtpError) || error.code !== "NOT_FOUND") throw error;
    }
    for (const event of events.sort(comparePositions)) keys.add(event);
  }
  return keys;
}

/** SPEC 8.4, for one room whose entries are all known. */
function verdictsOf(
  deployment: Deployment,
  keys: KeyDirectory,
  room: RoomId,
  listed: readonly (Listed & { readonly anchor: Position & { readonly index: number } })[],
  held: ReadonlyMap<Cid, Uint8Array>,
): VerifiedMessage[] {
  const findings = listed.map(({ cid, anchor }) => examineEntry(deployment, keys, { room }, anchor, held.get(cid)));
  const claims = findings.flatMap((finding) =>
    "envelope" in finding ? [claimOf(finding.envelope, finding.publicKey)] : [],
  );
  const answers = primitives.ed25519Verify(claims)[Symbol.iterator]();
  const seen = new Set<Cid>();
  return listed.map(({ cid, ordinal, anchor }, i) => {
    const finding = findings[i];
    let verdict: Verdict;
    if (finding !== undefined && "verdict" in finding) verdict = finding.verdict;
    else if (answers.next().value !== true) verdict = SIGNATURE_INVALID;
    else if (seen.has(cid)) verdict = DUPLICATE;
    else verdict = VERIFIED;
    if (verdict.status === "verified") seen.add(cid);
    return { cid, anchorIndex: anchor.index, ordinal, verdict, envelope: envelopeOf(held.get(cid)) };
  });
}
