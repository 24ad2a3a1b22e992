/** The envelope (SPEC 5): what is stored and anchored of a message, `{messages, sender, receiver, timestamp, …}`. */
import { addressOfBytes, bytesOfAddress, type Address } from "./address.ts";
import { compare, concat, fromHex, toHex } from "./bytes.ts";
import { mapOf, type CborMap } from "./cbor.ts";
import { decode } from "./cbor-decoder.ts";
import { encode } from "./cbor-encoder.ts";
import { primitives } from "./crypto/provider.ts";
import { DmtpError } from "./error.ts";
import { Fields, readBytes, readUint, SUITE, VERSION } from "./fields.ts";
import { label } from "./label.ts";
import { isPaddedLength } from "./padding.ts";
import type { RoomId } from "./room.ts";

/** All of an envelope but its ciphertext, commitment and signature. */
export interface EnvelopeHeader {
  readonly room: RoomId;
  readonly sender: Address;
  readonly receiver: Address;
  readonly senderKeyVersion: number;
  readonly receiverKeyVersion: number;
  /** The sender's own count in this room: 1, 2, 3 … */
  readonly seq: number;
  /** Digests of the messages of this room that no message the sender had seen names: at most 16, ascending. */
  readonly seen: readonly Uint8Array[];
  /** Milliseconds since 1970, by the sender's clock: a claim. */
  readonly timestamp: number;
  /** 32 fresh random bytes. */
  readonly nonce: Uint8Array;
}

export interface Envelope extends EnvelopeHeader {
  /** 32 bytes that commit to the message's key, which AES-GCM alone does not. */
  readonly commitment: Uint8Array;
  /** The ciphertext and its 16-byte tag. */
  readonly messages: Uint8Array;
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array;
}

export const MAX_SEEN = 16;
export const MAX_KEY_VERSION = 2 ** 32 - 1;
/** What AES-GCM puts behind a ciphertext. */
const TAG_BYTES = 16;
const CODE = "ENVELOPE_MALFORMED";
const MEMBERS = [
  "v",
  "suite",
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

/** @throws ENVELOPE_MALFORMED */
export function encodeEnvelope(envelope: Envelope): Uint8Array {
  checkPadded(envelope.messages);
  const map = new Map(headerMap(envelope));
  map.set("commitment", envelope.commitment);
  map.set("messages", envelope.messages);
  map.set("signature", envelope.signature);
  return encode(map);
}

/** @throws ENVELOPE_MALFORMED, VERSION_UNSUPPORTED, SUITE_UNSUPPORTED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL */
export function decodeEnvelope(block: Uint8Array): Envelope {
  const fields = new Fields(decode(block), MEMBERS, CODE);
  const versions = fields.array("keys");
  if (versions.length !== 2) throw new DmtpError(CODE, "keys is not [sender version, receiver version]");
  const seen = fields.array("seen").map((digest) => readBytes(digest, 32, CODE, "seen"));
  if (seen.length > MAX_SEEN) throw new DmtpError(CODE, `seen names ${seen.length} messages, at most ${MAX_SEEN}`);
  seen.forEach((digest, i) => {
    const previous = seen[i - 1];
    if (previous !== undefined && compare(previous, digest) >= 0) throw new DmtpError(CODE, "seen is not ascending");
  });
  const messages = fields.bytes("messages");
  checkPadded(messages);
  return {
    room: toHex(fields.bytes("room", 32)) as RoomId,
    sender: addressOfBytes(fields.bytes("sender", 20)),
    receiver: addressOfBytes(fields.bytes("receiver", 20)),
    senderKeyVersion: readUint(versions[0], MAX_KEY_VERSION, CODE, "keys"),
    receiverKeyVersion: readUint(versions[1], MAX_KEY_VERSION, CODE, "keys"),
    seq: fields.uint("seq"),
    seen,
    timestamp: fields.uint("timestamp"),
    nonce: fields.bytes("nonce", 32),
    commitment: fields.bytes("commitment", 32),
    messages,
    signature: fields.bytes("signature", 64),
  };
}

/** Of a message that was not padded, everybody would know how long it is. @throws ENVELOPE_MALFORMED */
function checkPadded(messages: Uint8Array): void {
  if (isPaddedLength(messages.length - TAG_BYTES)) return;
  throw new DmtpError(CODE, `messages has ${messages.length} bytes, which no padded plaintext and its tag have`);
}

function headerMap(header: EnvelopeHeader): CborMap {
  return mapOf({
    v: VERSION,
    suite: SUITE,
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
