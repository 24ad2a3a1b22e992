/** Errors as RFC 9457 problem documents: the one place where kinds become HTTP statuses. */
import type { Plain } from "../client/api/schema.ts";
import type { problemSchema } from "../client/api/service.ts";
import { DmtpError, type ErrorCode, type ErrorKind } from "../protocol/error.ts";
import { findHint } from "../protocol/hint.ts";

export type Problem = Plain<typeof problemSchema>;

const STATUS_BY_KIND: Readonly<Record<ErrorKind, number>> = { input: 400, integrity: 502, unavailable: 503, bug: 500 };
const STATUS_BY_CODE: Partial<Record<ErrorCode, number>> = {
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  MEDIA_TYPE_WRONG: 415,
  BODY_TOO_LARGE: 413,
  CURSOR_ORPHANED: 410,
};

export function describeProblem(error: DmtpError): Problem {
  const { code, kind, message } = error;
  return {
    type: `urn:dmtp:error:${code}`,
    title: code.charAt(0) + code.slice(1).toLowerCase().replaceAll("_", " "),
    status: STATUS_BY_CODE[code] ?? STATUS_BY_KIND[kind],
    // What went wrong inside is for the log.
    detail: kind === "bug" ? "something went wrong in the service" : message,
    code,
    hint: findHint(error),
  };
}

/** What Express and its router throw for a request that is no valid URL, and everything else. */
export function toError(thrown: unknown): DmtpError {
  if (thrown instanceof DmtpError) return thrown;
  const { status } = (thrown ?? {}) as { readonly status?: unknown };
  if (status === 400) return new DmtpError("PARAMETER_INVALID", "the URL is not valid", { cause: thrown });
  return new DmtpError("INTERNAL", "an unexpected error", { cause: thrown });
}
