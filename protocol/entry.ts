/** The verdict on one anchored message (SPEC 8.4). */
import type { Cid } from "./cid.ts";
import type { SignatureClaim } from "./crypto/primitives.ts";
import { headerHashOf, signedBytesOf, type Envelope, type EnvelopeHeader } from "./envelope.ts";
import type { Position } from "./event.ts";
import type { Binding, KeySource } from "./keys.ts";
import type { Deployment, RoomId } from "./room.ts";
import { RoomPolicy } from "./room-policy.ts";
import { rejected, type Verdict, type VerdictCode } from "./verdict.ts";

/** One place in a room's history: a CID that an anchor lists there, whatever the verdict on the anchor. */
export interface Entry {
  readonly room: RoomId;
  readonly cid: Cid;
  readonly anchorIndex: number;
  /** 8,192 times the number of its shard, plus its place in that shard. */
  readonly ordinal: number;
  verdict: Verdict;
  /** What its envelope says; null while missing and when it is no envelope. */
  message: MessageSummary | null;
}

/** An envelope without its ciphertext: what a history shows without opening anything. */
export interface MessageSummary extends Pick<
  EnvelopeHeader,
  "sender" | "receiver" | "senderKeyVersion" | "receiverKeyVersion" | "seq" | "timestamp"
> {
  /** How the sender is known to have chosen the key; null for a version that it had not registered, and where the rooms differ. */
  readonly binding: Binding | null;
  /** Size of the block. */
  readonly sizeBytes: number;
  /** CIDs' digests, 32 bytes each. */
  readonly seen: readonly Uint8Array[];
}

/** The only verdicts on an entry that {@link examineHeader} leaves to its caller, besides `verified`. */
export const SIGNATURE_INVALID = rejected("SIGNATURE_INVALID", "the signature is not by the sender's key");
export const DUPLICATE = rejected("DUPLICATE", "the room already has this message");

/** The fields that every check but the signature needs, copied so that the block can be freed. */
export type SignedHeader = Omit<EnvelopeHeader, "nonce">;

interface Decided {
  readonly verdict: Verdict;
  readonly message: MessageSummary | null;
}

/** What is left to decide after all but the signature has been checked: whether it is by this key. */
interface Unsigned {
  readonly publicKey: Uint8Array;
  readonly message: MessageSummary;
}

type HeaderFinding = Decided | Unsigned;

/**
 * Decides all but the signature ({@link claimOf}), which is left to the caller, so that many can be verified at once, and whether an
 * earlier entry of the room is of the same message.
 * @param position of the anchor that lists the entry
 * @param sizeBytes of the block that the header was read from
 */
export function examineHeader(
  deployment: Deployment,
  keys: KeySource,
  entry: Pick<Entry, "room">,
  position: Position,
  header: SignedHeader,
  sizeBytes: number,
): HeaderFinding {
  const { sender, receiver, senderKeyVersion, receiverKeyVersion, seq, timestamp, seen } = header;
  const said = { sender, receiver, senderKeyVersion, receiverKeyVersion, seq, timestamp, seen, sizeBytes };
  let message: MessageSummary = { ...said, binding: null };
  const refuse = (code: VerdictCode, reason: string): Decided => ({ verdict: rejected(code, reason), message });
  const refusal = new RoomPolicy(deployment).refuse(header, entry.room);
  if (refusal !== null) return refuse(refusal.code, refusal.reason);

  const lookup = keys.find(sender, header.senderKeyVersion, position);
  if (lookup.status === "unknown")
    return refuse("KEY_UNKNOWN", `the sender had no key version ${header.senderKeyVersion}`);
  message = { ...said, binding: lookup.key.binding };
  if (lookup.status === "rejected") {
    return refuse("KEY_REJECTED", `the sender's key version ${header.senderKeyVersion} is not valid`);
  }
  if (lookup.status === "revoked") {
    return refuse("KEY_REVOKED", `the sender's key version ${header.senderKeyVersion} was revoked before`);
  }
  if (keys.find(receiver, header.receiverKeyVersion, position).status === "unknown") {
    return refuse("RECEIVER_KEY_UNKNOWN", `the receiver had no key version ${header.receiverKeyVersion}`);
  }
  return { publicKey: lookup.key.event.signingKey, message };
}

export function headerOf(envelope: Envelope): SignedHeader {
  const { v, room, sender, receiver, senderKeyVersion, receiverKeyVersion, seq, timestamp } = envelope;
  const seen = envelope.seen.map((digest) => digest.slice());
  return { v, room, sender, receiver, senderKeyVersion, receiverKeyVersion, seq, seen, timestamp };
}

/** That this key signed the envelope (SPEC 5.4). */
export function claimOf(envelope: Envelope, publicKey: Uint8Array): SignatureClaim {
  const message = signedBytesOf(headerHashOf(envelope), envelope.commitment, envelope.messages);
  return { publicKey, message, signature: envelope.signature };
}
