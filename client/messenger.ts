/**
 * Writing and reading as one wallet: messages are sealed here, go out through a relay, and come back from relay and indexer, each verified
 * before it is opened. No key ever leaves this process.
 */
import type { Address } from "../protocol/address.ts";
import type { Wallet } from "../protocol/binding.ts";
import type { Cid } from "../protocol/cid.ts";
import { contentOfText } from "../protocol/content.ts";
import { envelopeIn } from "../protocol/envelope.ts";
import { DmtpError } from "../protocol/error.ts";
import type { KeyEvent } from "../protocol/event.ts";
import type { KeyDirectory } from "../protocol/keys.ts";
import type { Receipt } from "../protocol/receipt.ts";
import { roomIdOf, type Deployment, type RoomId } from "../protocol/room.ts";
import type { Verdict } from "../protocol/verdict.ts";
import { openOwnKey, type OpenerSource } from "./identity.ts";
import type { IndexerClient } from "./indexer.ts";
import { MessageOpener, verifyPending, type OpenedMessage } from "./message-opener.ts";
import { MemoryOutbox, type Outbox } from "./outbox.ts";
import type { Relay, RelayedMessage } from "./relay.ts";
import { Sender, type SentMessage } from "./sender.ts";
import { verifyRoom } from "./verify.ts";
import { readKeys } from "./wallet-keys.ts";

export interface MessengerOptions {
  /** As the caller knows it; neither service is asked which one it is. */
  readonly deployment: Deployment;
  readonly wallet: Wallet;
  readonly indexer: IndexerClient;
  readonly relay: Relay;
  /** A {@link MemoryOutbox} unless given. */
  readonly outbox?: Outbox;
  /** Opens keys that the wallet did not seal. */
  readonly opener?: OpenerSource;
  /** Whether the user has accepted this very key, for which nodes alone vouch; none unless given. */
  readonly hasAccepted?: (key: KeyEvent) => boolean;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly random?: (sizeBytes: number) => Uint8Array;
}

export interface ConversationMessage extends OpenedMessage {
  readonly cid: Cid;
  /** `pending`, and its promise, are the relay's word until an anchor lists the message. */
  readonly state: "pending" | "anchored";
  /** As this client finds it: of a pending message, what it would be if it were anchored now. */
  readonly verdict: Verdict;
  readonly receipt: Receipt | null;
}

export class Messenger {
  readonly wallet: Address;
  private readonly deployment: Deployment;
  private readonly indexer: IndexerClient;
  private readonly relay: Relay;
  private readonly outbox: Outbox;
  private readonly opener: MessageOpener;
  private readonly sender: Sender;

  private constructor(
    { deployment, indexer, relay, wallet }: MessengerOptions,
    outbox: Outbox,
    opener: MessageOpener,
    sender: Sender,
  ) {
    this.wallet = wallet.address;
    this.deployment = deployment;
    this.indexer = indexer;
    this.relay = relay;
    this.outbox = outbox;
    this.opener = opener;
    this.sender = sender;
  }

  /**
   * Opens the wallet's current key by one signature, and sends what an earlier run has left in the outbox.
   * @example const messenger = await Messenger.open({ deployment, wallet, indexer, relay });
   * @throws SENDER_UNREGISTERED, SENDER_REVOKED, SEALED_KEY_UNOPENED, WALLET_SIGNATURE_WRONG, CONTENT_MISSING, INDEXER_UNREACHABLE
   */
  static async open(options: MessengerOptions): Promise<Messenger> {
    const { wallet, indexer, relay, deployment, opener: source = { wallet }, outbox = new MemoryOutbox() } = options;
    const { hasAccepted = () => false, now = Date.now, random = makeRandom } = options;
    const keys = await readKeys(indexer, deployment, [wallet.address]);
    const documents = { get: (cid: Cid) => indexer.block(cid) };
    const own = await openOwnKey(keys, deployment, documents, wallet.address, source);
    const opener = new MessageOpener(deployment, documents, source, own);
    const sender = new Sender({ deployment, indexer, relay, documents, outbox, opener, hasAccepted, now, random }, own);
    await sender.flush();
    return new Messenger(options, outbox, opener, sender);
  }

  /** Whether a message to this wallet can be sealed now. @throws INDEXER_UNREACHABLE, ANSWER_MALFORMED */
  async canMessage(receiver: Address): Promise<boolean> {
    try {
      await this.sender.findPeer(receiver);
      return true;
    } catch (error) {
      if (error instanceof DmtpError && error.code.startsWith("RECEIVER_")) return false;
      throw error;
    }
  }

  /**
   * Seals a text and brings it to the relay. What the relay can't take now stays in the outbox, and its state is `unsent`.
   * @example const { state, receipt } = await messenger.send(bob, "Hi Bob 👋");
   * @throws RECEIVER_UNREGISTERED and the other codes of a receiver's key, TEXT_EMPTY, TEXT_TOO_LONG, TEXT_NOT_UNICODE; and what the relay
   *   refuses for good: then the message is nowhere
   */
  async send(receiver: Address, text: string): Promise<SentMessage> {
    return this.sender.send(receiver, contentOfText(text));
  }

  /** {@link Sender.flush} */
  flush(): Promise<SentMessage[]> {
    return this.sender.flush();
  }

  /**
   * The conversation with a wallet: what is anchored in the order of the chain, then what is pending in the order in which it came to the
   * relay. Costs the whole room.
   * @throws ANSWER_UNTRUE when indexer or relay contradicts the blocks; INDEXER_UNREACHABLE, RELAY_UNREACHABLE
   */
  async messages(peer: Address): Promise<ConversationMessage[]> {
    const { deployment, indexer, relay, opener } = this;
    const room = this.room(peer);
    const keys = await readKeys(indexer, deployment, [this.wallet, peer]);
    // Pending first: what is anchored in between is then in both, and shown once.
    const pending: RelayedMessage[] = [];
    for await (const message of relay.pendingInRoom(room)) pending.push(message);
    const anchored = await verifyRoom(indexer, deployment, room).catch((error: unknown) => {
      if (error instanceof DmtpError && error.code === "NOT_FOUND") return null;
      throw error;
    });
    const receipts = new Map((await this.outbox.entries()).map(({ cid, receipt }) => [cid, receipt]));
    const all: ConversationMessage[] = [];
    for (const { cid, verdict, envelope } of anchored?.messages ?? []) {
      const read = await opener.read(keys, envelope, verdict.status === "verified");
      all.push({ cid, state: "anchored", verdict, receipt: receipts.get(cid) ?? null, ...read });
    }
    const known = new Set(all.filter(({ verdict }) => verdict.status !== "missing").map(({ cid }) => cid));
    for (const { cid, block, receipt } of pending) {
      if (!known.has(cid) && block !== null) all.push(await this.readPending(keys, room, cid, block, receipt));
    }
    return all;
  }

  /**
   * Messages of a conversation as they come to the relay, verified and opened, until `signal`. What came before is in {@link messages}.
   * @throws what the relay refuses for good
   */
  async *stream(peer: Address, signal: AbortSignal): AsyncGenerator<ConversationMessage> {
    const room = this.room(peer);
    const look = (): Promise<KeyDirectory> => readKeys(this.indexer, this.deployment, [this.wallet, peer]);
    let keys = await look();
    for await (const event of this.relay.live({ room, signal })) {
      if (event.name !== "message" || event.message.state !== "pending" || event.message.block === null) continue;
      const { cid, block, receipt } = event.message;
      let message = await this.readPending(keys, room, cid, block, receipt);
      if (message.verdict.status === "rejected" && message.verdict.code.endsWith("KEY_UNKNOWN")) {
        // The peer may have registered a key since.
        keys = await look();
        message = await this.readPending(keys, room, cid, block, receipt);
      }
      yield message;
    }
  }

  private room(peer: Address): RoomId {
    return roomIdOf(this.deployment, this.wallet, peer);
  }

  private async readPending(
    keys: KeyDirectory,
    room: RoomId,
    cid: Cid,
    block: Uint8Array,
    receipt: Receipt | null,
  ): Promise<ConversationMessage> {
    const verdict = verifyPending(this.deployment, keys, room, cid, block);
    const read = await this.opener.read(keys, envelopeIn(block), verdict.status === "verified");
    return { cid, state: "pending", verdict, receipt, ...read };
  }
}

function makeRandom(sizeBytes: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(sizeBytes));
}
