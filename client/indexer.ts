/** An indexer's HTTP interface, typed. For Node and browsers alike. */
import type { Address } from "../protocol/address.ts";
import { fromBase64 } from "../protocol/bytes.ts";
import { verifyBlock, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { RoomId } from "../protocol/room.ts";
import {
  anchorAnswerSchema,
  anchorsPageSchema,
  keysPageSchema,
  type AnchorAnswer,
  type AnchorDetailAnswer,
} from "./api/chain.ts";
import { parseAnswer } from "./api/check.ts";
import {
  messagesPageSchema,
  messageAnswerSchema,
  roomAnswerSchema,
  roomsPageSchema,
  type MessageAnswer,
  type RoomAnswer,
  type RoomDetailAnswer,
  type RoomState,
} from "./api/rooms.ts";
import type { AnySchema, Schema, Value } from "./api/schema.ts";
import { statusSchema, type StatusAnswer } from "./api/service.ts";
import type { Page } from "./api/values.ts";
import { MAX_PAGES, readPages } from "./pages.ts";
import { listen, type LiveEvent, type LiveOptions } from "./live.ts";
import { INDEXER, Transport, type Query, type TransportOptions } from "./transport.ts";
import { toWalletKey, type WalletKey } from "./wallet-key.ts";

export interface ClientOptions extends TransportOptions {
  /** The most pages of a list that are followed: an indexer can invent any number of them. */
  readonly maxPages?: number;
}

export interface ListOptions {
  readonly order?: "asc" | "desc";
  /** Only what this anchor and later ones list. */
  readonly since?: number;
  readonly verdict?: "verified" | "rejected" | "missing";
  /** Items a page, at most 200. */
  readonly limit?: number;
}

export type ListedMessage = Omit<MessageAnswer, "block"> & {
  /** Null while missing, and when it was not asked for. */
  readonly block: Uint8Array | null;
};

export interface MessagesPage extends Page<ListedMessage> {
  readonly room: RoomState;
}

/**
 * @example
 * const indexer = new IndexerClient("http://127.0.0.1:4680");
 * for await (const { cid, verdict, accounted } of indexer.messages(room)) console.log(cid, verdict.status, accounted);
 *
 * Every method throws INDEXER_UNREACHABLE, ANSWER_MALFORMED, and the codes of the indexer's own problem documents. Lists throw
 * CURSOR_ORPHANED when a reorg takes back what their earlier items came from: they have to be read again.
 */
export class IndexerClient {
  private readonly transport: Transport;
  private readonly maxPages: number;

  /** @throws CONFIGURATION_INVALID */
  constructor(url: string, options: ClientOptions = {}) {
    this.transport = new Transport(INDEXER, url, options);
    this.maxPages = options.maxPages ?? MAX_PAGES;
  }

  async status(): Promise<StatusAnswer> {
    return this.get("/status", statusSchema);
  }

  rooms(
    options: { readonly wallet?: Address; readonly since?: number; readonly limit?: number } = {},
  ): AsyncGenerator<RoomAnswer> {
    return this.items("/v1/rooms", { ...options }, roomsPageSchema);
  }

  async room(id: RoomId): Promise<RoomDetailAnswer> {
    const { room } = await this.get(`/v1/rooms/${id}`, roomAnswerSchema);
    return room;
  }

  /** @param options.blocks with their blocks, each proved to be what its CID names */
  async *messages(
    room: RoomId,
    options: ListOptions & { readonly blocks?: boolean } = {},
  ): AsyncGenerator<ListedMessage> {
    for await (const { items } of this.messagePages(room, options)) yield* items;
  }

  /** As {@link messages}, page by page, each with what the tip has of the room at the page's height. */
  async *messagePages(
    room: RoomId,
    { blocks = false, ...options }: ListOptions & { readonly blocks?: boolean } = {},
  ): AsyncGenerator<MessagesPage> {
    const query = { ...options, include: blocks ? "block" : undefined };
    for await (const page of this.pages(`/v1/rooms/${room}/messages`, query, messagesPageSchema)) {
      yield { ...page, items: page.items.map((message) => readListed(message, room)) };
    }
  }

  /** Whether the indexer says that a message is verified, at a place that is final. */
  async isFinal(cid: Cid): Promise<boolean> {
    try {
      const { message } = await this.get(`/v1/messages/${cid}`, messageAnswerSchema);
      return message.cid === cid && message.verdict.status === "verified" && message.final;
    } catch (error) {
      if (error instanceof DmtpError && error.code === "NOT_FOUND") return false;
      throw error;
    }
  }

  anchors(options: ListOptions & { readonly room?: RoomId } = {}): AsyncGenerator<AnchorAnswer> {
    return this.items("/v1/anchors", { ...options }, anchorsPageSchema);
  }

  async anchor(index: number): Promise<AnchorDetailAnswer> {
    const { anchor } = await this.get(`/v1/anchors/${index}`, anchorAnswerSchema);
    return anchor;
  }

  /** A wallet's key versions and tombstones, in chain order. */
  async *keys(wallet: Address): AsyncGenerator<WalletKey> {
    const keys = this.items(`/v1/wallets/${wallet}/keys`, { limit: 200 }, keysPageSchema);
    for await (const key of keys) yield toWalletKey(key, wallet);
  }

  /**
   * A block, proved to be what its CID names; null when the indexer does not have it.
   * @throws BLOCK_HASH_MISMATCH, BLOCK_TOO_LARGE
   */
  async block(cid: Cid): Promise<Uint8Array | null> {
    try {
      return verifyBlock(cid, await this.transport.bytes(`/v1/blocks/${cid}`));
    } catch (error) {
      if (error instanceof DmtpError && (error.code === "NOT_FOUND" || error.code === "CONTENT_MISSING")) return null;
      throw error;
    }
  }

  /**
   * Live updates for as long as they are asked for; a connection that breaks is made again where it broke.
   * @example
   * for await (const event of indexer.events({ room })) if (event.name === "message") show(event.message);
   */
  events(options: LiveOptions = {}): AsyncGenerator<LiveEvent> {
    return listen(this.transport, options);
  }

  private async get<S extends AnySchema>(path: string, schema: S): Promise<Value<S>> {
    return parseAnswer(schema, await this.transport.json(path), "answer");
  }

  private async *items<Item>(path: string, query: Query, schema: Schema<Page<Item>, unknown>): AsyncGenerator<Item> {
    for await (const { items } of this.pages(path, query, schema)) yield* items;
  }

  private pages<P extends Page<unknown>>(path: string, query: Query, schema: Schema<P, unknown>): AsyncGenerator<P> {
    return readPages(this.transport, path, query, schema, this.maxPages);
  }
}

/** @throws ANSWER_UNTRUE, BLOCK_HASH_MISMATCH, BLOCK_TOO_LARGE */
function readListed({ block = null, ...message }: MessageAnswer, room: RoomId): ListedMessage {
  if (message.room !== room) throw new DmtpError("ANSWER_UNTRUE", "a message of another room than was asked for");
  return { ...message, block: block === null ? null : verifyBlock(message.cid, fromBase64(block)) };
}
