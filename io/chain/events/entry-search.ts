/** One entry of CIDStore, searched for from the newest block down. */
import type { AnchorEvent } from "../../../protocol/event.ts";
import type { NodePool } from "../agreement/node-pool.ts";
import { logsCall, topicOfArgument } from "../rpc/contract-view.ts";
import { parseLogs } from "../rpc/parsed-answer.ts";
import { decodeLog, TOPICS } from "./event-decoder.ts";
import { LogRange, smallerRange } from "./log-range.ts";

/** The entry with an index, at or below a block; null when there is none. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
export async function findEntry(pool: NodePool, index: number, blockNumber: number): Promise<AnchorEvent | null> {
  const { deployment, startBlock } = pool.identity;
  const filter = {
    address: deployment.cidStore,
    topics: [[TOPICS.anchored, TOPICS.storedVerbatim], topicOfArgument(index)],
  };
  // Ranges run upwards, so block b is looked at as number −b.
  const found = await readRanges(
    new LogRange(),
    -blockNumber,
    -startBlock,
    (from, to) =>
      pool.ask([logsCall(filter, -to, -from)], ([logs]) => parseLogs(logs).map((log) => decodeLog(deployment, log))),
    (events) => events.length > 0,
  );
  return (found.find((event) => event.kind === "anchor" && event.index === index) as AnchorEvent | undefined) ?? null;
}

/**
 * Reads `from` to `to`, both inclusive, in ascending ranges; `isDone` may end it early.
 * @throws what `read` throws for a range of one block, or for a failure that no smaller range can repairRange
 */
export async function readRanges<T>(
  range: LogRange,
  from: number,
  to: number,
  read: (from: number, to: number) => Promise<readonly T[]>,
  isDone: (items: readonly T[]) => boolean,
): Promise<T[]> {
  const items: T[] = [];
  for (let start = from; start <= to && !isDone(items);) {
    const sizeBlocks = Math.min(range.sizeBlocks, to - start + 1);
    try {
      const part = await read(start, start + sizeBlocks - 1);
      // One by one: a spread of a hundred thousand arguments overflows the stack.
      for (const item of part) items.push(item);
      start += sizeBlocks;
      if (sizeBlocks === range.sizeBlocks) range.grow();
    } catch (error) {
      const smaller = sizeBlocks === 1 ? null : smallerRange(error, sizeBlocks);
      if (smaller === null) throw error;
      range.shrinkTo(smaller.sizeBlocks, smaller.isNamed);
    }
  }
  return items;
}
