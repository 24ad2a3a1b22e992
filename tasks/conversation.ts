/** A conversation of two wallets: rebuilt from chain and content, opened with one's own keys. */
import { rebuild, type BlockReader } from "../io/history.ts";
import { checksummed, type Address } from "../protocol/address.ts";
import type { Cid } from "../protocol/cid.ts";
import { textOfContent, type Content } from "../protocol/content.ts";
import { decodeEnvelope, type Envelope } from "../protocol/envelope.ts";
import { DmtpError } from "../protocol/error.ts";
import type { Position } from "../protocol/event.ts";
import type { Binding, KeyDirectory, KeyVersion } from "../protocol/keys.ts";
import { openMessage, roomKeyOf, type RoomKey } from "../protocol/message.ts";
import { findOmissions, type Omissions } from "../protocol/omissions.ts";
import type { RoomId } from "../protocol/room.ts";
import type { Opener } from "../protocol/sealing.ts";
import type { Verdict } from "../protocol/verdict.ts";
import { openKey, type OpenedKey } from "./identity.ts";
import type { Session } from "./session.ts";

/** One message of a conversation, opened. */
export interface Line {
  readonly cid: Cid;
  readonly sender: Address | null;
  readonly senderKeyVersion: number | null;
  /** The sender's own count in the room under that key version. */
  readonly seq: number | null;
  readonly timestamp: number | null;
  /** How the sender is known to have chosen the key; null for one that it had not registered, and while missing. */
  readonly binding: Binding | null;
  /** Null when it could not be opened, or is no text. */
  readonly text: string | null;
  readonly type: string | null;
  /** `pending`: in this machine's mailbox, not anchored yet. */
  readonly verdict: Verdict | { readonly status: "pending" };
  /** Whether it is rejected here and verified at another place, in this room or in the one that it was written for. */
  readonly isVerifiedElsewhere: boolean;
  readonly anchor: { readonly index: number; readonly blockNumber: number; readonly transactionHash: string } | null;
}

export interface Conversation {
  readonly lines: readonly Line[];
  /** What the anchored messages say is missing or forked. */
  readonly omissions: Omissions;
}

/** @throws what opening one's own keys throws */
export async function readConversation(
  session: Session,
  room: RoomId,
  own: Address,
  opener: Opener,
  content: BlockReader = session.finder(),
): Promise<Conversation> {
  const { reader, deployment, mailbox } = session;
  const { events } = await reader.allEvents();
  const envelopes = new Map<Cid, Envelope>();
  const replayed = await rebuild(deployment, events, content, {
    keep: (cid, bytes, kind) => {
      if (kind !== "message") return;
      // Of every room's messages, only this one's are kept.
      const envelope = tryDecode(bytes);
      if (envelope?.room === room) envelopes.set(cid, envelope);
    },
  });
  const open = await openConversation(session, replayed.keys, own, opener, room);
  const lines: Line[] = [];
  for (const { cid, verdict, anchorIndex, message } of replayed.entries(room)) {
    const envelope = envelopes.get(cid);
    const event = replayed.anchors[anchorIndex]?.event;
    const anchor =
      event === undefined
        ? null
        : { index: anchorIndex, blockNumber: event.blockNumber, transactionHash: event.transactionHash };
    // A rejected message is shown as rejected; what it says is nobody's word, so it is not opened.
    const binding = message?.binding ?? null;
    lines.push({
      cid,
      verdict,
      anchor,
      binding,
      isVerifiedElsewhere: verdict.status === "rejected" && replayed.isVerified(cid),
      ...(await readLine(envelope, verdict.status === "verified" ? open : null)),
    });
  }
  const known = new Set(lines.map(({ cid }) => cid));
  for (const { cid, envelope: block } of mailbox.messages(room)) {
    if (known.has(cid)) continue;
    const envelope = decodeEnvelope(block);
    const lookup = replayed.keys.find(envelope.sender, envelope.senderKeyVersion, END);
    const binding = lookup.status === "unknown" ? null : lookup.key.binding;
    const pending = { verdict: { status: "pending" }, anchor: null, isVerifiedElsewhere: false } as const;
    lines.push({ cid, ...pending, binding, ...(await readLine(envelope, open)) });
  }
  return { lines, omissions: findOmissions(replayed.entries(room)) };
}

/** Behind every event. */
const END: Position = { blockNumber: Number.POSITIVE_INFINITY, logIndex: 0 };

export type Open = (envelope: Envelope) => Promise<Content>;

/** Opens messages of a room with whichever of one's own key versions they were made for; each version is opened once. */
export async function openConversation(
  { deployment, content }: Session,
  keys: KeyDirectory,
  own: Address,
  opener: Opener,
  room: RoomId,
): Promise<Open> {
  const opened = new Map<number, OpenedKey>();
  const roomKeys = new Map<string, RoomKey>();
  const current = keys.current(own);
  if (current.status === "unknown") throw new DmtpError("SENDER_UNREGISTERED", `${checksummed(own)} has no DMTP key`);
  // Opened first, so that a wrong wallet or passphrase is an error and not a conversation that cannot be read.
  opened.set(current.key.event.version, await openKey(deployment, content, current.key, opener));

  return async (envelope) => {
    const sent = envelope.sender === own;
    const ownVersion = sent ? envelope.senderKeyVersion : envelope.receiverKeyVersion;
    const peerVersion = sent ? envelope.receiverKeyVersion : envelope.senderKeyVersion;
    const peer = sent ? envelope.receiver : envelope.sender;
    const name = `${ownVersion}/${peerVersion}`;
    let roomKey = roomKeys.get(name);
    if (roomKey === undefined) {
      const ownKey = opened.get(ownVersion) ?? (await openVersion(ownVersion));
      opened.set(ownVersion, ownKey);
      const peerKey = findKey(keys, peer, peerVersion);
      const party = { wallet: peer, version: peerVersion, encryptionKey: peerKey.event.encryptionKey };
      roomKey = roomKeyOf(deployment, room, ownKey.identity, ownKey.party, party);
      roomKeys.set(name, roomKey);
    }
    return openMessage(roomKey, envelope);
  };

  async function openVersion(version: number): Promise<OpenedKey> {
    return openKey(deployment, content, findKey(keys, own, version), opener);
  }
}

function findKey(keys: KeyDirectory, wallet: Address, version: number): KeyVersion {
  const lookup = keys.find(wallet, version, END);
  if (lookup.status === "unknown")
    throw new DmtpError("MESSAGE_UNOPENED", `${checksummed(wallet)} has no key ${version}`);
  return lookup.key;
}

async function readLine(
  envelope: Envelope | undefined,
  open: Open | null,
): Promise<Omit<Line, "cid" | "verdict" | "anchor" | "binding" | "isVerifiedElsewhere">> {
  if (envelope === undefined) {
    return { sender: null, senderKeyVersion: null, seq: null, timestamp: null, text: null, type: null };
  }
  const { sender, senderKeyVersion, seq, timestamp } = envelope;
  const unopened = { sender, senderKeyVersion, seq, timestamp, text: null, type: null };
  if (open === null) return unopened;
  try {
    const content = await open(envelope);
    return { ...unopened, text: textOfContent(content), type: content.type };
  } catch (error) {
    // A sender can sign what does not open; that is shown, and does not stop the rest.
    if (error instanceof DmtpError && error.kind === "integrity") return unopened;
    throw error;
  }
}

function tryDecode(bytes: Uint8Array): Envelope | null {
  try {
    return decodeEnvelope(bytes);
  } catch {
    return null;
  }
}
