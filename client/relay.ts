/** A relay's HTTP interface, typed: messages in, and what becomes of them. For Node and browsers alike. */
import type { Address } from "../protocol/address.ts";
import { fromBase64, fromHex, type Hex } from "../protocol/bytes.ts";
import { verifyBlock, type Cid } from "../protocol/cid.ts";
import { DmtpError, toDmtpError } from "../protocol/error.ts";
import { checkReceipt, isKeyAuthorized, type Receipt, type RelayKey } from "../protocol/receipt.ts";
import { isSameDeployment, type Deployment, type RoomId } from "../protocol/room.ts";
import { parseAnswer } from "./api/check.ts";
import {
  nextSchema,
  pendingPageSchema,
  relayedAnswerSchema,
  relayEventSchemas,
  relaySchema,
  takenSchema,
  toReceipt,
  type RelayAnswer,
  type RelayedMessageAnswer,
} from "./api/relay.ts";
import type { Height } from "./api/values.ts";
import type { NextNumber } from "./compose.ts";
import { follow, parseJson, type FollowOptions } from "./live.ts";
import { readPages } from "./pages.ts";
import { queryText, RELAY, Transport, type TransportOptions } from "./transport.ts";

/** A message as a relay tells of it; its block is what the CID names. */
export interface RelayedMessage extends Omit<RelayedMessageAnswer, "receipt" | "block"> {
  /** Checked; null where the relay gave none, or one that is not right. */
  readonly receipt: Receipt | null;
  /** What is wrong with the receipt that it gave. */
  readonly receiptProblem: DmtpError | null;
  /** The envelope's bytes, where they were told. */
  readonly block: Uint8Array | null;
}

export type RelayEvent =
  | { readonly id: string; readonly name: "message"; readonly message: RelayedMessage }
  | { readonly id: string; readonly name: "height"; readonly at: Height; readonly finalized: number | null }
  /** The id to begin at is not known: what is pending has to be read again. */
  | { readonly id: string; readonly name: "reset"; readonly reason: string };

export class Relay {
  readonly deployment: Deployment;
  /** The key that promises; null where the relay promises nothing. */
  readonly key: RelayKey | null;
  private readonly transport: Transport;

  private constructor(transport: Transport, deployment: Deployment, key: RelayKey | null) {
    this.transport = transport;
    this.deployment = deployment;
    this.key = key;
  }

  /**
   * Asks a relay what it is.
   * @param deployment the one that is meant; a relay of another is refused
   * @param authorities CIDStore's owner and anchorer, where they are known: one of them must have said that the relay's key may promise
   * @example const relay = await Relay.open("https://relay.example", deployment);
   * @throws RELAY_UNREACHABLE, ANSWER_MALFORMED; ANSWER_UNTRUE for another deployment, or a key that nobody authorised
   */
  static async open(
    url: string,
    deployment: Deployment,
    { authorities, ...options }: TransportOptions & { readonly authorities?: readonly Address[] } = {},
  ): Promise<Relay> {
    const transport = new Transport(RELAY, url, options);
    const info = parseAnswer(relaySchema, await transport.json("/v1/relay"), "answer");
    if (!isSameDeployment(info.deployment, deployment)) {
      throw new DmtpError("ANSWER_UNTRUE", "the relay is of another deployment");
    }
    return new Relay(transport, deployment, checkKey(deployment, info, authorities));
  }

  /** What the relay says of itself now. */
  async info(): Promise<RelayAnswer> {
    return parseAnswer(relaySchema, await this.transport.json("/v1/relay"), "answer");
  }

  /**
   * Brings a message. Bringing it again is safe: it counts once.
   * @throws SEQ_TAKEN (see {@link findNext}); LIMIT_REACHED and others of kind `unavailable`: the same again later; the codes of SPEC 9.3
   *   for a message that will never be taken
   */
  async put(cid: Cid, block: Uint8Array): Promise<RelayedMessage> {
    const answer = await this.transport.json(`/v1/envelopes/${cid}`, {
      method: "PUT",
      headers: { "Content-Type": "application/vnd.ipld.dag-cbor" },
      body: block as Uint8Array<ArrayBuffer>,
    });
    const message = this.read(parseAnswer(takenSchema, answer, "answer").message);
    if (message.cid !== cid) throw new DmtpError("ANSWER_UNTRUE", "the relay took another message");
    return message;
  }

  /** What has become of a message; null when the relay does not have it. */
  async message(cid: Cid): Promise<RelayedMessage | null> {
    try {
      const answer = await this.transport.json(`/v1/envelopes/${cid}`);
      return this.read(parseAnswer(relayedAnswerSchema, answer, "answer").message);
    } catch (error) {
      if (error instanceof DmtpError && error.code === "NOT_FOUND") return null;
      throw error;
    }
  }

  /** The number of a sender's next message in a room, and what it names as seen: as the relay knows it. */
  async findNext(room: RoomId, sender: Address, version: number): Promise<NextNumber> {
    return readNext(await this.transport.json(`/v1/rooms/${room}/next${queryText({ sender, version })}`));
  }

  /** The messages of a room that no anchor lists yet, oldest first. */
  pendingInRoom(room: RoomId): AsyncGenerator<RelayedMessage> {
    return this.pending(`/v1/rooms/${room}/pending`);
  }

  /** The messages from or to a wallet that no anchor lists yet, oldest first. */
  pendingOfWallet(wallet: Address): AsyncGenerator<RelayedMessage> {
    return this.pending(`/v1/wallets/${wallet}/pending`);
  }

  /** Live updates for as long as they are asked for; a connection that breaks is made again where it broke. */
  live(
    options: FollowOptions & { readonly room?: RoomId; readonly wallet?: Address } = {},
  ): AsyncGenerator<RelayEvent> {
    const { room, wallet, ...rest } = options;
    const parse = (name: string, data: string, id: string): RelayEvent | null => this.parseEvent(name, data, id);
    return follow(this.transport, `/v1/live${queryText({ room, wallet })}`, parse, rest);
  }

  private async *pending(path: string): AsyncGenerator<RelayedMessage> {
    for await (const { items } of readPages(this.transport, path, {}, pendingPageSchema)) {
      for (const item of items) yield this.read(item);
    }
  }

  private parseEvent(name: string, data: string, id: string): RelayEvent | null {
    switch (name) {
      case "message":
        return { id, name, message: this.read(parseAnswer(relayEventSchemas.message, parseJson(data), name)) };
      case "height":
        return { ...parseAnswer(relayEventSchemas.height, parseJson(data), name), id, name };
      case "reset":
        return { ...parseAnswer(relayEventSchemas.reset, parseJson(data), name), id, name };
      default:
        return null;
    }
  }

  /** What is wrong with a receipt: that one is must not hide the conversation that it is in. */
  private examine(receipt: Receipt): DmtpError | null {
    if (this.key === null) return new DmtpError("RECEIPT_INVALID", "a receipt of a relay without a key");
    try {
      checkReceipt(this.deployment, receipt.cid, receipt, this.key);
      return null;
    } catch (error) {
      return toDmtpError(error);
    }
  }

  /** @throws BLOCK_HASH_MISMATCH, BLOCK_TOO_LARGE */
  private read({ receipt: told, block = null, ...message }: RelayedMessageAnswer): RelayedMessage {
    const { cid } = message;
    const receipt = told === null ? null : toReceipt(cid, told);
    const receiptProblem = receipt === null ? null : this.examine(receipt);
    return {
      ...message,
      receipt: receiptProblem === null ? receipt : null,
      receiptProblem,
      block: block === null ? null : verifyBlock(cid, fromBase64(block)),
    };
  }
}

/** What a SEQ_TAKEN error tells, and what the relay answers when it is asked. @throws ANSWER_MALFORMED */
export function readNext(value: unknown): NextNumber {
  const { seq, heads } = parseAnswer(nextSchema, value, "answer");
  return { seq, seen: heads.map((digest: Hex) => fromHex(digest)) };
}

function checkKey(
  deployment: Deployment,
  { promise }: RelayAnswer,
  authorities: readonly Address[] | undefined,
): RelayKey | null {
  if (promise.key === null) return null;
  const { authority, signature, ...key } = promise.key;
  const isKnown = authorities === undefined || authorities.includes(authority);
  if (!isKnown || !isKeyAuthorized(deployment, key, fromHex(signature), authority)) {
    throw new DmtpError("ANSWER_UNTRUE", "the relay's key is not authorised by CIDStore's owner or anchorer");
  }
  return key;
}
