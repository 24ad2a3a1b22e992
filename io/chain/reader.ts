/** What the chain says: heads, counts and events of one deployment, as far as all given nodes agree, and proved complete. */
import type { Address } from "../../protocol/address.ts";
import { equal, fromHex, type Hex } from "../../protocol/bytes.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { AnchorEvent, ChainEvent, RegistryEvent } from "../../protocol/event.ts";
import type { Deployment } from "../../protocol/room.ts";
import { agree, askAll } from "./agreement/unanimity.ts";
import { parseBigQuantity, parseCount, parseHash, parseLogs, type Block } from "./rpc/parsed-answer.ts";
import { callViews, logsCall, quantityOf, topicOfArgument, type LogFilter, type View } from "./rpc/contract-view.ts";
import { isSameChain, readIdentity, type ChainIdentity } from "./agreement/chain-identity.ts";
import type { Contracts } from "./agreement/contract-check.ts";
import { cidStoreInterface, entryInterface, keyRegistryInterface } from "./contracts.ts";
import { entryOf, type StoredEntry } from "./events/stored-entry.ts";
import { decodeLog, TOPICS } from "./events/event-decoder.ts";
import { ChainHeads, type ChainHead } from "./agreement/chain-head.ts";
import { LogRange, readRanges } from "./events/log-range.ts";
import type { Rpc } from "./rpc/rpc.ts";
import { checkComplete, checkHead, orderEvents, type EventCounts } from "./events/event-sequence.ts";
import { readWhole } from "./agreement/agreed-range.ts";
import { readStretch } from "./events/block-range.ts";
import { Endpoint } from "./rpc/endpoint.ts";
import { readWalletHistory } from "./events/wallet-events.ts";

/** What was logged since, and CIDStore's head after it, 32 bytes. */
export interface NewEvents {
  readonly events: ChainEvent[];
  readonly anchorHead: Hex;
}

export interface ReaderOptions {
  /** How deep a block lies when it counts as final, on a chain without a `finalized` tag. */
  readonly finalityDepth?: number;
  readonly pause?: (ms: number) => Promise<void>;
}

const ATTEMPTS = 4;
const PAUSE_MS = 500;

export class ChainReader {
  readonly identity: ChainIdentity;
  private readonly rpcs: readonly Rpc[];
  private readonly endpoints: ReadonlyMap<Rpc, Endpoint>;
  private readonly heads: ChainHeads;
  private readonly pause: (ms: number) => Promise<void>;

  private constructor(rpcs: readonly Rpc[], identity: ChainIdentity, options: ReaderOptions) {
    this.rpcs = rpcs;
    this.identity = identity;
    this.endpoints = new Map(rpcs.map((rpc) => [rpc, new Endpoint(rpc)]));
    this.pause = options.pause ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms)));
    this.heads = new ChainHeads(rpcs, this.pause, options.finalityDepth);
  }

  get deployment(): Deployment {
    return this.identity.deployment;
  }

  /** No event of either contract lies before this block. */
  get startBlock(): number {
    return this.identity.startBlock;
  }

  /** How many nodes have to agree on whatever is read. */
  get nodeCount(): number {
    return this.rpcs.length;
  }

  /**
   * Checks chain id and contracts at every node.
   * @throws CHAIN_UNREACHABLE, CHAIN_ID_WRONG, CHAIN_DISAGREES, CONTRACT_MISSING, CONTRACT_WRONG
   */
  static async open(
    rpcs: readonly Rpc[],
    contracts: Contracts,
    expectedChainId?: number,
    options: ReaderOptions = {},
  ): Promise<ChainReader> {
    const found = await Promise.all(rpcs.map((rpc) => readIdentity(rpc, contracts, expectedChainId)));
    const [identity] = found;
    if (identity === undefined) throw new DmtpError("CONFIGURATION_INVALID", "no RPC URL is given");
    const other = found.findIndex((own) => !isSameChain(identity, own));
    if (other > 0) {
      throw new DmtpError("CHAIN_DISAGREES", `${rpcs[0]?.name ?? ""} and ${rpcs[other]?.name ?? ""} serve two chains`);
    }
    return new ChainReader(rpcs, identity, options);
  }

  /** The newest block that all nodes have. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  head(): Promise<ChainHead> {
    return this.retried(() => this.heads.read());
  }

  /** Null when the chain is not that long. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  block(number: number): Promise<Block | null> {
    return this.heads.block(number);
  }

  /** How many events there are at the end of a block; the nodes must still have its state. */
  async counts(blockNumber: number): Promise<EventCounts> {
    return (await this.totals(blockNumber)).counts;
  }

  /**
   * CIDStore's count and head, 32 bytes, zero when it is empty; at the newest block unless another is given.
   * @throws CHAIN_DISAGREES when the last entry is not what the head is the digest of
   */
  entryHead(
    blockNumber?: number,
  ): Promise<{ readonly count: number; readonly head: Uint8Array; readonly at: ChainHead }> {
    return this.retried(async () => {
      const at = await this.headAt(blockNumber);
      const view = { to: this.deployment.cidStore, contract: cidStoreInterface };
      const views = ["count", "head"].map((name) => ({ ...view, name }));
      const [counted, digest] = await this.views(views, at.block.number);
      const count = parseCount(counted);
      const head = fromHex(String(digest), 32);
      const [last] = count === 0 ? [] : await this.entries(count - 1, 1, at.block.number);
      if (!equal(head, last?.head ?? new Uint8Array(32)))
        throw new DmtpError("CHAIN_DISAGREES", `CIDStore's head is not its entry ${count - 1}`);
      return { count, head, at };
    });
  }

  /** CIDStore's entries from `index` on, at the end of a block. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  async entries(index: number, count: number, blockNumber: number): Promise<StoredEntry[]> {
    const view = { to: this.deployment.cidStore, contract: entryInterface, name: "cids" };
    const views = Array.from({ length: count }, (_, i) => ({ ...view, args: [index + i] }));
    return (await this.views(views, blockNumber)).map((bytes) => entryOf(bytes as Hex));
  }

  /**
   * Both contracts' events in a range of blocks, both ends inclusive, in chain order and without gaps between them.
   * @throws CHAIN_UNREACHABLE, CHAIN_INCOMPLETE, CHAIN_DISAGREES
   */
  events(fromBlock: number, toBlock: number): Promise<ChainEvent[]> {
    return this.retried(() => agree(this.rpcs, "the events", (rpc) => this.readEvents(rpc, fromBlock, toBlock)));
  }

  /**
   * The whole history up to a block, by default the newest: every event from the first to what both contracts count, and the
   * block's hash unchanged from beginning to end of reading.
   * @throws CHAIN_UNREACHABLE, CHAIN_INCOMPLETE, CHAIN_DISAGREES
   */
  allEvents(toBlock?: number): Promise<{ readonly events: ChainEvent[]; readonly head: ChainHead }> {
    return this.retried(async () => {
      const head = await this.headAt(toBlock);
      const { number } = head.block;
      const { counts, anchorHead } = await this.totals(number);
      const events = await agree(this.rpcs, "the events", (rpc) =>
        this.readEvents(rpc, this.startBlock, number, { counts, before: { anchors: 0, keys: 0 } }),
      );
      checkHead(events, anchorHead);
      await this.requireStanding(head.block);
      return { events, head };
    });
  }

  /**
   * The events of the blocks from `fromBlock` up to a head, complete: their indices go on where `before` ends, and end at what both
   * contracts count at that head; and CIDStore's head there, which the last entry must go with. When the contracts count no more than
   * `before`, no block is read.
   * @throws CHAIN_UNREACHABLE, CHAIN_INCOMPLETE, CHAIN_DISAGREES
   */
  newEvents(fromBlock: number, { block }: ChainHead, before: EventCounts): Promise<NewEvents> {
    return this.retried(async () => {
      const { counts, anchorHead } = await this.totals(block.number);
      const isNone = counts.anchors === before.anchors && counts.keys === before.keys;
      const events = isNone
        ? []
        : await agree(this.rpcs, "the events", (rpc) =>
            this.readEvents(rpc, fromBlock, block.number, { counts, before }),
          );
      await this.requireStanding(block);
      if (counts.anchors > before.anchors) checkHead(events, anchorHead);
      return { events, anchorHead };
    });
  }

  /**
   * One wallet's key history, by version, without reading the rest of the chain.
   * @throws CHAIN_UNREACHABLE, CHAIN_INCOMPLETE, CHAIN_DISAGREES
   */
  walletEvents(wallet: Address): Promise<RegistryEvent[]> {
    return this.retried(async () => {
      const { block } = await this.heads.read();
      return readWalletHistory(this.rpcs, this.deployment, wallet, block.number);
    });
  }

  /** One CIDStore entry, looked for from a block backwards: the last one is near the end. Null when there is none. */
  async findEntry(index: number, blockNumber: number): Promise<AnchorEvent | null> {
    const { cidStore } = this.deployment;
    const topics = [[TOPICS.anchored, TOPICS.storedVerbatim], topicOfArgument(index)];
    // Ranges run upwards, so block b is looked at as number −b.
    const found = await readRanges(
      new LogRange(),
      -blockNumber,
      -this.startBlock,
      (from, to) =>
        askAll(this.rpcs, [logsCall({ address: cidStore, topics }, -to, -from)], ([logs]) =>
          parseLogs(logs).map((log) => decodeLog(this.deployment, log)),
        ),
      (events) => events.length > 0,
    );
    return (found.find((event) => event.kind === "anchor" && event.index === index) as AnchorEvent | undefined) ?? null;
  }

  /** The first value that each view returns at the end of a block. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  views(views: readonly View[], blockNumber: number): Promise<unknown[]> {
    return callViews(this.rpcs, views, blockNumber);
  }

  /** In wei, at the end of a block. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  balances(accounts: readonly Address[], blockNumber: number): Promise<bigint[]> {
    const calls = accounts.map((account) => ({ method: "eth_getBalance", params: [account, quantityOf(blockNumber)] }));
    return askAll(this.rpcs, calls, (results) => results.map(parseBigQuantity));
  }

  private async requireStanding({ number, hash }: Block): Promise<void> {
    if ((await this.block(number))?.hash === hash) return;
    throw new DmtpError("CHAIN_DISAGREES", `block ${number} was replaced while it was read`);
  }

  /** What both contracts count, and CIDStore's head. */
  private async totals(blockNumber: number): Promise<{ readonly counts: EventCounts; readonly anchorHead: Hex }> {
    const { cidStore, keyRegistry } = this.deployment;
    const [anchors, keys, head] = await this.views(
      [
        { to: cidStore, contract: cidStoreInterface, name: "count" },
        { to: keyRegistry, contract: keyRegistryInterface, name: "count" },
        { to: cidStore, contract: cidStoreInterface, name: "head" },
      ],
      blockNumber,
    );
    return { counts: { anchors: parseCount(anchors), keys: parseCount(keys) }, anchorHead: parseHash(head) };
  }

  private async headAt(toBlock: number | undefined): Promise<ChainHead> {
    const head = await this.heads.read();
    if (toBlock === undefined || toBlock === head.block.number) return head;
    const block = await this.block(toBlock);
    if (block === null) throw new DmtpError("CHAIN_INCOMPLETE", `the chain has no block ${toBlock} yet`);
    return { block, finalized: Math.min(head.finalized, toBlock) };
  }

  /** By one node's word. With `expected`, reading ends when as many events are there as come after `before`, and no other number will do. */
  private async readEvents(
    rpc: Rpc,
    from: number,
    to: number,
    expected?: { readonly counts: EventCounts; readonly before: EventCounts },
  ): Promise<ChainEvent[]> {
    const { cidStore, keyRegistry } = this.deployment;
    const filter: LogFilter = { address: [cidStore, keyRegistry], topics: [Object.values(TOPICS)] };
    const enough = expected === undefined ? Infinity : totalOf(expected.counts) - totalOf(expected.before);
    const endpoint = this.endpoints.get(rpc) ?? new Endpoint(rpc);
    const read = async (first: number, last: number): Promise<ChainEvent[]> => {
      const logs = parseLogs(await rpc.request(logsCall(filter, first, last)));
      const stray = logs.find(({ blockNumber }) => blockNumber < first || blockNumber > last);
      if (stray !== undefined)
        throw new DmtpError("CHAIN_DISAGREES", `${rpc.name} gave a log of block ${stray.blockNumber}, unasked for`);
      return orderEvents(logs.map((log) => decodeLog(this.deployment, log)));
    };
    try {
      const events = orderEvents(await readRanges(endpoint.range, from, to, read, (items) => items.length >= enough));
      if (expected !== undefined) checkComplete(events, expected.counts, expected.before);
      return events;
    } catch (error) {
      if (!(error instanceof DmtpError) || error.code !== "CHAIN_INCOMPLETE") throw error;
      // Some nodes cut a long answer off and say nothing, and some leave a log out of every list.
      endpoint.range.shrink(Math.min(endpoint.range.sizeBlocks, to - from + 1), 8);
      if (expected === undefined) throw error;
      const { deployment } = this;
      const range = await readStretch(endpoint, deployment, from, to, true);
      const { events } = await readWhole([endpoint], { deployment, from, to }, range, expected.before);
      checkComplete(events, expected.counts, expected.before);
      return events;
    }
  }

  /** A reorg or a lagging node behind a load balancer passes; what is still wrong after a few attempts is an error. */
  private async retried<T>(read: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await read();
      } catch (error) {
        const mayPass = error instanceof DmtpError && ["CHAIN_DISAGREES", "CHAIN_INCOMPLETE"].includes(error.code);
        if (attempt === ATTEMPTS || !mayPass) throw error;
        await this.pause(PAUSE_MS * attempt);
      }
    }
  }
}

function totalOf({ anchors, keys }: EventCounts): number {
  return anchors + keys;
}
