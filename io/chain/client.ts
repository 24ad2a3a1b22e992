/**
 * The chain as DMTP reads it: views, counts and events of one deployment, from one node or several, each of which may lag, cap, lie,
 * leave out and go away. What it gives is proved to be whole and of one chain, and as many nodes as the policy asks for say it; what
 * can't be proved it does not give.
 *
 * A command reads once: `head`, `allEvents`, `newEvents`, `entryHead`, `walletEvents`; what may pass is tried a few times. A service
 * follows: `fetchView`, then `ranges` from its checkpoint on; it decides itself when it asks again.
 */
import type { Address } from "../../protocol/address.ts";
import { equal, fromHex, type Hex } from "../../protocol/bytes.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { AnchorEvent, ChainEvent, EventCounts, RegistryEvent } from "../../protocol/event.ts";
import type { Deployment } from "../../protocol/room.ts";
import type { Log } from "../log.ts";
import { pause as wait } from "../pause.ts";
import { proveCounts } from "./agreement/agreed-range.ts";
import type { ChainIdentity } from "./agreement/chain-identity.ts";
import type { ChainHead, ChainView } from "./agreement/chain-view.ts";
import type { Contracts } from "./agreement/contract-check.ts";
import { NodePool } from "./agreement/node-pool.ts";
import type { Checkpoint } from "./agreement/node-view.ts";
import type { Policy } from "./agreement/quorum.ts";
import { cidStoreInterface, entryInterface } from "./contracts.ts";
import type { BlockRange } from "./events/block-range.ts";
import { readAllBetween, type NewEvents } from "./events/complete-events.ts";
import { findEntry } from "./events/entry-search.ts";
import { RangeReader } from "./events/range-reader.ts";
import { entryOf, type StoredEntry } from "./events/stored-entry.ts";
import { readWalletHistory } from "./events/wallet-events.ts";
import { quantityOf, type View } from "./rpc/contract-view.ts";
import type { Endpoint } from "./rpc/endpoint.ts";
import { parseBigQuantity, parseCount, type Block } from "./rpc/parsed-answer.ts";
import type { Rpc } from "./rpc/rpc.ts";

export interface ClientOptions {
  /** Whether all nodes have to say the same, or most of those that were given; `all` by default. */
  readonly policy?: Policy;
  /** What every node has to serve. */
  readonly chainId?: number | undefined;
  /** How deep a block lies when it counts as final, on a chain without a `finalized` tag. */
  readonly finalityDepth?: number;
  /**
   * Whether a service asks: then it waits for two minutes at its start for nodes that were asked too much, and a node has to say for ten
   * seconds that it does not know the tag `finalized` before depth takes its place.
   */
  readonly isService?: boolean;
  /** Ranges that are read at the same time. */
  readonly concurrency?: number;
  /** No range is larger. */
  readonly maxRangeBlocks?: number;
  readonly now?: () => number;
  readonly pause?: (ms: number) => Promise<void>;
  readonly log?: Log;
}

/** How a service asks: it goes on while most nodes agree. A command waits for the word of all. */
export const CHAIN_OF_SERVICE = { policy: "majority", isService: true } as const satisfies ClientOptions;

/** Deeper than any reorg Polygon had (157 blocks, in 2023). */
const DEFAULT_FINALITY_DEPTH = 256;
const NO_EVENTS: EventCounts = { anchors: 0, keys: 0 };
const ATTEMPTS = 4;
const PAUSE_MS = 500;
const MAX_TAG_REQUESTS = 3;
const TAG_PAUSE_MS = 1_000;

export class ChainClient {
  private readonly pool: NodePool;
  private readonly reader: RangeReader;
  private readonly pause: (ms: number) => Promise<void>;

  private constructor(pool: NodePool, reader: RangeReader, pause: (ms: number) => Promise<void>) {
    this.pool = pool;
    this.reader = reader;
    this.pause = pause;
  }

  /**
   * Checks chain and contracts at the nodes.
   * @throws CHAIN_UNREACHABLE when fewer answer than can be worked with: all for the policy `all`, else one; CHAIN_ID_WRONG,
   *   CHAIN_DISAGREES, CONTRACT_MISSING, CONTRACT_WRONG, CONFIGURATION_INVALID
   */
  static async open(rpcs: readonly Rpc[], contracts: Contracts, options: ClientOptions = {}): Promise<ChainClient> {
    const { pause = wait, concurrency = 4, maxRangeBlocks = Infinity } = options;
    const pool = await NodePool.open(rpcs, contracts, {
      policy: options.policy ?? "all",
      chainId: options.chainId,
      finalityDepth: options.finalityDepth ?? DEFAULT_FINALITY_DEPTH,
      isService: options.isService ?? false,
      now: options.now ?? (() => performance.now()),
      pause,
      log: options.log ?? (() => undefined),
    });
    return new ChainClient(pool, new RangeReader(pool, { concurrency, maxRangeBlocks }), pause);
  }

  get identity(): ChainIdentity {
    return this.pool.identity;
  }

  get deployment(): Deployment {
    return this.identity.deployment;
  }

  /** No event of either contract lies before this block. */
  get startBlock(): number {
    return this.identity.startBlock;
  }

  get endpoints(): readonly Endpoint[] {
    return this.pool.endpoints;
  }

  /**
   * Where the chain stands, what it has at a checkpoint, and the block that comes next: one request to each node.
   * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES
   */
  fetchView(checkpoint: Checkpoint | null): Promise<ChainView> {
    return this.pool.fetchView(checkpoint, checkpoint === null ? this.startBlock : checkpoint.number + 1);
  }

  /**
   * What lies above a checkpoint, up to a block that a view has shown, in order and in ranges of one chain.
   * @param minEnd a block that the first range has to reach, for a gap to show in it that showed there
   * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES; CHAIN_INCOMPLETE with a Gap as its cause
   */
  ranges(checkpoint: Checkpoint | null, head: Block, minEnd = 0): AsyncGenerator<BlockRange> {
    const start =
      checkpoint === null
        ? { from: this.startBlock, counts: NO_EVENTS, parentHash: null }
        : { from: checkpoint.number + 1, counts: checkpoint.counts, parentHash: checkpoint.hash };
    return this.reader.read(start, head, { minEnd });
  }

  /**
   * Holds the events up to the head that the last view showed against what the contracts count there.
   * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES; CHAIN_INCOMPLETE with a Gap as its cause
   */
  prove(head: Checkpoint): Promise<void> {
    return proveCounts(this.pool, head);
  }

  /** Calls `onHead` when a node says that it has a new block; null when no node does that. */
  subscribe(onHead: () => void): (() => void) | null {
    const ends = this.endpoints.flatMap(({ rpc }) => rpc.subscribe?.(onHead) ?? []);
    if (ends.length === 0) return null;
    return () => {
      for (const end of ends) end();
    };
  }

  /** Null when the chain is not that long. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  block(number: number): Promise<Block | null> {
    return this.pool.fetchBlock(number);
  }

  /** The newest block that as many nodes have as must, and what as many call final. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  head(): Promise<ChainHead> {
    return this.retried(() => this.fetchHead());
  }

  /**
   * CIDStore's count and head, 32 bytes, zero when it is empty; at the newest block.
   * @throws CHAIN_DISAGREES when the last entry is not what the head is the digest of
   */
  entryHead(): Promise<{ readonly count: number; readonly head: Uint8Array; readonly at: ChainHead }> {
    return this.retried(async () => {
      const at = await this.fetchHead();
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
   * The whole history up to a block, by default the newest: every event from the first to what both contracts count there.
   * @throws CHAIN_UNREACHABLE, CHAIN_INCOMPLETE, CHAIN_DISAGREES
   */
  allEvents(toBlock?: number): Promise<{ readonly events: ChainEvent[]; readonly head: ChainHead }> {
    return this.retried(async () => {
      const newest = await this.fetchHead();
      const head = toBlock === undefined ? newest : await this.fetchEarlierHead(newest, toBlock);
      const { events } = await readAllBetween(this.pool, this.reader, {
        from: this.startBlock,
        before: NO_EVENTS,
        head,
      });
      return { events, head };
    });
  }

  /**
   * The events of the blocks from `fromBlock` up to a head, complete: their indices go on where `before` ends, and end at what both
   * contracts count at that head; and CIDStore's head there, which the last entry must go with. When the contracts count no more than
   * `before`, no block is read.
   * @throws CHAIN_UNREACHABLE, CHAIN_INCOMPLETE, CHAIN_DISAGREES
   */
  newEvents(fromBlock: number, head: ChainHead, before: EventCounts): Promise<NewEvents> {
    return this.retried(() => readAllBetween(this.pool, this.reader, { from: fromBlock, before, head }));
  }

  /**
   * One wallet's key history, by version, without reading the rest of the chain.
   * @throws CHAIN_UNREACHABLE, CHAIN_INCOMPLETE, CHAIN_DISAGREES
   */
  walletEvents(wallet: Address): Promise<RegistryEvent[]> {
    return this.retried(async () => readWalletHistory(this.pool, wallet, (await this.fetchHead()).block.number));
  }

  /** One CIDStore entry, looked for from a block backwards: the last one is near the end. Null when there is none. */
  findEntry(index: number, blockNumber: number): Promise<AnchorEvent | null> {
    return findEntry(this.pool, index, blockNumber);
  }

  /** The first value that each view returns at the end of a block. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  views(views: readonly View[], blockNumber: number): Promise<unknown[]> {
    return this.pool.callViews(views, blockNumber);
  }

  /** In wei, at the end of a block. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  balances(accounts: readonly Address[], blockNumber: number): Promise<bigint[]> {
    const calls = accounts.map((account) => ({ method: "eth_getBalance", params: [account, quantityOf(blockNumber)] }));
    return this.pool.ask(calls, (results) => results.map(parseBigQuantity));
  }

  private async fetchHead(): Promise<ChainHead> {
    for (let requests = 1; ; requests++) {
      const view = await this.pool.fetchView(null, null);
      if (!view.isConfirmed) throw new DmtpError("CHAIN_UNREACHABLE", "fewer nodes answer than have to agree");
      const isInDoubt = this.endpoints.some(({ finality }) => finality.isInDoubt);
      // What fails three times in some seconds is believed, or nothing is final.
      if (!isInDoubt || requests === MAX_TAG_REQUESTS) return { block: view.block, finalized: view.finalized };
      await this.pause(TAG_PAUSE_MS * requests);
    }
  }

  private async fetchEarlierHead(newest: ChainHead, number: number): Promise<ChainHead> {
    const block = number === newest.block.number ? newest.block : await this.block(number);
    if (block === null) throw new DmtpError("CHAIN_INCOMPLETE", `the chain has no block ${number} yet`);
    return { block, finalized: Math.min(newest.finalized, number) };
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
