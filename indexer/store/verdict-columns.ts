/** A verdict in three columns. */
import type { ErrorCode } from "../../protocol/error.ts";
import { MISSING, rejected, VERIFIED, type Verdict } from "../../protocol/verdict.ts";

export type Status = Verdict["status"];

export interface VerdictRow {
  readonly status: Status;
  readonly code: ErrorCode | null;
  readonly reason: string | null;
}

export function verdictColumns(verdict: Verdict): [status: Status, code: ErrorCode | null, reason: string | null] {
  return verdict.status === "rejected" ? [verdict.status, verdict.code, verdict.reason] : [verdict.status, null, null];
}

export function verdictOfRow({ status, code, reason }: VerdictRow): Verdict {
  if (status === "rejected") return rejected(code ?? "INTERNAL", reason ?? "");
  return status === "verified" ? VERIFIED : MISSING;
}
