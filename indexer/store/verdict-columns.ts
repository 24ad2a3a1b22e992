/** A verdict in three columns. */
import { DmtpError, type ErrorCode } from "../../protocol/error.ts";
import { isDocumentCode, type DocumentVerdict } from "../../protocol/key-document.ts";
import { isVerdictCode, MISSING, rejected, VERIFIED, type Verdict } from "../../protocol/verdict.ts";

export type Status = Verdict["status"];

export interface VerdictRow {
  readonly status: Status;
  readonly code: ErrorCode | null;
  readonly reason: string | null;
}

export function verdictColumns(
  verdict: Verdict<ErrorCode>,
): [status: Status, code: ErrorCode | null, reason: string | null] {
  return verdict.status === "rejected" ? [verdict.status, verdict.code, verdict.reason] : [verdict.status, null, null];
}

/** @throws DATABASE_DAMAGED for a code that is none of a verdict */
export function verdictOfRow(row: VerdictRow): Verdict {
  return readVerdict(row, isVerdictCode);
}

/** As {@link verdictOfRow}, on a key document. */
export function documentVerdictOfRow(row: VerdictRow): DocumentVerdict {
  return readVerdict(row, isDocumentCode);
}

function readVerdict<Code extends ErrorCode>(
  { status, code, reason }: VerdictRow,
  isCode: (code: string) => code is Code,
): Verdict<Code> {
  if (status !== "rejected") return status === "verified" ? VERIFIED : MISSING;
  if (code !== null && isCode(code)) return rejected(code, reason ?? "");
  throw new DmtpError("DATABASE_DAMAGED", `the index: a verdict with the code ${String(code)}`, {
    hint: "Delete the index: it is rebuilt from chain and content.",
  });
}
