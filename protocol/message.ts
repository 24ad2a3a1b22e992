/** Sealing and opening a message (SPEC 6): combined secret → room key → message secret → ciphertext and commitment. */
import { bytesOfAddress, type Address } from "./address.ts";
import { concat, equal, fromHex, uint64 } from "./bytes.ts";
import { decodeContent, encodeContent, type Content } from "./content.ts";
import { primitives } from "./crypto/provider.ts";
import type { Signer } from "./crypto/primitives.ts";
import { headerHashOf, signedBytesOf, type Envelope, type EnvelopeHeader } from "./envelope.ts";
import { DmtpError } from "./error.ts";
import type { Identity } from "./identity.ts";
import { label } from "./label.ts";
import { pad, unpad } from "./padding.ts";
import type { Deployment, RoomId } from "./room.ts";

/** One side of a room: a wallet and the key version it uses. */
export interface Party {
  readonly wallet: Address;
  readonly version: number;
  readonly encryptionKey: Uint8Array;
}

/** The key of two parties' conversation: 32 bytes, the same on both sides, in both directions. */
export type RoomKey = Uint8Array & { readonly roomKey: unique symbol };

/** Each message has a key of its own, so its IV is a constant. */
const IV = new Uint8Array(12);
const NO_SALT = new Uint8Array(0);

/**
 * SPEC 6.3: the combined secret, bound to protocol, deployment, room, both wallets, both keys and both versions.
 * @throws KEY_INADMISSIBLE when the peer's key is of low order
 */
export function roomKeyOf(deployment: Deployment, room: RoomId, identity: Identity, own: Party, peer: Party): RoomKey {
  const secret = identity.agree(peer.encryptionKey);
  if (secret === null) throw new DmtpError("KEY_INADMISSIBLE", "the peer's encryption key is of low order");
  const parties = own.wallet < peer.wallet ? [own, peer] : [peer, own];
  const info = concat(
    label("room key"),
    uint64(deployment.chainId),
    bytesOfAddress(deployment.keyRegistry),
    fromHex(room),
    ...parties.flatMap((party) => [bytesOfAddress(party.wallet), uint64(party.version), party.encryptionKey]),
  );
  return primitives.hkdf(secret, NO_SALT, info, 32) as RoomKey;
}

/** Encrypts and signs. The header's nonce must be fresh. */
export function sealMessage(roomKey: RoomKey, signer: Signer, header: EnvelopeHeader, content: Content): Envelope {
  const headerHash = headerHashOf(header);
  const { key, commitment } = messageKeysOf(messageSecretOf(roomKey, header.nonce, headerHash));
  const messages = primitives.aesGcmSeal(key, IV, pad(encodeContent(content)), headerHash);
  const signature = signer.sign(signedBytesOf(headerHash, commitment, messages));
  return { ...header, commitment, messages, signature };
}

/**
 * Decrypts what a verified envelope holds.
 * @throws MESSAGE_UNOPENED, CONTENT_MALFORMED
 */
export function openMessage(roomKey: RoomKey, envelope: Envelope): Content {
  const headerHash = headerHashOf(envelope);
  return openWithSecret(messageSecretOf(roomKey, envelope.nonce, headerHash), envelope, headerHash);
}

/**
 * Decrypts one message by its own secret, which discloses no other.
 * @throws MESSAGE_UNOPENED, CONTENT_MALFORMED
 */
export function openWithSecret(secret: Uint8Array, envelope: Envelope, headerHash = headerHashOf(envelope)): Content {
  const { key, commitment } = messageKeysOf(secret);
  if (!equal(commitment, envelope.commitment)) {
    throw new DmtpError("MESSAGE_UNOPENED", "the message was not sealed with this key");
  }
  const padded = primitives.aesGcmOpen(key, IV, envelope.messages, headerHash);
  if (padded === null) throw new DmtpError("MESSAGE_UNOPENED", "the message does not open with this key");
  return decodeContent(unpad(padded));
}

/** SPEC 6.4: 32 bytes that open this message and nothing else. */
export function messageSecretOf(roomKey: RoomKey, nonce: Uint8Array, headerHash: Uint8Array): Uint8Array {
  return primitives.hkdf(roomKey, nonce, concat(label("message secret"), headerHash), 32);
}

function messageKeysOf(secret: Uint8Array): { readonly key: Uint8Array; readonly commitment: Uint8Array } {
  const keys = primitives.hkdf(secret, NO_SALT, label("message keys"), 64);
  return { key: keys.slice(0, 32), commitment: keys.slice(32) };
}
