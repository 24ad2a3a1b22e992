import { walletOf } from "../io/chain/writer.ts";
import { rebuild } from "../io/history.ts";
import { checksummed, parseAddress, type Address } from "../protocol/address.ts";
import type { Cid } from "../protocol/cid.ts";
import { textOfContent, type Content } from "../protocol/content.ts";
import { decodeEnvelope, type Envelope } from "../protocol/envelope.ts";
import { DmtpError } from "../protocol/error.ts";
import type { KeyDirectory } from "../protocol/keys.ts";
import { openMessage, roomKeyOf, type RoomKey } from "../protocol/message.ts";
import { roomIdOf, type RoomId } from "../protocol/room.ts";
import type { Opener } from "../protocol/sealing.ts";
import type { Verdict } from "../protocol/verdict.ts";
import { command, type Outcome } from "./command.ts";
import { openerOf, openKey, type OpenedKey } from "./identity.ts";
import { readPassphrase } from "./passphrase.ts";
import type { Session } from "./session.ts";
import { formatTime, harmless, plural, short } from "./terminal.ts";

export interface HistoryArguments {
  readonly with: string | undefined;
  readonly from: string | undefined;
  readonly passphrase: boolean;
  readonly json: boolean;
}

/** One message of a conversation, opened. */
export interface Line {
  readonly cid: Cid;
  readonly sender: Address | null;
  readonly timestamp: number | null;
  /** Null when it could not be opened, or is no text. */
  readonly text: string | null;
  readonly type: string | null;
  /** `pending`: in this machine's mailbox, not anchored yet. */
  readonly verdict: Verdict | { readonly status: "pending" };
  readonly anchor: { readonly index: number; readonly blockNumber: number; readonly transactionHash: string } | null;
}

export default command<HistoryArguments>(async (session, args) => {
  if (args.with === undefined) throw new DmtpError("OPTION_INVALID", "no peer", { hint: "Give --with ADDRESS." });
  const peer = parseAddress(args.with);
  return history(session, peer, args.from, args.passphrase ? await readPassphrase(process.env) : undefined);
});

/** The conversation of two wallets, from chain and content; the mailbox only adds what is not anchored yet. */
export async function history(session: Session, peer: Address, from: string | undefined, passphrase?: string): Promise<Outcome> {
  const { signer, address: own } = await session.signer(from === undefined ? undefined : parseAddress(from));
  if (own === peer) throw new DmtpError("RECEIVER_IS_SENDER", "both ends are the same wallet");
  const opener = openerOf(await walletOf(signer), passphrase);
  const room = roomIdOf(session.deployment, own, peer);
  const lines = await readConversation(session, room, own, opener);
  const rejected = lines.filter(({ verdict }) => verdict.status === "rejected").length;
  const missing = lines.filter(({ verdict }) => verdict.status === "missing").length;
  const error =
    rejected > 0
      ? new DmtpError("HISTORY_NOT_VERIFIED", `${plural(rejected, "message")} rejected`)
      : missing > 0
        ? new DmtpError("HISTORY_INCOMPLETE", `${plural(missing, "message")} not reachable`)
        : undefined;
  return {
    data: {
      room,
      wallets: [checksummed(own), checksummed(peer)],
      messages: lines.map(({ sender, ...line }) => ({ ...line, sender: sender === null ? null : checksummed(sender) })),
    },
    text: lines.length === 0 ? `no messages with ${checksummed(peer)} yet` : lines.map(formatLine).join("\n"),
    ...(error !== undefined && { error }),
  };
}

/** @throws what opening one's own keys throws */
export async function readConversation(session: Session, room: RoomId, own: Address, opener: Opener): Promise<Line[]> {
  const { reader, content, deployment, mailbox } = session;
  const { events } = await reader.allEvents();
  const envelopes = new Map<Cid, Envelope>();
  const replayed = await rebuild(deployment, events, content, {
    keep: (cid, bytes) => {
      // Blocks of every kind pass here; only the envelopes of this room are kept.
      const envelope = tryDecode(bytes);
      if (envelope?.room === room) envelopes.set(cid, envelope);
    },
  });
  const open = await opening(session, replayed.keys, own, opener, room);
  const lines: Line[] = [];
  for (const { cid, verdict, anchorIndex } of replayed.entries(room)) {
    const envelope = envelopes.get(cid);
    const event = replayed.anchors[anchorIndex]?.event;
    const anchor = event === undefined ? null : { index: anchorIndex, blockNumber: event.blockNumber, transactionHash: event.transactionHash };
    // A rejected message is shown as rejected; what it says is nobody's word, so it is not opened.
    lines.push({ cid, verdict, anchor, ...(await readLine(envelope, verdict.status === "verified" ? open : null)) });
  }
  const known = new Set(lines.map(({ cid }) => cid));
  for (const { cid, envelope: block } of mailbox.messages(room)) {
    if (known.has(cid)) continue;
    lines.push({ cid, verdict: { status: "pending" }, anchor: null, ...(await readLine(decodeEnvelope(block), open)) });
  }
  return lines;
}

type Open = (envelope: Envelope) => Promise<Content>;

/** Opens messages of a room with whichever of one's own key versions they were made for; each version is opened once. */
async function opening(
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

function findKey(keys: KeyDirectory, wallet: Address, version: number): Parameters<typeof openKey>[2] {
  const lookup = keys.find(wallet, version, { blockNumber: Number.POSITIVE_INFINITY, logIndex: 0 });
  if (lookup.status === "unknown") throw new DmtpError("MESSAGE_UNOPENED", `${checksummed(wallet)} has no key ${version}`);
  return lookup.key;
}

async function readLine(
  envelope: Envelope | undefined,
  open: Open | null,
): Promise<Pick<Line, "sender" | "timestamp" | "text" | "type">> {
  if (envelope === undefined) return { sender: null, timestamp: null, text: null, type: null };
  const { sender, timestamp } = envelope;
  if (open === null) return { sender, timestamp, text: null, type: null };
  try {
    const content = await open(envelope);
    return { sender, timestamp, text: textOfContent(content), type: content.type };
  } catch (error) {
    // A sender can sign what does not open; that is shown, and does not stop the rest.
    if (error instanceof DmtpError && error.kind === "integrity") return { sender, timestamp, text: null, type: null };
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

function formatLine({ cid, sender, timestamp, text, verdict, anchor }: Line): string {
  const who = sender === null ? "unknown sender" : short(checksummed(sender));
  const when = timestamp === null ? "" : `  ${formatTime(timestamp)}`;
  const what = verdict.status === "rejected" ? `rejected: ${verdict.code}, ${verdict.reason}` : verdict.status;
  const where = anchor === null ? "" : `, anchor ${anchor.index}, tx ${short(anchor.transactionHash)}`;
  const body = text === null ? `(${cid} cannot be shown)` : harmless(text);
  return `${who}${when}  [${what}${where}]\n${body.replaceAll(/^/gm, "  ")}\n`;
}
