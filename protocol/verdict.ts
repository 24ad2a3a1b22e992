/** What verification finds, as data (SPEC 8, 9). */
import { DmtpError, type ErrorCode } from "./error.ts";

/** The codes of SPEC 9.1 to 9.3. No other code is ever that of a verdict, whatever threw it. */
export const VERDICT_CODES = [
  // Keys
  "KEY_INADMISSIBLE",
  "BINDING_INVALID",
  // Anchors
  "CID_NOT_CANONICAL",
  "ANCHOR_REPEATED",
  "BLOCK_NOT_CANONICAL",
  "VERSION_UNSUPPORTED",
  "MANIFEST_MALFORMED",
  "BASE_IN_FUTURE",
  "PREV_MISMATCH",
  "BASE_REJECTED",
  "SEQ_MISMATCH",
  "SHARD_MALFORMED",
  "HEADS_MALFORMED",
  "COUNT_MISMATCH",
  "HEADS_MISMATCH",
  "STATE_MISMATCH",
  // Entries
  "SUITE_UNSUPPORTED",
  "ENVELOPE_MALFORMED",
  "SELF_ADDRESSED",
  "ROOM_MISMATCH",
  "FOREIGN_ROOM",
  "KEY_UNKNOWN",
  "KEY_REJECTED",
  "KEY_REVOKED",
  "RECEIVER_KEY_UNKNOWN",
  "SIGNATURE_INVALID",
  "DUPLICATE",
] as const satisfies readonly ErrorCode[];

export type VerdictCode = (typeof VERDICT_CODES)[number];

/**
 * What verification says of an anchor, a message or a key. `missing` means that a block is not reachable yet, and says
 * nothing about what it holds. `rejected` and `verified` are final for a given chain, but for one case: a verified
 * entry becomes a DUPLICATE when an earlier entry of the same message comes late and is verified in its place (SPEC 8.4).
 */
export type Verdict<Code extends ErrorCode = VerdictCode> =
  { readonly status: "verified" } | Rejection<Code> | { readonly status: "missing" };

export interface Rejection<Code extends ErrorCode = VerdictCode> {
  readonly status: "rejected";
  readonly code: Code;
  readonly reason: string;
}

export const VERIFIED: Verdict<never> = { status: "verified" };
export const MISSING: Verdict<never> = { status: "missing" };

const CODES: ReadonlySet<string> = new Set(VERDICT_CODES);

export function isVerdictCode(code: string): code is VerdictCode {
  return CODES.has(code);
}

export function rejected<Code extends ErrorCode = VerdictCode>(code: Code, reason: string): Rejection<Code> {
  return { status: "rejected", code, reason };
}

/** The verdict on what a decoder refused. Anything else, a damaged database for instance, says nothing of it and is thrown again. */
export function rejectedBy(error: unknown): Rejection {
  if (!(error instanceof DmtpError) || !isVerdictCode(error.code)) throw error;
  return rejected(error.code, error.message);
}
