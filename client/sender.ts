/** Messages of one wallet on their way out: sealed, kept in the outbox, and brought to the relay until it has acknowledged them. */
import type { Address } from "../protocol/address.ts";
import { compare } from "../protocol/bytes.ts";
import { digestOfCid, type Cid } from "../protocol/cid.ts";
import type { Content } from "../protocol/content.ts";
import { decodeEnvelope, MAX_SEEN, type Envelope } from "../protocol/envelope.ts";
import { DmtpError, toDmtpError, type ErrorCode } from "../protocol/error.ts";
import type { KeyEvent } from "../protocol/event.ts";
import type { Party } from "../protocol/message.ts";
import type { Receipt } from "../protocol/receipt.ts";
import { roomIdOf, type Deployment, type RoomId } from "../protocol/room.ts";
import { composeMessages, type ComposedMessage, type NextNumber } from "./compose.ts";
import { findReceiver, findUnsigned, type DocumentSource, type OpenedKey } from "./identity.ts";
import type { IndexerClient } from "./indexer.ts";
import type { MessageOpener } from "./message-opener.ts";
import type { Outbox, OutboxEntry } from "./outbox.ts";
import { readNext, type Relay } from "./relay.ts";
import { readKeys } from "./wallet-keys.ts";

/** `unsent`: kept in the outbox, and sent by the next {@link Sender.flush}; the others as the relay says. */
export interface SentMessage {
  readonly cid: Cid;
  readonly state: "unsent" | "pending" | "anchored" | "final" | "rejected";
  /** Checked; null while unsent, and from a relay that promises nothing. */
  readonly receipt: Receipt | null;
  /** Why it could not be sent yet, or what is wrong with the receipt that the relay gave. */
  readonly problem: DmtpError | null;
}

export interface SenderOptions {
  readonly deployment: Deployment;
  readonly indexer: IndexerClient;
  readonly relay: Relay;
  /** Of key documents. */
  readonly documents: DocumentSource;
  readonly outbox: Outbox;
  /** Opens one's own messages, which may have to be sealed anew. */
  readonly opener: MessageOpener;
  /** Whether the user has accepted this very key, for which nodes alone vouch. */
  readonly hasAccepted: (key: KeyEvent) => boolean;
  readonly now: () => number;
  readonly random: (sizeBytes: number) => Uint8Array;
}

/** How often a message is sealed anew because another device took its number. */
const MAX_SEALS = 8;

export class Sender {
  private readonly options: SenderOptions;
  private readonly own: OpenedKey;
  /** Sends go out one after the other: two at once would take one number. */
  private line: Promise<unknown> = Promise.resolve();

  constructor(options: SenderOptions, own: OpenedKey) {
    this.options = options;
    this.own = own;
  }

  /**
   * Seals a message and brings it to the relay. What the relay can't take now stays in the outbox.
   * @throws the codes of a receiver's key, and what the relay refuses for good: then the message is nowhere
   */
  send(receiver: Address, content: Content): Promise<SentMessage> {
    return this.inLine(async () => {
      const peer = await this.findPeer(receiver);
      return this.bring(await this.seal(peer, content, null), null);
    });
  }

  /**
   * Sends what is unsent, and what the relay has lost, by the bytes that it was sealed as; forgets what relay and indexer call final.
   * @returns the messages that are not final, in the order in which they were written; `problem` says what is wrong with one
   */
  flush(): Promise<SentMessage[]> {
    return this.inLine(async () => {
      const sent: SentMessage[] = [];
      for (const entry of await this.options.outbox.entries()) {
        // One that can't be sent must not keep the others, nor the conversation, from their user.
        const message = await this.resend(entry).catch((error: unknown) => describeFailure(entry, error));
        if (message.state !== "final" || !(await this.isFinal(message.cid))) sent.push(message);
        else await this.options.outbox.remove(message.cid);
      }
      return sent;
    });
  }

  /**
   * The receiver's key, after every check that a sender owes.
   * @throws RECEIVER_ZERO, RECEIVER_IS_SENDER, RECEIVER_UNREGISTERED, RECEIVER_REVOKED, RECEIVER_KEY_INVALID, RECEIVER_KEY_UNSIGNED,
   *   CONTENT_MISSING
   */
  async findPeer(receiver: Address): Promise<Party> {
    const { deployment, indexer, documents, hasAccepted } = this.options;
    const keys = await readKeys(indexer, deployment, [receiver]);
    const peer = await findReceiver(keys, deployment, documents, this.own.party.wallet, receiver);
    findUnsigned(keys, [receiver], hasAccepted, []);
    return peer;
  }

  private inLine<T>(work: () => Promise<T>): Promise<T> {
    const next = this.line.then(work, work);
    this.line = next.catch(() => undefined);
    return next;
  }

  /** @param told what the relay has said of the next number, where it has; it is asked otherwise */
  private async seal(peer: Party, content: Content, told: NextNumber | null): Promise<ComposedMessage> {
    const { deployment, now, random } = this.options;
    const next = await this.findNext(peer.wallet, told);
    const drafts = [{ to: peer.wallet, content }];
    const peers = new Map([[peer.wallet, peer]]);
    const [message] = composeMessages(deployment, this.own, peers, drafts, { next: () => next, now, random });
    if (message === undefined) throw new DmtpError("INTERNAL", "a draft that became no message");
    return message;
  }

  /** What relay and outbox know together: a relay that was restored from a backup knows less, and one that is away nothing. */
  private async findNext(peer: Address, told: NextNumber | null): Promise<NextNumber> {
    const { wallet, version } = this.own.party;
    const room = roomIdOf(this.options.deployment, wallet, peer);
    const own = (await this.options.outbox.entries())
      .map(({ cid, block }) => ({ cid, envelope: decodeEnvelope(block) }))
      .filter(({ envelope }) => envelope.room === room && envelope.senderKeyVersion === version);
    const known = told ?? (await this.askNext(room));
    const lastSeq = Math.max(0, ...own.map(({ envelope }) => envelope.seq));
    // What another device sent in between has the higher number, whatever lies in the outbox.
    if (known !== null && (told !== null || known.seq > lastSeq)) return known;
    const last = own.find(({ envelope }) => envelope.seq === lastSeq);
    const seen = [...(known?.seen ?? []), ...(last === undefined ? [] : [digestOfCid(last.cid)])];
    return { seq: lastSeq + 1, seen: sortUnique(seen).slice(-MAX_SEEN) };
  }

  /** By the indexer, which is not the relay: the relay's word alone is no reason to forget the bytes and its promise. */
  private async isFinal(cid: Cid): Promise<boolean> {
    try {
      return await this.options.indexer.isFinal(cid);
    } catch (error) {
      if (error instanceof DmtpError) return false;
      throw error;
    }
  }

  /** Null while the relay can't be asked: then the outbox alone knows. */
  private async askNext(room: RoomId): Promise<NextNumber | null> {
    const { wallet, version } = this.own.party;
    try {
      return await this.options.relay.findNext(room, wallet, version);
    } catch (error) {
      if (error instanceof DmtpError && error.kind === "unavailable") return null;
      throw error;
    }
  }

  /**
   * @param before the entry that this message takes the place of
   * @param promised the first promise that the relay gave for it: a later one must not take its place
   */
  private async bring(
    first: ComposedMessage,
    before: Cid | null,
    promised: Receipt | null = null,
  ): Promise<SentMessage> {
    const { outbox } = this.options;
    let message = first;
    let replaced = before;
    for (let seals = 1; ; seals++) {
      const { cid, block } = message;
      const entry = { cid, block, receipt: cid === first.cid ? promised : null };
      // A crash before this: nothing was sent. After: the next flush sends these very bytes.
      if (replaced === null) await outbox.put(entry);
      else if (replaced !== cid) await outbox.replace(replaced, entry);
      replaced = cid;
      const sent = await this.offer(entry);
      if (sent.problem?.code !== "SEQ_TAKEN" || seals === MAX_SEALS || entry.receipt !== null) return sent;
      try {
        message = await this.sealAnew(message.envelope, sent.problem);
      } catch (why) {
        return { ...sent, problem: toDmtpError(why) };
      }
    }
  }

  /** Gives a message of the outbox to the relay; what that refuses for good leaves the outbox. */
  private async offer(entry: OutboxEntry): Promise<SentMessage> {
    const { outbox, relay } = this.options;
    const { cid, block } = entry;
    try {
      const { state, receipt: given, receiptProblem } = await relay.put(cid, block);
      const receipt = entry.receipt ?? given;
      await outbox.put({ ...entry, receipt });
      return { cid, state, receipt, problem: receiptProblem };
    } catch (error) {
      if (!(error instanceof DmtpError)) throw error;
      if (!isFinalRefusal(error)) return { cid, state: "unsent", receipt: entry.receipt, problem: error };
      await outbox.remove(cid);
      throw error;
    }
  }

  /** The same content under another number: another device of this wallet has taken the first. */
  private async sealAnew(envelope: Envelope, error: DmtpError): Promise<ComposedMessage> {
    const { deployment, indexer, opener } = this.options;
    const next = readNext(error.members);
    const peer = await this.findPeer(envelope.receiver);
    const keys = await readKeys(indexer, deployment, [envelope.sender, envelope.receiver]);
    // Each key version counts its own messages: what is said of an older one is no number of this one.
    const isOfThisKey = envelope.senderKeyVersion === this.own.party.version;
    return this.seal(peer, await opener.open(keys, envelope), isOfThisKey ? next : null);
  }

  private async resend({ cid, block, receipt }: OutboxEntry): Promise<SentMessage> {
    const { relay } = this.options;
    try {
      const known = receipt === null ? null : await relay.message(cid);
      if (known !== null) return { cid, state: known.state, receipt, problem: known.receiptProblem };
    } catch (error) {
      if (!(error instanceof DmtpError) || error.kind !== "unavailable") throw error;
      return { cid, state: receipt === null ? "unsent" : "pending", receipt, problem: error };
    }
    // Unsent; or the relay, which acknowledged it, does not have it any more.
    return this.bring({ cid, block, envelope: decodeEnvelope(block) }, cid, receipt);
  }
}

/** What a relay says of a message that will never be taken, whoever is asked and whenever. */
const FINAL_REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "POLICY_REFUSED",
  "BODY_TOO_LARGE",
  "BLOCK_TOO_LARGE",
  "BLOCK_NOT_CANONICAL",
  "VERSION_UNSUPPORTED",
  "SUITE_UNSUPPORTED",
  "ENVELOPE_MALFORMED",
  "SELF_ADDRESSED",
  "ROOM_MISMATCH",
  "KEY_REJECTED",
  "KEY_REVOKED",
  "SIGNATURE_INVALID",
]);

/** Only a problem document has members: what went wrong here, or on the way, says nothing about the message. */
function isFinalRefusal({ code, members }: DmtpError): boolean {
  return members !== undefined && FINAL_REFUSALS.has(code);
}

function describeFailure({ cid, receipt }: OutboxEntry, error: unknown): SentMessage {
  const problem = toDmtpError(error);
  return { cid, state: isFinalRefusal(problem) ? "rejected" : "unsent", receipt, problem };
}

function sortUnique(digests: readonly Uint8Array[]): Uint8Array[] {
  const sorted = [...digests].sort(compare);
  return sorted.filter((digest, i) => i === 0 || compare(digest, sorted[i - 1] ?? digest) !== 0);
}
