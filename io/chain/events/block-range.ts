/** A range of the chain with its events, by one node's word, and proved to be of one chain that the node has. */
import type { Hex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { ChainEvent, EventCounts } from "../../../protocol/event.ts";
import type { Deployment } from "../../../protocol/room.ts";
import { parseBlock, parseData, parseHash, parseLogs, parseWord, type Block, type Log } from "../rpc/parsed-answer.ts";
import { logsCall, quantityOf, type LogFilter } from "../rpc/contract-view.ts";
import { cidStoreInterface, keyRegistryInterface } from "../contracts.ts";
import type { Endpoint } from "../rpc/endpoint.ts";
import { decodeLog, TOPICS } from "./event-decoder.ts";
import { smallerRange } from "./log-range.ts";
import { resultOf, type RpcAnswer, type RpcCall } from "../rpc/rpc.ts";
import { EMPTY_HEAD } from "./stored-entry.ts";
import { sortEvents } from "./event-sequence.ts";

export interface BlockRange {
  readonly first: Block;
  readonly last: Block;
  /** In chain order. */
  readonly events: ChainEvent[];
  /** What both contracts count at its end; null where the node has no state as old as that. */
  readonly counts: EventCounts | null;
  /** CIDStore's head at its end, 32 bytes; null where the counts are. */
  readonly anchorHead: Hex | null;
}

/** Which blocks are read, both ends included, and whose events. */
export interface RangeRequest {
  readonly deployment: Deployment;
  readonly from: number;
  readonly to: number;
  /** Whether the contracts' counts at the end must be there. */
  readonly isCounted: boolean;
  /** Up to this block no reorg replaces anything, so no event's block is held against the chain's header of it. */
  readonly finalUpTo?: number | undefined;
}

/** Headers of event blocks that are asked for in one request. */
const HEADERS = 100;

export function headerCall(block: number | "latest" | "finalized"): RpcCall {
  return { method: "eth_getBlockByNumber", params: [typeof block === "number" ? quantityOf(block) : block, false] };
}

/** What both contracts count at the end of a block. */
export function countCalls({ cidStore, keyRegistry }: Deployment, blockNumber: number): RpcCall[] {
  return [
    [cidStore, cidStoreInterface.encodeFunctionData("count")],
    [keyRegistry, keyRegistryInterface.encodeFunctionData("count")],
  ].map(([to, data]) => ({ method: "eth_call", params: [{ to, data }, quantityOf(blockNumber)] }));
}

function headOfStoreCall({ cidStore }: Deployment, blockNumber: number): RpcCall {
  const data = cidStoreInterface.encodeFunctionData("head");
  return { method: "eth_call", params: [{ to: cidStore, data }, quantityOf(blockNumber)] };
}

export function parseCounts([anchors, keys]: readonly unknown[]): EventCounts {
  return { anchors: parseUint(anchors), keys: parseUint(keys) };
}

function parseUint(answer: unknown): number {
  const data = parseData(answer);
  // No code yet: the two contracts are deployed in two blocks, and a node that grants few at a time has one end between them.
  if (data === "0x") return 0;
  if (data.length !== 66) throw new DmtpError("CHAIN_DISAGREES", "the answer of count does not decode");
  return parseWord(data);
}

/**
 * The calls that {@link parseRange} takes the answers of. A node answers one after the other, and its chain may change in between: the
 * last block's header comes after the logs, so that it was there when they were all told, and once more after all that has to
 * belong to it.
 */
export function encodeRangeCalls(deployment: Deployment, from: number, to: number): RpcCall[] {
  const filter: LogFilter = {
    address: [deployment.cidStore, deployment.keyRegistry],
    topics: [Object.values(TOPICS)],
  };
  return [
    logsCall(filter, from, to),
    headerCall(to),
    ...countCalls(deployment, to),
    headOfStoreCall(deployment, to),
    ...(to > from ? [headerCall(from)] : []),
    headerCall(to),
  ];
}

/**
 * The answers to {@link encodeRangeCalls}, parsed and held against each other.
 * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES
 */
export function parseRange(
  deployment: Deployment,
  { from, to, isCounted }: Omit<RangeRequest, "deployment" | "finalUpTo">,
  answers: readonly RpcAnswer[],
): BlockRange {
  const [logsAnswer, lastAnswer, ...others] = answers;
  const counted = others.splice(0, 3);
  const last = parseBlock(resultOf(lastAnswer) ?? null);
  const first = to === from ? last : parseBlock(resultOf(others[0]) ?? null);
  const lastThen = parseBlock(resultOf(others.at(-1)) ?? null);
  if (first === null || last === null) throw disagrees(`the node gave logs up to block ${to}, which it does not have`);
  if (lastThen?.hash !== last.hash) throw disagrees(`block ${to} was replaced while it was read`);
  if (first.number !== from || last.number !== to) throw disagrees("the node gave another block than asked for");
  if (to === from + 1 && last.parentHash !== first.hash) throw disagrees(`block ${to} is not on top of block ${from}`);
  const logs = parseLogs(resultOf(logsAnswer));
  for (const log of logs) {
    if (log.blockNumber < from || log.blockNumber > to)
      throw disagrees(`a log of block ${log.blockNumber} came that was not asked for`);
    if (log.blockNumber === from) requireBlock(log, first);
    if (log.blockNumber === to) requireBlock(log, last);
  }
  const events = sortEvents(logs.map((log) => decodeLog(deployment, log)));
  const isCountless = !isCounted && counted.some((answer) => "error" in answer);
  if (isCountless) return { first, last, events, counts: null, anchorHead: null };
  const [anchors, keys, head] = counted.map(resultOf);
  const data = parseData(head);
  const anchorHead = data === "0x" ? EMPTY_HEAD : parseHash(data);
  return { first, last, events, counts: parseCounts([anchors, keys]), anchorHead };
}

/**
 * Reads `from` to `to`, both inclusive, in as many parts as the node wants, and holds every event's block hash against the
 * header that the node has under its number.
 * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES
 */
export async function readRange(endpoint: Endpoint, request: RangeRequest): Promise<BlockRange> {
  const { from, to, isCounted, finalUpTo = -1 } = request;
  let whole: BlockRange | null = null;
  const known = new Map<number, Hex>();
  for (let start = from; start <= to;) {
    const sizeBlocks = Math.min(endpoint.range.sizeBlocks, to - start + 1);
    const end = start + sizeBlocks - 1;
    const part = await readPart(endpoint, { ...request, from: start, to: end, isCounted: isCounted && end === to });
    if (part === null) continue;
    for (const { number, hash } of [part.first, part.last]) known.set(number, hash);
    whole = whole === null ? part : join(whole, part);
    start = end + 1;
    if (sizeBlocks === endpoint.range.sizeBlocks) endpoint.range.grow();
  }
  if (whole === null) throw new DmtpError("INTERNAL", "a range without blocks");
  const replaceable = whole.events.filter(({ blockNumber }) => blockNumber > finalUpTo);
  await verifyBlocks(endpoint, replaceable, known);
  return whole;
}

/** Null when the node wants less at a time, which its range then says. */
async function readPart(endpoint: Endpoint, request: RangeRequest): Promise<BlockRange | null> {
  const { deployment, from, to } = request;
  const sizeBlocks = to - from + 1;
  const refused = (error: unknown): null => {
    const smaller = sizeBlocks === 1 ? null : smallerRange(error, sizeBlocks);
    if (smaller === null) throw error;
    // Several ranges may be under way: only the first that is refused lowers what is granted.
    if (endpoint.range.sizeBlocks >= sizeBlocks) endpoint.range.shrinkTo(smaller.sizeBlocks, smaller.isNamed);
    return null;
  };
  let answers: RpcAnswer[];
  try {
    answers = await endpoint.attempt(encodeRangeCalls(deployment, from, to));
  } catch (error) {
    return refused(error);
  }
  const [logs] = answers;
  if (logs !== undefined && "error" in logs) return refused(logs.error);
  return parseRange(deployment, request, answers);
}

/** One range of two, the second on top of the first. @throws CHAIN_DISAGREES */
export function join(lower: BlockRange, upper: BlockRange): BlockRange {
  if (upper.first.parentHash !== lower.last.hash) {
    throw disagrees(`block ${upper.first.number} is not on top of block ${lower.last.number}`);
  }
  const events = lower.events;
  for (const event of upper.events) events.push(event);
  return { first: lower.first, last: upper.last, events, counts: upper.counts, anchorHead: upper.anchorHead };
}

/** Logs of a block that the chain does not have any more come with its hash: headers tell, those in `known` and the rest. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
export async function verifyBlocks(
  endpoint: Endpoint,
  events: readonly ChainEvent[],
  known: ReadonlyMap<number, Hex>,
): Promise<void> {
  const hashes = new Map<number, Hex>();
  for (const { blockNumber, blockHash } of events) {
    if (!known.has(blockNumber)) hashes.set(blockNumber, blockHash);
  }
  const numbers = [...hashes.keys()];
  const requests: Promise<void>[] = [];
  for (let start = 0; start < numbers.length; start += HEADERS) {
    const part = numbers.slice(start, start + HEADERS);
    const verify = async (): Promise<void> => {
      const results = await endpoint.batch(part.map(headerCall));
      part.forEach((number, i) => {
        const block = parseBlock(results[i] ?? null);
        if (block?.number !== number || block.hash !== hashes.get(number))
          throw disagrees(`the logs of block ${number} are not those of the chain`);
      });
    };
    requests.push(verify());
  }
  await Promise.all(requests);
}

function requireBlock(log: Log, { number, hash }: Block): void {
  if (log.blockHash !== hash) throw disagrees(`a log of block ${number} is of another block than the chain has there`);
}

function disagrees(what: string): DmtpError {
  return new DmtpError("CHAIN_DISAGREES", what);
}
