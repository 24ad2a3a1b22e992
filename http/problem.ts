/** Errors as RFC 9457 problem documents: the one place where kinds become HTTP statuses. */
import type { Plain } from "../client/api/schema.ts";
import type { problemSchema } from "../client/api/service.ts";
import { DmtpError, toDmtpError, type ErrorCode, type ErrorKind } from "../protocol/error.ts";
import { findHint } from "../protocol/hint.ts";

export type Problem = Plain<typeof problemSchema>;

const STATUS_BY_KIND: Readonly<Record<ErrorKind, number>> = { input: 400, integrity: 502, unavailable: 503, bug: 500 };
const STATUS_BY_CODE: Partial<Record<ErrorCode, number>> = {
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  MEDIA_TYPE_WRONG: 415,
  BODY_TOO_LARGE: 413,
  CURSOR_ORPHANED: 410,
  SEQ_TAKEN: 409,
  CLOCK_AHEAD: 422,
  POLICY_REFUSED: 403,
  LIMIT_REACHED: 429,
};
/** The same where a client brought what was found wrong. */
const STATUS_OF_BROUGHT: Partial<Record<ErrorCode, number>> = {
  BLOCK_HASH_MISMATCH: 400,
  BLOCK_TOO_LARGE: 413,
  // The chain, or the relay's view of it, may come to know the key.
  KEY_UNKNOWN: 409,
  RECEIVER_KEY_UNKNOWN: 409,
  DATABASE_DAMAGED: 503,
};

/** @param isBrought whether the error is about what a client brought, and not about what the service has */
export function describeProblem(error: DmtpError, isBrought = false): Problem {
  const { code, kind, message, members } = error;
  return {
    ...members,
    type: `urn:dmtp:error:${code}`,
    title: code.charAt(0) + code.slice(1).toLowerCase().replaceAll("_", " "),
    status: findStatus(error, isBrought),
    // What went wrong inside is for the log.
    detail: kind === "bug" ? "something went wrong in the service" : message,
    code,
    hint: findHint(error),
  };
}

function findStatus({ code, kind }: DmtpError, isBrought: boolean): number {
  const byCode = (isBrought ? STATUS_OF_BROUGHT[code] : undefined) ?? STATUS_BY_CODE[code];
  return byCode ?? (isBrought && kind === "integrity" ? 422 : STATUS_BY_KIND[kind]);
}

/** What Express and its router throw for a request that is no valid URL, and everything else. */
export function toError(thrown: unknown): DmtpError {
  const { status } = (thrown ?? {}) as { readonly status?: unknown };
  if (status === 400) return new DmtpError("PARAMETER_INVALID", "the URL is not valid", { cause: thrown });
  return toDmtpError(thrown);
}
