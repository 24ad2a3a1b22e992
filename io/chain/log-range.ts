/** Logs in ranges of blocks that adapt to what a provider grants; their limits differ, change, and are told in prose only. */
import { DmtpError } from "../../protocol/error.ts";
import { isBusy, rangeLimitOf } from "./range-limit.ts";
import { faultOf } from "./rpc-fault.ts";

/** Ranges that it takes, at most, to try a larger one. */
const MAX_PATIENCE = 4_096;

/** The size of range that one provider grants, learnt from its refusals. */
export class LogRange {
  private static readonly INITIAL = 10_000;
  private static readonly MAX = 2 ** 24;
  private size = LogRange.INITIAL;
  /** Ranges read since the last refusal, and how many it takes to try a larger one again. */
  private granted = 0;
  private patience = 1;
  /** Whether the present size is a larger one that has not been granted yet. */
  private isTrial = false;

  /** How many blocks to ask for. */
  get sizeBlocks(): number {
    return this.size;
  }

  /** A whole range was read. */
  grow(): void {
    this.granted += 1;
    this.isTrial = false;
    if (this.granted < this.patience) return;
    this.granted = 0;
    this.isTrial = true;
    this.size = Math.min(LogRange.MAX, this.size * 2);
  }

  /** A range of `sizeBlocks` was refused, or was answered with gaps. */
  shrink(sizeBlocks: number, factor = 2): void {
    this.shrinkTo(Math.floor(sizeBlocks / factor));
  }

  /** As many blocks may be granted; `isNamed` by the provider's own word. */
  shrinkTo(sizeBlocks: number, isNamed = false): void {
    this.size = Math.max(1, sizeBlocks);
    this.granted = 0;
    // A limit that held when it was tried is tried ever more rarely, and one that was named hardly ever.
    if (isNamed) this.patience = MAX_PATIENCE;
    else this.patience = Math.max(16, this.isTrial ? Math.min(MAX_PATIENCE, this.patience * 2) : this.patience);
    this.isTrial = false;
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
