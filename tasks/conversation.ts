/** A conversation of two wallets: rebuilt from chain and content, opened with one's own keys. */
import { openKey, type OpenedKey, type OpenerSource } from "../client/identity.ts";
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
import type { Verdict } from "../protocol/verdict.ts";
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
  /** Whether its anchor is verified: then counts and roots cover it (SPEC 8.4). Null while it is pending. */
  readonly accounted: boolean | null;
  readonly anchor: { readonly index: number; readonly blockNumber: number; readonly transactionHash: string } | null;
}

export interface Conversation {
  readonly lines: readonly Line[];
  /** What the anchored messages say is missing or forked. */
  readonly omissions: Omissions;
  /** One's own key versions that did not open: only what was made with them can't be read. */
  readonly unopened: readonly UnopenedKey[];
}

interface UnopenedKey {
  readonly version: number;
  readonly isNewest: boolean;
  readonly error: DmtpError;
}

/** @throws what opening one's own newest key throws, when no other opens either */
export async function readConversation(
  session: Session,
  room: RoomId,
  own: Address,
  opener: OpenerSource,
  content: BlockReader = session.finder(),
): Promise<Conversation> {
  const { reader, deployment, mailbox } = session;
  const { events } = await reader.allEvents();
  const envelopes = new Map<Cid, Envelope>();
  const source: BlockReader = {
    // The mailbox may be the only one that still holds a message that was sent from here.
    get: async (cid, options) => (await content.get(cid, options)) ?? mailbox.block(cid),
    isKnownAbsent: (cid, anchors) => content.isKnownAbsent?.(cid, anchors) ?? false,
  };
  const replayed = await rebuild(deployment, events, source, {
    keep: (cid, _bytes, envelope) => {
      // Of every room's messages, only this one's are kept.
      if (envelope.room === room) envelopes.set(cid, envelope);
    },
  });
  const { open, finish } = await openConversation(session, replayed.keys, own, opener, room);
  const lines: Line[] = [];
  for (const { cid, verdict, anchorIndex, message } of replayed.entries(room)) {
    const envelope = envelopes.get(cid);
    // A message is verified from its block alone: shown as verified without its text, it would pass for one that was read.
    if (verdict.status === "verified" && envelope === undefined) throw new DmtpError("INTERNAL", `${cid} was not kept`);
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
      accounted: replayed.isAccounted({ anchorIndex }),
      ...(await readLine(envelope, verdict.status === "verified" ? open : null)),
    });
  }
  const known = new Set(lines.map(({ cid }) => cid));
  for (const { cid, envelope: block } of mailbox.messages(room)) {
    if (known.has(cid)) continue;
    const envelope = decodeEnvelope(block);
    const lookup = replayed.keys.find(envelope.sender, envelope.senderKeyVersion, END);
    const binding = lookup.status === "unknown" ? null : lookup.key.binding;
    const pending = {
      verdict: { status: "pending" },
      anchor: null,
      isVerifiedElsewhere: false,
      accounted: null,
    } as const;
    lines.push({ cid, ...pending, binding, ...(await readLine(envelope, open)) });
  }
  return { lines, omissions: findOmissions(replayed.entries(room)), unopened: finish() };
}

/** Behind every event. */
const END: Position = { blockNumber: Number.POSITIVE_INFINITY, logIndex: 0 };

type Open = (envelope: Envelope) => Promise<Content>;

interface OpenConversation {
  /** @throws MESSAGE_UNOPENED, also for a message of a key that does not open */
  readonly open: Open;
  /** @returns the versions that did not open @throws why the newest did not, when none did */
  readonly finish: () => readonly UnopenedKey[];
}

/**
 * Opens messages of a room with whichever of one's own key versions they were made for; each version is opened once, and one that does not
 * open costs its own messages only. The other one chooses the version of a message: nobody may close a conversation by that.
 */
export async function openConversation(
  { deployment, content }: Session,
  keys: KeyDirectory,
  own: Address,
  opener: OpenerSource,
  room: RoomId,
): Promise<OpenConversation> {
  const opened = new Map<number, OpenedKey>();
  const unopened = new Map<number, DmtpError>();
  const roomKeys = new Map<string, RoomKey>();
  const current = keys.current(own);
  if (current.status === "unknown") throw new DmtpError("SENDER_UNREGISTERED", `${checksummed(own)} has no DMTP key`);
  // Opened first, so that a wrong wallet or passphrase is told even where there is nothing to read.
  await openVersion(current.key.event.version);

  const open: Open = async (envelope) => {
    const sent = envelope.sender === own;
    const ownVersion = sent ? envelope.senderKeyVersion : envelope.receiverKeyVersion;
    const peerVersion = sent ? envelope.receiverKeyVersion : envelope.senderKeyVersion;
    const peer = sent ? envelope.receiver : envelope.sender;
    const name = `${ownVersion}/${peerVersion}`;
    let roomKey = roomKeys.get(name);
    if (roomKey === undefined) {
      const ownKey = await openVersion(ownVersion);
      if (ownKey === null) throw new DmtpError("MESSAGE_UNOPENED", `key ${ownVersion} of one's own does not open`);
      const peerKey = findKey(keys, peer, peerVersion);
      const party = { wallet: peer, version: peerVersion, encryptionKey: peerKey.event.encryptionKey };
      roomKey = roomKeyOf(deployment, room, ownKey.identity, ownKey.party, party);
      roomKeys.set(name, roomKey);
    }
    return openMessage(roomKey, envelope);
  };
  const finish = (): UnopenedKey[] => {
    const [first] = unopened.values();
    if (opened.size === 0 && first !== undefined) throw first;
    const newest = current.key.event.version;
    return Array.from(unopened, ([version, error]) => ({ version, isNewest: version === newest, error }));
  };
  return { open, finish };

  /** Null for one that does not open. */
  async function openVersion(version: number): Promise<OpenedKey | null> {
    const known = opened.get(version);
    if (known !== undefined || unopened.has(version)) return known ?? null;
    const key = findKey(keys, own, version);
    try {
      const ownKey = await openKey(deployment, content, key, opener);
      opened.set(version, ownKey);
      return ownKey;
    } catch (error) {
      if (!(error instanceof DmtpError) || error.kind === "bug") throw error;
      unopened.set(version, error);
      return null;
    }
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
): Promise<Omit<Line, "cid" | "verdict" | "anchor" | "binding" | "isVerifiedElsewhere" | "accounted">> {
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
