/** Messages, sealed and signed in the order in which they are to be read. */
import type { Address } from "../protocol/address.ts";
import { cidOf, digestOfCid, type Cid } from "../protocol/cid.ts";
import type { Content } from "../protocol/content.ts";
import { encodeEnvelope, type Envelope } from "../protocol/envelope.ts";
import { DmtpError } from "../protocol/error.ts";
import { roomKeyOf, sealMessage, type Party, type RoomKey } from "../protocol/message.ts";
import { roomIdOf, type Deployment, type RoomId } from "../protocol/room.ts";
import type { OpenedKey } from "./identity.ts";

export interface MessageDraft {
  readonly to: Address;
  readonly content: Content;
}

/** A message as it is sent: its block is what its CID names, and stays the same however often it is sent. */
export interface ComposedMessage {
  readonly cid: Cid;
  readonly block: Uint8Array;
  readonly envelope: Envelope;
}

/** The number of a sender's next message in a room, and the messages there that no other names: digests, ascending. */
export interface NextNumber {
  readonly seq: number;
  readonly seen: readonly Uint8Array[];
}

export interface ComposeOptions {
  /** Asked once for each room; later messages go on from there. */
  readonly next: (room: RoomId, sender: Address, keyVersion: number) => NextNumber;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly random: (sizeBytes: number) => Uint8Array;
}

/**
 * Seals in the given order; each message names the one before it as seen.
 * @param peers the key of each receiver, checked
 * @throws SEQ_EXHAUSTED, KEY_INADMISSIBLE, CONTENT_MALFORMED
 */
export function composeMessages(
  deployment: Deployment,
  own: OpenedKey,
  peers: ReadonlyMap<Address, Party>,
  drafts: readonly MessageDraft[],
  { next, now, random }: ComposeOptions,
): ComposedMessage[] {
  const rooms = new Map<Address, { id: RoomId; key: RoomKey; seq: number; seen: readonly Uint8Array[] }>();
  const { wallet: sender, version } = own.party;
  return drafts.map(({ to, content }) => {
    const peer = peers.get(to);
    if (peer === undefined) throw new DmtpError("INTERNAL", "a draft without its receiver");
    let room = rooms.get(to);
    if (room === undefined) {
      const id = roomIdOf(deployment, sender, to);
      room = { id, key: roomKeyOf(deployment, id, own.identity, own.party, peer), ...next(id, sender, version) };
      rooms.set(to, room);
    }
    if (!Number.isSafeInteger(room.seq)) {
      // Acknowledged, it would be a message that no reader takes.
      throw new DmtpError("SEQ_EXHAUSTED", `key version ${version} has no number left in room ${room.id}`);
    }
    const header = {
      v: 1 as const,
      room: room.id,
      sender,
      receiver: to,
      senderKeyVersion: version,
      receiverKeyVersion: peer.version,
      seq: room.seq,
      seen: room.seen,
      timestamp: now(),
      nonce: random(32),
    };
    const envelope = sealMessage(room.key, own.identity.signer, header, content);
    const block = encodeEnvelope(envelope);
    const cid = cidOf(block);
    room.seq += 1;
    room.seen = [digestOfCid(cid)];
    return { cid, block, envelope };
  });
}
