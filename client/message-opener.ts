/** Messages of one wallet's conversations, verified and opened with its own keys. */
import { checksummed, type Address } from "../protocol/address.ts";
import { examineCandidate, NOW } from "../protocol/admission.ts";
import type { Cid } from "../protocol/cid.ts";
import { textOfContent, type Content } from "../protocol/content.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import { SIGNATURE_INVALID } from "../protocol/entry.ts";
import type { Envelope } from "../protocol/envelope.ts";
import { DmtpError } from "../protocol/error.ts";
import type { KeyDirectory } from "../protocol/keys.ts";
import { openMessage, roomKeyOf, type RoomKey } from "../protocol/message.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import { rejected, rejectedBy, VERIFIED, type Verdict } from "../protocol/verdict.ts";
import { openKey, type DocumentSource, type OpenedKey, type OpenerSource } from "./identity.ts";

/** What a message says; all null for what is no envelope. */
export interface OpenedMessage {
  readonly sender: Address | null;
  readonly seq: number | null;
  /** By the sender's clock: a claim. */
  readonly timestamp: number | null;
  /** Null where it is rejected or missing, does not open, or is no text. */
  readonly text: string | null;
  readonly content: Content | null;
}

export class MessageOpener {
  private readonly deployment: Deployment;
  private readonly documents: DocumentSource;
  private readonly opener: OpenerSource;
  private readonly wallet: Address;
  private readonly opened = new Map<number, OpenedKey>();

  /** @param own the wallet's current key; older ones are opened when a message needs them */
  constructor(deployment: Deployment, documents: DocumentSource, opener: OpenerSource, own: OpenedKey) {
    this.deployment = deployment;
    this.documents = documents;
    this.opener = opener;
    this.wallet = own.party.wallet;
    this.opened.set(own.party.version, own);
  }

  /** @param isVerified whether its content is shown: what a rejected message says is nobody's word */
  async read(keys: KeyDirectory, envelope: Envelope | null, isVerified: boolean): Promise<OpenedMessage> {
    if (envelope === null) return { sender: null, seq: null, timestamp: null, text: null, content: null };
    const { sender, seq, timestamp } = envelope;
    const content = isVerified ? await this.tryOpen(keys, envelope) : null;
    return { sender, seq, timestamp, content, text: content === null ? null : textOfContent(content) };
  }

  /** @throws MESSAGE_UNOPENED, KEY_UNKNOWN, and what opening one's own key throws */
  async open(keys: KeyDirectory, envelope: Envelope): Promise<Content> {
    return openMessage(await this.findRoomKey(keys, envelope), envelope);
  }

  private async tryOpen(keys: KeyDirectory, envelope: Envelope): Promise<Content | null> {
    try {
      return await this.open(keys, envelope);
    } catch (error) {
      if (error instanceof DmtpError && error.kind !== "bug") return null;
      throw error;
    }
  }

  private async findRoomKey(keys: KeyDirectory, envelope: Envelope): Promise<RoomKey> {
    const { sender, receiver, senderKeyVersion, receiverKeyVersion } = envelope;
    const [ownVersion, peer, peerVersion] =
      sender === this.wallet
        ? [senderKeyVersion, receiver, receiverKeyVersion]
        : [receiverKeyVersion, sender, senderKeyVersion];
    const own = await this.openVersion(keys, ownVersion);
    const lookup = keys.find(peer, peerVersion, NOW);
    if (lookup.status === "unknown") {
      throw new DmtpError("KEY_UNKNOWN", `${checksummed(peer)} has no key version ${peerVersion}`);
    }
    const { wallet, version, encryptionKey } = lookup.key.event;
    return roomKeyOf(this.deployment, envelope.room, own.identity, own.party, { wallet, version, encryptionKey });
  }

  /** One of the wallet's own keys; an old one takes another signature, once. */
  private async openVersion(keys: KeyDirectory, version: number): Promise<OpenedKey> {
    const known = this.opened.get(version);
    if (known !== undefined) return known;
    const lookup = keys.find(this.wallet, version, NOW);
    if (lookup.status === "unknown") throw new DmtpError("KEY_UNKNOWN", `this wallet has no key version ${version}`);
    const opened = await openKey(this.deployment, this.documents, lookup.key, this.opener);
    this.opened.set(version, opened);
    return opened;
  }
}

/** What the verdict on a message would be if an anchor listed it in its room now. */
export function verifyPending(
  deployment: Deployment,
  keys: KeyDirectory,
  room: RoomId,
  cid: Cid,
  block: Uint8Array,
): Verdict {
  try {
    const { claim, envelope } = examineCandidate(deployment, keys, cid, block);
    if (envelope.room !== room) return rejected("FOREIGN_ROOM", "the message belongs to another room");
    const [isSigned] = primitives.ed25519Verify([claim]);
    return isSigned === true ? VERIFIED : SIGNATURE_INVALID;
  } catch (error) {
    return rejectedBy(error);
  }
}
