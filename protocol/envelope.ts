/** The envelope (SPEC 5): what is stored and anchored of a message, `{messages, sender, receiver, timestamp, …}`. */
import { addressOfBytes, bytesOfAddress, type Address } from "./address.ts";
import { compare, concat, fromHex, toHex } from "./bytes.ts";
import { mapOf, type CborMap, type CborValue } from "./cbor.ts";
import { decode } from "./cbor-decoder.ts";
import { encode, encodeBlock } from "./cbor-encoder.ts";
import { primitives } from "./crypto/provider.ts";
import { DmtpError } from "./error.ts";
import { encodeHex, Fields, requireBytes, requireUint, type FormatVersion } from "./fields.ts";
import { label } from "./label.ts";
import { isPaddedLength } from "./padding.ts";
import type { RoomId } from "./room.ts";

/** All of an envelope but its ciphertext, commitment and signature, in version 1: a message from one wallet to another. */
interface EnvelopeHeader1 {
  readonly v: 1;
  readonly room: RoomId;
  readonly sender: Address;
  readonly receiver: Address;
  readonly senderKeyVersion: number;
  readonly receiverKeyVersion: number;
  /** The sender's own count in this room under its key version: 1, 2, 3 … */
  readonly seq: number;
  /** Digests of the messages of this room that no message the sender had seen names: at most 16, ascending. */
  readonly seen: readonly Uint8Array[];
  /** Milliseconds since 1970, by the sender's clock: a claim. */
  readonly timestamp: number;
  /** 32 fresh random bytes. */
  readonly nonce: Uint8Array;
}

interface Sealed {
  /** 32 bytes that commit to the message's key, which AES-GCM alone does not. */
  readonly commitment: Uint8Array;
  /** The ciphertext of a padded plaintext, and its 16-byte tag. */
  readonly messages: Uint8Array;
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array;
}

/** Told apart by `v`: a later version is another member, and whoever depends on what it says has to say what that one means. */
export type EnvelopeHeader = EnvelopeHeader1;
export type Envelope = EnvelopeHeader1 & Sealed;

export const MAX_SEEN = 16;
const MAX_KEY_VERSION = 2 ** 32 - 1;
/** The envelope's own version: other formats have others. */
const VERSION_1 = { v: 1, suite: 1 } as const satisfies FormatVersion;
/** What AES-GCM puts behind a ciphertext. */
const TAG_BYTES = 16;
const CODE = "ENVELOPE_MALFORMED";
const MEMBERS = [
  "room",
  "sender",
  "receiver",
  "keys",
  "seq",
  "seen",
  "timestamp",
  "nonce",
  "commitment",
  "messages",
  "signature",
];

/** SPEC 5.3: SHA-256(label "header" ‖ DAG-CBOR of the header), which the key, the ciphertext and the signature are bound to. */
export function headerHashOf(header: EnvelopeHeader): Uint8Array {
  return primitives.sha256(concat(label("header"), encode(headerMap(header))));
}

/** SPEC 5.4: what the sender signs. */
export function signedBytesOf(headerHash: Uint8Array, commitment: Uint8Array, messages: Uint8Array): Uint8Array {
  return concat(label("envelope"), headerHash, commitment, primitives.sha256(messages));
}

/** @throws ENVELOPE_MALFORMED, BLOCK_TOO_LARGE for what {@link decodeEnvelope} would refuse */
export function encodeEnvelope(envelope: Envelope): Uint8Array {
  checkHeader(envelope);
  const map = new Map(headerMap(envelope));
  map.set("commitment", requireBytes(envelope.commitment, 32, CODE, "commitment"));
  map.set("messages", requirePadded(requireBytes(envelope.messages, undefined, CODE, "messages")));
  map.set("signature", requireBytes(envelope.signature, 64, CODE, "signature"));
  return encodeBlock(map);
}

/** @throws ENVELOPE_MALFORMED, VERSION_UNSUPPORTED, SUITE_UNSUPPORTED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL */
export function decodeEnvelope(block: Uint8Array): Envelope {
  const fields = new Fields(decode(block), MEMBERS, CODE, VERSION_1);
  const versions = fields.array("keys");
  if (versions.length !== 2) throw new DmtpError(CODE, "keys is not [sender version, receiver version]");
  return {
    v: VERSION_1.v,
    room: toHex(fields.bytes("room", 32)) as RoomId,
    sender: addressOfBytes(fields.bytes("sender", 20)),
    receiver: addressOfBytes(fields.bytes("receiver", 20)),
    senderKeyVersion: requireUint(versions[0], MAX_KEY_VERSION, CODE, "keys"),
    receiverKeyVersion: requireUint(versions[1], MAX_KEY_VERSION, CODE, "keys"),
    seq: fields.uint("seq"),
    seen: requireSeen(fields.array("seen")),
    timestamp: fields.uint("timestamp"),
    nonce: fields.bytes("nonce", 32),
    commitment: fields.bytes("commitment", 32),
    messages: requirePadded(fields.bytes("messages")),
    signature: fields.bytes("signature", 64),
  };
}

/** As {@link decodeEnvelope}, of bytes that anybody may have listed: null for what is no envelope, or is not there. */
export function envelopeIn(block: Uint8Array | undefined): Envelope | null {
  try {
    return block === undefined ? null : decodeEnvelope(block);
  } catch {
    return null;
  }
}

function headerMap(header: EnvelopeHeader): CborMap {
  switch (header.v) {
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- one version today; the next has to say its own
    case 1:
      return mapOf({
        ...VERSION_1,
        room: fromHex(header.room),
        sender: bytesOfAddress(header.sender),
        receiver: bytesOfAddress(header.receiver),
        keys: [header.senderKeyVersion, header.receiverKeyVersion],
        seq: header.seq,
        seen: header.seen,
        timestamp: header.timestamp,
        nonce: header.nonce,
      });
  }
}

/** What {@link decodeEnvelope} checks of a header, of one that is to be written. @throws ENVELOPE_MALFORMED */
function checkHeader(header: EnvelopeHeader): void {
  encodeHex(header.room, 32, CODE, "room");
  encodeHex(header.sender, 20, CODE, "sender");
  encodeHex(header.receiver, 20, CODE, "receiver");
  for (const version of [header.senderKeyVersion, header.receiverKeyVersion]) {
    requireUint(version, MAX_KEY_VERSION, CODE, "keys");
  }
  requireUint(header.seq, Number.MAX_SAFE_INTEGER, CODE, "seq");
  requireSeen(header.seen);
  requireUint(header.timestamp, Number.MAX_SAFE_INTEGER, CODE, "timestamp");
  requireBytes(header.nonce, 32, CODE, "nonce");
}

function requireSeen(values: readonly CborValue[]): Uint8Array[] {
  if (values.length > MAX_SEEN) throw new DmtpError(CODE, `seen names ${values.length} messages, at most ${MAX_SEEN}`);
  const seen = values.map((digest) => requireBytes(digest, 32, CODE, "seen"));
  seen.forEach((digest, i) => {
    const previous = seen[i - 1];
    if (previous !== undefined && compare(previous, digest) >= 0) throw new DmtpError(CODE, "seen is not ascending");
  });
  return seen;
}

/** Everybody would know how long a message is that was not padded. */
function requirePadded(messages: Uint8Array): Uint8Array {
  if (isPaddedLength(messages.length - TAG_BYTES)) return messages;
  throw new DmtpError(CODE, `messages has ${messages.length} bytes, which no padded plaintext and its tag have`);
}
