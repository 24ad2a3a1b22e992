/** The same conversation seen two ways: as the indexer serves it, and as chain and blocks alone give it. */
import { IndexerClient } from "../client/indexer.ts";
import { verifyRoom } from "../client/verify.ts";
import { walletOf } from "../io/chain/transactions/writer.ts";
import type { Address } from "../protocol/address.ts";
import { textOfContent } from "../protocol/content.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";
import { roomIdOf } from "../protocol/room.ts";
import { audit } from "../tasks/audit.ts";
import { openConversation, readConversation } from "../tasks/conversation.ts";
import type { Session } from "../tasks/session.ts";
import { harmless } from "../io/harmless.ts";
import { formatTime, short } from "../tasks/terminal.ts";

/** One message as somebody's wallet reads it. */
export interface ViewedMessage {
  readonly cid: string;
  readonly sender: string;
  readonly timestamp: number;
  readonly text: string | null;
  readonly verdict: string;
  readonly anchorIndex: number;
  readonly transactionHash: string;
}

export interface View {
  /** The state root over all rooms, and this room's own: 0x-hex. */
  readonly state: string;
  readonly roomRoot: string;
  readonly messages: readonly ViewedMessage[];
}

const PREVIEW_CHARACTERS = 280;

/** The room over HTTP, a page after the other; its blocks are hashed, then opened with the wallet's key, and the room verified. */
export async function readIndexerView(url: string, session: Session, own: Address, peer: Address): Promise<View> {
  const room = roomIdOf(session.deployment, own, peer);
  const { signer } = await session.signer(own);
  const keys = await session.readKeys(own, peer);
  const { open } = await openConversation(session, keys, own, { wallet: await walletOf(signer) }, room);
  const indexer = new IndexerClient(url);
  const messages: ViewedMessage[] = [];
  for await (const message of indexer.messages(room, { limit: 3, blocks: true })) {
    if (message.block === null) throw new Error(`the indexer does not have ${message.cid}`);
    const { cid, verdict, anchorIndex, transactionHash } = message;
    const envelope = decodeEnvelope(message.block);
    const text = textOfContent(await open(envelope));
    const { sender, timestamp } = envelope;
    messages.push({ cid, sender, timestamp, text, verdict: verdict.status, anchorIndex, transactionHash });
  }
  const { stateRoot } = await indexer.status();
  const { state } = await verifyRoom(indexer, session.deployment, room);
  return { state: stateRoot, roomRoot: state?.root ?? "", messages };
}

/** The room from chain and blocks, by the code that `audit` and `history` run. */
export async function readChainView(session: Session, own: Address, peer: Address): Promise<View> {
  const room = roomIdOf(session.deployment, own, peer);
  const { signer } = await session.signer(own);
  const { data, error } = await audit(session, room);
  if (error !== undefined) throw error;
  const { state, rooms } = data as { readonly state: string; readonly rooms: readonly { readonly root: string }[] };
  const { lines } = await readConversation(session, room, own, { wallet: await walletOf(signer) });
  const messages = lines.map(({ cid, sender, timestamp, text, verdict, anchor }) => ({
    cid,
    sender: sender ?? "",
    timestamp: timestamp ?? 0,
    text,
    verdict: verdict.status,
    anchorIndex: anchor?.index ?? -1,
    transactionHash: anchor?.transactionHash ?? "",
  }));
  return { state, roomRoot: rooms[0]?.root ?? "", messages };
}

/** Everything in which the two views differ from each other or from what was sent; empty when all is well. */
export function compareViews(served: View, rebuilt: View, sent: readonly string[]): string[] {
  const problems: string[] = [];
  if (served.state !== rebuilt.state) problems.push("the state roots differ");
  if (served.roomRoot !== rebuilt.roomRoot) problems.push("the room roots differ");
  if (JSON.stringify(served.messages) !== JSON.stringify(rebuilt.messages)) problems.push("the messages differ");
  for (const { cid, verdict } of [...served.messages, ...rebuilt.messages]) {
    if (verdict !== "verified") problems.push(`${cid} is ${verdict}`);
  }
  if (JSON.stringify(rebuilt.messages.map(({ text }) => text)) !== JSON.stringify(sent)) {
    problems.push("what was read is not what was written");
  }
  return problems;
}

/** Who, when, what, and what is known about it. */
export function formatConversation({ messages }: View, names: ReadonlyMap<string, string>): string {
  const lines = messages.map(({ sender, timestamp, text, verdict, anchorIndex, transactionHash }) => {
    const head = `${names.get(sender) ?? short(sender)}, ${formatTime(timestamp)}`;
    const body = text === null ? "(no text)" : preview(text);
    const proof = `${verdict}, anchor ${anchorIndex}, transaction ${short(transactionHash)}`;
    return `\n  ${head}\n${body.replaceAll(/^/gm, "  │ ")}\n  └ ${proof}`;
  });
  return lines.join("\n") + "\n";
}

function preview(text: string): string {
  if (text.length <= PREVIEW_CHARACTERS) return harmless(text);
  const size = new TextEncoder().encode(text).length;
  return `${harmless(text.slice(0, PREVIEW_CHARACTERS / 4))}… (${size.toLocaleString("en")} bytes in all)`;
}
