/** An indexer's HTTP interface, typed. For Node and browsers alike; start here. */
import type { Address } from "../protocol/address.ts";
import { verifyBlock, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { RoomId } from "../protocol/room.ts";
import {
  parseAnchor,
  parseKey,
  parseMessage,
  parsePage,
  parseRoom,
  parseRoomState,
  parseStatus,
  type AnchorAnswer,
  type KeyAnswer,
  type MessageAnswer,
  type Page,
  type RoomAnswer,
  type RoomState,
  type StatusAnswer,
} from "./answer.ts";
import { listen, type LiveEvent, type LiveOptions } from "./live.ts";
import { Members } from "./members.ts";
import { queryText, Transport, type Query, type TransportOptions } from "./transport.ts";

export interface ListOptions {
  readonly order?: "asc" | "desc";
  /** Only what this anchor and later ones list. */
  readonly since?: number;
  readonly verdict?: "verified" | "rejected" | "missing";
  /** Items a page, at most 200. */
  readonly limit?: number;
}

export interface MessagesPage extends Page<MessageAnswer> {
  readonly room: RoomState;
}

/**
 * Every method throws INDEXER_UNREACHABLE, ANSWER_MALFORMED, and the codes of the indexer's own problem documents. Lists throw
 * CURSOR_ORPHANED when a reorg takes back what their earlier items came from: they have to be read again.
 */
export class IndexerClient {
  private readonly transport: Transport;

  /** @throws CONFIGURATION_INVALID */
  constructor(url: string, options: TransportOptions = {}) {
    this.transport = new Transport(url, options);
  }

  async status(): Promise<StatusAnswer> {
    return parseStatus(await this.transport.json("/status"));
  }

  rooms(
    options: { readonly wallet?: Address; readonly since?: number; readonly limit?: number } = {},
  ): AsyncGenerator<RoomAnswer> {
    return this.items("/v1/rooms", { ...options }, (page) => parsePage(page, parseRoom));
  }

  async room(id: RoomId): Promise<RoomAnswer> {
    return parseRoom(new Members(await this.transport.json(`/v1/rooms/${id}`), "answer").get("room"));
  }

  /** @param options.blocks with their blocks, each proved to be what its CID names */
  async *messages(
    room: RoomId,
    options: ListOptions & { readonly blocks?: boolean } = {},
  ): AsyncGenerator<MessageAnswer> {
    for await (const { items } of this.messagePages(room, options)) yield* items;
  }

  /** As {@link messages}, page by page, each with what the tip has of the room at the page's height. */
  messagePages(
    room: RoomId,
    { blocks = false, ...options }: ListOptions & { readonly blocks?: boolean } = {},
  ): AsyncGenerator<MessagesPage> {
    const query = { ...options, include: blocks ? "block" : undefined };
    return this.pages(`/v1/rooms/${room}/messages`, query, (value) => {
      const page = parsePage(value, parseMessage);
      for (const message of page.items) {
        if (message.room !== room) throw new DmtpError("ANSWER_UNTRUE", "a message of another room than was asked for");
        if (message.block !== null) verifyBlock(message.cid, message.block);
      }
      return { ...page, room: parseRoomState(new Members(value, "page").get("room")) };
    });
  }

  anchors(options: ListOptions & { readonly room?: RoomId } = {}): AsyncGenerator<AnchorAnswer> {
    return this.items("/v1/anchors", { ...options }, (page) => parsePage(page, parseAnchor));
  }

  async anchor(index: number): Promise<AnchorAnswer> {
    return parseAnchor(new Members(await this.transport.json(`/v1/anchors/${index}`), "answer").get("anchor"));
  }

  /** A wallet's key versions and tombstones, in chain order. */
  keys(wallet: Address): AsyncGenerator<KeyAnswer> {
    const parse = (page: unknown): Page<KeyAnswer> => parsePage(page, (item) => parseKey(item, wallet));
    return this.items(`/v1/wallets/${wallet}/keys`, { limit: 200 }, parse);
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

  /** Live updates for as long as they are asked for; a connection that breaks is made again where it broke. */
  events(options: LiveOptions = {}): AsyncGenerator<LiveEvent> {
    return listen(this.transport, options);
  }

  private async *items<Item>(path: string, query: Query, parse: (page: unknown) => Page<Item>): AsyncGenerator<Item> {
    for await (const { items } of this.pages(path, query, parse)) yield* items;
  }

  private async *pages<P extends Page<unknown>>(
    path: string,
    query: Query,
    parse: (page: unknown) => P,
  ): AsyncGenerator<P> {
    for (let cursor: string | undefined; ;) {
      const page = parse(await this.transport.json(path + queryText({ ...query, cursor })));
      yield page;
      if (page.next === null) return;
      // One that leads nowhere would be followed for ever.
      if (page.next === cursor) throw new DmtpError("ANSWER_MALFORMED", "a cursor that leads to itself");
      cursor = page.next;
    }
  }
}
