/** How many blocks a provider grants in one range: limits differ, change, and are told in prose only. */
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

/** How many blocks may be granted after `sizeBlocks` were not; null when no smaller range will repairRange it. */
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
