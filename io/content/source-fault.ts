/** Every way in which a content source fails to give a block, apart from saying that it has none. */
import { DmtpError } from "../../protocol/error.ts";

/**
 * `wrong`: other bytes, a web page, a compressed body. `large`: more than a block can have. `slow`: an answer that began and did
 * not end in time. `silent`: no answer in time, which is also what a search for a block that nobody has looks like. `refused`: an
 * error status for this block, which some give for a block that they do not have and some when they themselves are broken.
 * `redirected`: it leads where it must not. `busy`: it asked to be left alone for a while. `unreachable`: no connection, or it is
 * broken.
 */
export const FAULTS = ["wrong", "large", "slow", "silent", "refused", "redirected", "busy", "unreachable"] as const;
export type Fault = (typeof FAULTS)[number];

interface FaultCause {
  readonly fault: Fault;
  /** For `busy`: how long it wants to be left alone. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** How a source is spoken of. */
export interface SourceLabel {
  /** Fit to be shown: never a URL with its path, which may hold a key. */
  readonly name: string;
  /** What a person may do about it, where that is not what CONTENT_UNREACHABLE says: it names the option that the source is of. */
  readonly hint?: string | undefined;
}

export function sourceFault(
  { name, hint }: SourceLabel,
  fault: Fault,
  what: string,
  cause?: unknown,
  retryAfterMs?: number,
): DmtpError {
  const detail: FaultCause = { fault, cause, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  return new DmtpError("CONTENT_UNREACHABLE", `${name}: ${what}`, {
    cause: detail,
    ...(hint !== undefined && { hint }),
  });
}

/** Of whatever CONTENT_SOURCES names. */
export const SOURCES_HINT = "Check CONTENT_SOURCES and that what it names answers; the same command can be repeated.";

/** What stands behind a source's error; anything that is not known is `unreachable`. */
export function faultOf(error: unknown): FaultCause {
  const cause = error instanceof DmtpError ? error.cause : undefined;
  if (typeof cause === "object" && cause !== null && "fault" in cause) return cause as FaultCause;
  if (error instanceof DmtpError && error.code === "BLOCK_HASH_MISMATCH") return { fault: "wrong" };
  if (error instanceof DmtpError && error.code === "BLOCK_TOO_LARGE") return { fault: "large" };
  return { fault: "unreachable" };
}
