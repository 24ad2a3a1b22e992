/** The service put together: chain → history ← content, and HTTP in front. */
import { makeApp } from "../http/app.ts";
import type { BudgetOptions } from "../http/budget.ts";
import { Streams, type StreamsOptions } from "../http/live/streams.ts";
import { listen } from "../http/server.ts";
import { CHAIN_OF_SERVICE, ChainClient, type ClientOptions } from "../io/chain/client.ts";
import type { Rpc } from "../io/chain/rpc/rpc.ts";
import type { ContentStore } from "../io/content/store.ts";
import { translated } from "../io/database.ts";
import type { Address } from "../protocol/address.ts";
import type { ChainEvent } from "../protocol/event.ts";
import type { Clock } from "./clock.ts";
import { readLocalBlocks } from "./dag-prefetch.ts";
import { Fetcher, type FetcherOptions } from "./fetcher.ts";
import { Follower, type Chain } from "./follower.ts";
import { History, type Turns } from "./history.ts";
import { INFO, ROUTES } from "./http/routes.ts";
import type { Log } from "../io/log.ts";
import { logBug } from "../io/service.ts";
import { MessageReader } from "./message-reader.ts";
import { Metrics } from "./metrics/metrics.ts";
import { RpcMeter } from "./metrics/rpc-meter.ts";
import { SignatureThreads, type SignatureThreadsOptions } from "./signature-threads.ts";
import { ChangeEvents } from "./read/changes.ts";
import { Snapshots } from "./read/snapshot.ts";
import { StatusReader } from "./read/status.ts";
import { Checkpoints } from "./store/checkpoints.ts";
import { openIndex, tieToChain, type IndexDatabase } from "./store/database.ts";

export interface IndexerOptions {
  /** Stays open when the indexer is closed. */
  readonly content: ContentStore;
  /** The index's file; it is made when missing, and can be deleted whenever no indexer runs. */
  readonly indexPath: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly pollIntervalMs: number;
  /** Web pages that may read the answers: origins, or `*`. */
  readonly corsOrigins?: readonly string[];
  readonly log?: Log;
  /** What the chain was opened with, for the metrics. */
  readonly rpcMeter?: RpcMeter;
  readonly streams?: StreamsOptions;
  /** What all answers together may take. */
  readonly budget?: BudgetOptions;
  readonly fetching?: Pick<FetcherOptions, "concurrency" | "firstRetryMs" | "maxRetryMs">;
  readonly random?: () => number;
  readonly clock?: Clock;
  /** Of the threads that verify signatures while the index writes; without any, nothing depends on how long they take. */
  readonly threads?: SignatureThreadsOptions;
}

/** What runs behind the HTTP server: the index, and what keeps it up. */
export interface Engine {
  readonly index: IndexDatabase;
  readonly history: History;
  readonly fetcher: Fetcher;
  readonly follower: Follower;
  /** Ends all but the index, which is not touched any more, even if an answer that is waited for comes now; resolves when no thread has it open. */
  readonly stop: () => Promise<void>;
}

export interface ChainOptions {
  readonly rpcs: readonly Rpc[];
  readonly addresses: { readonly cidStore: Address; readonly keyRegistry: Address };
  readonly chainId?: number;
  readonly finalityDepth?: number;
  readonly reading?: Pick<ClientOptions, "concurrency" | "maxRangeBlocks">;
}

export interface Indexer {
  readonly url: string;
  /** Stops following and serving, within two seconds. */
  close(): Promise<void>;
}

/** A transaction of the index that takes longer is divided: meanwhile nobody is served. */
const TURN_MS = 25;
/** What is still asked of a node or a content store is not waited for longer than this. */
const STOP_MS = 1_000;

/**
 * Opens the chain and the index, and starts following and serving; resolves when the service listens.
 * @throws what ChainClient.open throws; DATABASE_BUSY, DATABASE_FOREIGN, ADDRESS_IN_USE, CONFIGURATION_INVALID
 */
export async function startIndexer(options: IndexerOptions & ChainOptions): Promise<Indexer> {
  const { addresses, chainId, finalityDepth } = options;
  const rpcMeter = new RpcMeter();
  const rpcs = options.rpcs.map((rpc, place) => rpcMeter.meter(rpc, place));
  const chain = await ChainClient.open(rpcs, addresses, {
    ...CHAIN_OF_SERVICE,
    chainId,
    ...options.reading,
    ...(options.log !== undefined && { log: options.log }),
    ...(finalityDepth !== undefined && { finalityDepth }),
  });
  return startIndexerOn(chain, { ...options, rpcMeter });
}

/** As {@link startIndexer}, on a chain that is open already. */
export async function startIndexerOn(chain: Chain, options: IndexerOptions): Promise<Indexer> {
  const { host, port, corsOrigins = [], log = () => undefined } = options;
  const engine = openEngine(chain, options);
  const { index, history, fetcher, follower } = engine;
  try {
    const snapshots = new Snapshots(index.database, chain.deployment);
    const streams = new Streams(new ChangeEvents(snapshots), options.streams);
    history.onCommit = () => streams.wake();
    const status = new StatusReader(follower, fetcher, history);
    const { rpcMeter = null } = options;
    const metrics = new Metrics({ snapshots, follower, status, streams, rpcMeter });
    const service = { snapshots, history, follower, fetcher, streams, status, metrics };
    const app = makeApp(ROUTES, service, {
      info: INFO,
      corsOrigins,
      ...(options.budget !== undefined && { budget: options.budget }),
      onBug: logBug(log),
      onAnswer: (seconds, labels) => metrics.latency.observe(seconds, labels),
    });
    const server = await listen(app, host, port);

    const running = follower.run();
    fetcher.want("history");
    let closing: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      const stopped = engine.stop();
      streams.close();
      metrics.close();
      await Promise.all([server.close(), Promise.race([Promise.all([stopped, running]), delay(STOP_MS)])]);
      index.close();
    };
    return { url: server.url, close: () => (closing ??= close()) };
  } catch (error) {
    await engine.stop();
    index.close();
    throw error;
  }
}

/**
 * Opens the index and puts together what keeps it up; nothing runs yet.
 * @throws DATABASE_BUSY, DATABASE_FOREIGN, DATABASE_DAMAGED, DATABASE_WRITE_FAILED
 */
export function openEngine(chain: Chain, options: Omit<IndexerOptions, "host" | "port">): Engine {
  const { content, indexPath, pollIntervalMs, log = () => undefined, random = Math.random, clock } = options;
  const timing = { log, random, ...(clock !== undefined && { clock }) };
  const index = openIndex(indexPath, chain.deployment, log);
  const threads = new SignatureThreads({ log, ...options.threads });
  const checkpoints = new Checkpoints(index.database, log);
  try {
    const history = translated(() => {
      tieToChain(index.database, chain.identity);
      return new History(
        index.database,
        chain.deployment,
        new MessageReader(threads),
        turnsOf(log, clock, () => fetcher.want("newest")),
      );
    }, "the index");
    const onChange = (isAtHead: boolean): void => fetcher.want(isAtHead ? "newest" : "history");
    const deliver = (blocks: Parameters<History["receive"]>[0]): void => {
      history.receive(blocks);
      fetcher.want("newest");
    };
    const prepare = (blocks: Iterable<Uint8Array>): Promise<void> => history.readAhead(blocks);
    const missing = () => history.missing;
    const isBusy = (): boolean => history.isAtWork;
    const fetcher = new Fetcher({ ...options.fetching, ...timing, content, missing, deliver, prepare, isBusy });
    const readLocal = (events: readonly ChainEvent[]) => readLocalBlocks(content, events);
    const follower = new Follower({ ...timing, chain, history, pollIntervalMs, readLocal, onChange });
    const stop = (): Promise<void> => {
      follower.stop();
      fetcher.stop();
      history.close();
      threads.close();
      return checkpoints.close();
    };
    return { index, history, fetcher, follower, stop };
  } catch (error) {
    void checkpoints.close();
    index.close();
    throw error;
  }
}

/** Turns of the system's clock share the thread with HTTP; with any other clock, all work is done at once, so that a test can count on it. */
function turnsOf(log: Log, clock: Clock | undefined, onTurn: () => void): Turns | null {
  if (clock !== undefined) return null;
  return {
    maxMs: TURN_MS,
    now: () => performance.now(),
    onTurn,
    defer: (next, delayMs) => {
      if (delayMs === 0) setImmediate(next);
      else setTimeout(next, delayMs).unref();
    },
    onFailure: (error) => {
      const reason = error instanceof Error ? error.message : "unknown";
      log(`the index could not be written: ${reason}`, { level: "error" });
    },
  };
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
