import { DmtpError, type ErrorCode } from "./error.ts";

/**
 * What verification says of an anchor, a message or a key. `missing` means that a block is not reachable yet, and says
 * nothing about what it holds. `rejected` and `verified` are final for a given chain, but for one case: a verified
 * entry becomes a DUPLICATE when an earlier entry of the same message comes late and is verified in its place (SPEC 8.4).
 */
export type Verdict =
  | { readonly status: "verified" }
  | { readonly status: "rejected"; readonly code: ErrorCode; readonly reason: string }
  | { readonly status: "missing" };

export const VERIFIED: Verdict = { status: "verified" };
export const MISSING: Verdict = { status: "missing" };

export function rejected(code: ErrorCode, reason: string): Verdict {
  return { status: "rejected", code, reason };
}

/** The verdict on what a decoder refused. Anything but a refusal is a defect and is thrown again. */
export function rejectedBy(error: unknown): Verdict {
  if (!(error instanceof DmtpError) || error.kind !== "integrity") throw error;
  return rejected(error.code, error.message);
}
