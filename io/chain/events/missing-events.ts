/** A gap in the events, and what fills it when every list of logs has it: asking by the index, and the block's receipts. */
import { DmtpError } from "../../../protocol/error.ts";
import {
  contractOf,
  type AnchorEvent,
  type ChainEvent,
  type Contract,
  type EventCounts,
} from "../../../protocol/event.ts";
import type { Deployment } from "../../../protocol/room.ts";
import { parseBlock, parseLogs } from "../rpc/parsed-answer.ts";
import { logsCall, quantityOf, topicOfArgument } from "../rpc/contract-view.ts";
import { isPassing, type Endpoint } from "../rpc/endpoint.ts";
import { decodeLog, TOPICS } from "./event-decoder.ts";
import { isHeadAfter } from "./stored-entry.ts";
import { sortEvents } from "./event-sequence.ts";
import { countCalls, headerCall, parseCounts, verifyBlocks, type BlockRange } from "./block-range.ts";

/** What stands behind a CHAIN_INCOMPLETE that no node could repairRange. */
export interface Gap {
  readonly contract: Contract;
  /** Whether the missing event lies in blocks before the ones that were read. */
  readonly isBefore: boolean;
  /** The block up to which had to be read for it to show. */
  readonly upTo: number;
}

/** Without an archive of states, at most as many blocks are searched receipt by receipt. */
const MAX_SEARCHED = 64;
/** Events that are asked for by their indices in one call. */
const MAX_ASKED = 50;
/** Receipts of at most this number of blocks are read; a node that leaves out more is no source of logs. */
const MAX_MENDED = 1_000;

const REPLACED = Symbol("replaced");
const STORE_TOPICS = [TOPICS.anchored, TOPICS.storedVerbatim];
const REGISTRY_TOPICS = [TOPICS.registered, TOPICS.revoked];
const TOPIC_SET: ReadonlySet<string> = new Set(Object.values(TOPICS));

/** The contract whose events do not go on where `before` ends, or do not end where the contracts count; null for none. */
export function findGap(
  { events, counts }: Pick<BlockRange, "events" | "counts">,
  before: EventCounts,
): Contract | null {
  const next = { ...before };
  for (const event of events) {
    const contract = contractOf(event);
    if (event.index !== next[contract]) return contract;
    next[contract] += 1;
  }
  if (counts === null) return null;
  if (next.anchors !== counts.anchors) return "anchors";
  return next.keys === counts.keys ? null : "keys";
}

/** What stands behind a CHAIN_INCOMPLETE; null for any other error. */
export function getGap(error: unknown): Gap | null {
  if (!(error instanceof DmtpError) || error.code !== "CHAIN_INCOMPLETE") return null;
  const { cause } = error;
  return typeof cause === "object" && cause !== null && "isBefore" in cause ? (cause as Gap) : null;
}

/**
 * Holds the last entry against CIDStore's head. A node that lied about its digest gives itself away when it tells the truth again.
 * @param before the last entry before this range
 * @throws CHAIN_INCOMPLETE with a Gap as its cause
 */
export function checkLastAnchor(
  { events, anchorHead, last }: Pick<BlockRange, "events" | "anchorHead" | "last">,
  before: Pick<AnchorEvent, "cid" | "text"> | null,
): void {
  if (anchorHead === null) return;
  const own = events.findLast((event) => event.kind === "anchor");
  if (isHeadAfter(own ?? before, anchorHead)) return;
  const cause: Gap = { contract: "anchors", isBefore: own === undefined, upTo: last.number };
  const what = `CIDStore's head at block ${last.number} is not its last entry as it was read`;
  throw new DmtpError("CHAIN_INCOMPLETE", what, { cause });
}

/** Whether it says that the chain changed while a gap was filled: there may be none on the chain as it is now. */
export function isReplaced(error: unknown): boolean {
  return error instanceof DmtpError && error.cause === REPLACED;
}

/**
 * The range with what its logs leave out, from the receipts of the blocks that have it.
 * @throws CHAIN_INCOMPLETE with a Gap as its cause, CHAIN_UNREACHABLE, CHAIN_DISAGREES
 */
export async function repairRange(
  endpoint: Endpoint,
  deployment: Deployment,
  range: BlockRange,
  before: EventCounts,
): Promise<BlockRange> {
  let mended = await fillByIndex(endpoint, deployment, range, before);
  for (let round = 0; round < MAX_MENDED; round++) {
    const contract = findGap(mended, before);
    if (contract === null) {
      await requireUnchanged(endpoint, mended);
      return mended;
    }
    const { block, found } = await findEvents(endpoint, deployment, mended, before, contract);
    const others = mended.events.filter(({ blockNumber }) => blockNumber !== block);
    if (others.length + found.length <= mended.events.length)
      throw incomplete(contract, false, block, mended.last.number);
    mended = { ...mended, events: sortEvents([...others, ...found]) };
  }
  throw incomplete(findGap(mended, before) ?? "anchors", false, range.first.number, range.last.number);
}

/** Whether what a contract's events lack comes before all that are there. */
export function isFirstMissing(
  { events }: Pick<BlockRange, "events">,
  before: EventCounts,
  contract: Contract,
): boolean {
  return events.find((event) => contractOf(event) === contract)?.index !== before[contract];
}

/** What fills a gap is read later than the rest: a reorg in between would make one range of two chains. */
async function requireUnchanged(endpoint: Endpoint, { first, last, events }: BlockRange): Promise<void> {
  const known = new Map([first, last].map(({ number, hash }) => [number, hash]));
  const [header] = await endpoint.batch([headerCall(last.number)]);
  const isOfOneChain = events.every(
    ({ blockNumber, blockHash }) => (known.get(blockNumber) ?? blockHash) === blockHash,
  );
  if (parseBlock(header ?? null)?.hash !== last.hash || !isOfOneChain) {
    throw new DmtpError("CHAIN_DISAGREES", `block ${last.number} was replaced while a gap was filled`, {
      cause: REPLACED,
    });
  }
}

/**
 * Every event has its own index as a topic, so what a long answer left out can be asked for alone. A node whose list of logs
 * itself lacks it gives nothing.
 */
async function fillByIndex(
  endpoint: Endpoint,
  deployment: Deployment,
  range: BlockRange,
  before: EventCounts,
): Promise<BlockRange> {
  let filled = range;
  for (let length = -1; filled.events.length > length;) {
    length = filled.events.length;
    for (const contract of ["anchors", "keys"] as const) {
      const { missing, lower, upper } = firstMissing(filled, before, contract);
      if (missing.length === 0) continue;
      const topics = [contract === "anchors" ? STORE_TOPICS : REGISTRY_TOPICS, missing.map(topicOfArgument)];
      const address = contract === "anchors" ? deployment.cidStore : deployment.keyRegistry;
      const found: ChainEvent[] = [];
      for (let start = lower; start <= upper;) {
        const end = Math.min(upper, start + endpoint.range.sizeBlocks - 1);
        const [logs] = await endpoint.batch([logsCall({ address, topics }, start, end)]);
        for (const log of parseLogs(logs)) found.push(decodeLog(deployment, log));
        start = end + 1;
      }
      const added = found.filter(({ index }) => missing.includes(index));
      await verifyBlocks(endpoint, added, new Map());
      filled = { ...filled, events: sortEvents([...filled.events, ...added]) };
    }
  }
  return filled;
}

/** A contract's first run of missing events, and between which blocks it lies. */
function firstMissing(
  { first, last, events, counts }: BlockRange,
  before: EventCounts,
  contract: Contract,
): { readonly missing: readonly number[]; readonly lower: number; readonly upper: number } {
  let due = before[contract];
  let lower = first.number;
  const run = (end: number): number[] => Array.from({ length: Math.min(MAX_ASKED, end - due) }, (_, i) => due + i);
  for (const event of events) {
    if (contractOf(event) !== contract) continue;
    if (event.index !== due) return { missing: run(event.index), lower, upper: event.blockNumber };
    due += 1;
    lower = event.blockNumber;
  }
  return { missing: counts === null ? [] : run(counts[contract]), lower, upper: last.number };
}

/** The first block with a missing event, and all events of it. A node that can't tell leaves out what is missing now. */
async function findEvents(
  endpoint: Endpoint,
  deployment: Deployment,
  range: BlockRange,
  before: EventCounts,
  contract: Contract,
): Promise<{ readonly block: number; readonly found: ChainEvent[] }> {
  try {
    const block = await findBlock(endpoint, deployment, range, before, contract);
    return { block, found: await readReceipts(endpoint, deployment, block) };
  } catch (error) {
    if (getGap(error) !== null || !isPassing(error)) throw error;
    const { first, last } = range;
    throw incomplete(contract, isFirstMissing(range, before, contract), first.number, last.number);
  }
}

/** The block whose event is missing first: where the contract's own count passes the number of events that are there. */
async function findBlock(
  endpoint: Endpoint,
  deployment: Deployment,
  { first, last, events, counts }: BlockRange,
  before: EventCounts,
  contract: Contract,
): Promise<number> {
  const own = events.filter((event) => contractOf(event) === contract);
  let missing = before[contract];
  while (own[missing - before[contract]]?.index === missing) missing += 1;
  const lower = own[missing - before[contract] - 1]?.blockNumber ?? first.number;
  const upper = own[missing - before[contract]]?.blockNumber ?? last.number;
  const countAt = async (block: number): Promise<number> => {
    return parseCounts(await endpoint.batch(countCalls(deployment, block)))[contract];
  };
  // More events than the contract counts are no gap.
  if (counts !== null && counts[contract] < missing) throw incomplete(contract, false, first.number, last.number);
  try {
    if (missing === before[contract] && (await countAt(first.number - 1)) > missing)
      throw incomplete(contract, true, first.number, last.number);
    let low = lower;
    let high = upper;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((await countAt(middle)) > missing) high = middle;
      else low = middle + 1;
    }
    return low;
  } catch (error) {
    if (getGap(error) !== null) throw error;
    // The node has no state as old as that.
    if (upper - lower >= MAX_SEARCHED)
      throw incomplete(contract, missing === before[contract], first.number, last.number);
  }
  for (let block = lower; block <= upper; block++) {
    const known = events.filter(({ blockNumber }) => blockNumber === block).length;
    if ((await readReceipts(endpoint, deployment, block)).length > known) return block;
  }
  throw incomplete(contract, missing === before[contract], first.number, last.number);
}

/** Both contracts' events of one block, from its receipts, which no index of logs has a part in. */
async function readReceipts(endpoint: Endpoint, deployment: Deployment, block: number): Promise<ChainEvent[]> {
  const [receipts, header] = await endpoint.batch([
    { method: "eth_getBlockReceipts", params: [quantityOf(block)] },
    headerCall(block),
  ]);
  const hash = parseBlock(header ?? null)?.hash;
  if (!Array.isArray(receipts)) throw new DmtpError("CHAIN_DISAGREES", `block ${block} has no receipts`);
  const logs = receipts.flatMap((receipt: unknown) => {
    return parseLogs((receipt as { readonly logs?: unknown } | null)?.logs);
  });
  const { cidStore, keyRegistry } = deployment;
  const own = logs.filter(({ address, topics }) => {
    return (address === cidStore || address === keyRegistry) && TOPIC_SET.has(topics[0] ?? "");
  });
  if (own.some(({ blockNumber, blockHash }) => blockNumber !== block || blockHash !== hash))
    throw new DmtpError("CHAIN_DISAGREES", `the receipts of block ${block} are of another block`);
  return own.map((log) => decodeLog(deployment, log));
}

/** A CHAIN_INCOMPLETE of blocks that were read, with a Gap as its cause. */
export function incomplete(contract: Contract, isBefore: boolean, from: number, upTo: number): DmtpError {
  const cause: Gap = { contract, isBefore, upTo };
  return new DmtpError("CHAIN_INCOMPLETE", `the node leaves out events of ${contract} after block ${from - 1}`, {
    cause,
  });
}
