/** Logs in ranges of blocks that adapt to what a provider grants; their limits differ, change, and are told in prose only. */
import { DmtpError } from "../../../protocol/error.ts";
import { AdaptiveLimit } from "../rpc/adaptive-limit.ts";
import { isBusy, rangeLimitOf } from "../rpc/range-limit.ts";
import { faultOf } from "../rpc/rpc-fault.ts";

/** The size of range that one provider grants, learnt from its refusals. */
export class LogRange extends AdaptiveLimit {
  constructor() {
    super(10_000, 2 ** 24);
  }

  /** How many blocks to ask for. */
  get sizeBlocks(): number {
    return this.size;
  }
}

/**
 * Reads `from` to `to`, both inclusive, in ascending ranges; `isDone` may end it early.
 * @throws what `read` throws for a range of one block, or for a failure that no smaller range can mend
 */
export async function readRanges<T>(
  range: LogRange,
  from: number,
  to: number,
  read: (from: number, to: number) => Promise<readonly T[]>,
  isDone: (items: readonly T[]) => boolean = () => false,
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

/** How many blocks may be granted after `sizeBlocks` were not; null when no smaller range will mend it. */
export function smallerRange(
  error: unknown,
  sizeBlocks: number,
): { readonly sizeBlocks: number; readonly isNamed: boolean } | null {
  const part = (divisor: number) => ({ sizeBlocks: Math.floor(sizeBlocks / divisor), isNamed: false });
  if (error instanceof DmtpError && error.code === "CHAIN_INCOMPLETE") return part(4);
  const fault = faultOf(error);
  if (fault === null || fault.fault === "network") return null;
  // Each timeout costs its time, so fewer of them.
  if (fault.fault === "timeout") return part(16);
  if (fault.fault === "status") return [401, 403, 404, 429].includes(fault.code) ? null : part(2);
  if (isBusy(fault.code, fault.message)) return null;
  const limit = rangeLimitOf(fault.message, sizeBlocks);
  return limit === "less" ? part(2) : { sizeBlocks: limit, isNamed: true };
}
