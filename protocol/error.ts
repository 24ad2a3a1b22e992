/** What an error means to the one who meets it; decides exit codes and HTTP statuses, which are translated at the edges only. */
export type ErrorKind = "input" | "integrity" | "unavailable" | "bug";

/**
 * Every code that DMTP can report, and its kind. Codes never change. What to do about each stands in hint.ts, which a page need not
 * load.
 *
 * The codes in the first two groups are also the codes of `rejected` verdicts (SPEC section 9).
 */
export const ERRORS = {
  // Blocks and formats
  BLOCK_TOO_LARGE: "integrity",
  BLOCK_HASH_MISMATCH: "integrity",
  BLOCK_NOT_CANONICAL: "integrity",
  VERSION_UNSUPPORTED: "integrity",
  SUITE_UNSUPPORTED: "integrity",
  CID_NOT_CANONICAL: "integrity",
  ENVELOPE_MALFORMED: "integrity",
  KEY_DOCUMENT_MALFORMED: "integrity",
  MANIFEST_MALFORMED: "integrity",
  SHARD_MALFORMED: "integrity",
  ARCHIVE_MALFORMED: "integrity",
  HEADS_MALFORMED: "integrity",
  CONTENT_MALFORMED: "integrity",

  // Verification
  ROOM_MISMATCH: "integrity",
  FOREIGN_ROOM: "integrity",
  SELF_ADDRESSED: "integrity",
  DUPLICATE: "integrity",
  KEY_UNKNOWN: "integrity",
  KEY_REJECTED: "integrity",
  KEY_REVOKED: "integrity",
  RECEIVER_KEY_UNKNOWN: "integrity",
  SIGNATURE_INVALID: "integrity",
  KEY_INADMISSIBLE: "integrity",
  BINDING_INVALID: "integrity",
  KEY_DOCUMENT_MISMATCH: "integrity",
  ANCHOR_REPEATED: "integrity",
  BASE_IN_FUTURE: "integrity",
  BASE_REJECTED: "integrity",
  PREV_MISMATCH: "integrity",
  SEQ_MISMATCH: "integrity",
  COUNT_MISMATCH: "integrity",
  HEADS_MISMATCH: "integrity",
  STATE_MISMATCH: "integrity",

  // Keys and messages
  ADDRESS_INVALID: "input",
  ROOM_ID_INVALID: "input",
  HEX_INVALID: "input",
  RECEIVER_IS_SENDER: "input",
  RECEIVER_ZERO: "input",
  RECEIVER_UNREGISTERED: "input",
  RECEIVER_REVOKED: "input",
  RECEIVER_KEY_INVALID: "integrity",
  RECEIVER_KEY_UNSIGNED: "input",
  SENDER_UNREGISTERED: "input",
  SENDER_REVOKED: "input",
  SEQ_EXHAUSTED: "input",
  TEXT_TOO_LONG: "input",
  TEXT_NOT_UNICODE: "input",
  TEXT_EMPTY: "input",
  WALLET_SIGNATURES_VARY: "input",
  WALLET_SIGNATURE_WRONG: "input",
  PASSPHRASE_INVALID: "input",
  SEALED_KEY_UNOPENED: "input",
  MESSAGE_UNOPENED: "integrity",
  // Chain
  CHAIN_UNREACHABLE: "unavailable",
  CHAIN_ID_WRONG: "input",
  CHAIN_DISAGREES: "integrity",
  CHAIN_INCOMPLETE: "unavailable",
  CONTRACT_MISSING: "input",
  CONTRACT_WRONG: "input",
  DEPLOYMENT_UNKNOWN: "input",
  DEPLOYMENT_PARAMETER_INVALID: "input",
  ACCOUNT_UNKNOWN: "input",
  NOT_ANCHORER: "input",
  FUNDS_INSUFFICIENT: "input",
  HEAD_MOVED: "unavailable",
  FEE_TOO_HIGH: "unavailable",
  TRANSACTION_PENDING: "unavailable",
  ANCHOR_RUNNING: "unavailable",
  MAILBOX_OVERTAKEN: "unavailable",
  TRANSACTION_FAILED: "unavailable",

  // Content
  CONTENT_MISSING: "unavailable",
  CONTENT_UNREACHABLE: "unavailable",
  CONTENT_WRITE_FAILED: "unavailable",

  ARCHIVE_UNTRUE: "integrity",
  CAR_MALFORMED: "integrity",

  // Databases: the mailbox, the index and others, each named by the message
  DATABASE_NEWER: "input",
  DATABASE_OLDER: "input",
  DATABASE_FOREIGN: "input",
  DATABASE_BUSY: "unavailable",
  DATABASE_DAMAGED: "integrity",
  DATABASE_WRITE_FAILED: "unavailable",

  // Command line and HTTP
  OPTION_INVALID: "input",
  FILE_UNWRITABLE: "unavailable",
  FILE_UNREADABLE: "input",
  BATCH_LINE_INVALID: "input",
  PARAMETER_INVALID: "input",
  NOT_FOUND: "input",
  METHOD_NOT_ALLOWED: "input",
  MEDIA_TYPE_WRONG: "input",
  BODY_TOO_LARGE: "input",
  CURSOR_ORPHANED: "unavailable",
  INDEX_BEHIND: "unavailable",
  SERVICE_BUSY: "unavailable",
  CONFIGURATION_INVALID: "input",
  ADDRESS_IN_USE: "input",
  HISTORY_NOT_VERIFIED: "integrity",
  HISTORY_INCOMPLETE: "unavailable",
  // A relay
  SEQ_TAKEN: "input",
  CLOCK_AHEAD: "input",
  POLICY_REFUSED: "input",
  LIMIT_REACHED: "unavailable",
  ANCHORING_BEHIND: "unavailable",
  RECEIPT_INVALID: "integrity",

  RELAY_UNREACHABLE: "unavailable",
  INDEXER_UNREACHABLE: "unavailable",
  ANSWER_MALFORMED: "integrity",
  ANSWER_UNTRUE: "integrity",

  INTERNAL: "bug",
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** The error itself where it is DMTP's, and INTERNAL around anything else that was thrown. */
export function toDmtpError(thrown: unknown): DmtpError {
  return thrown instanceof DmtpError ? thrown : new DmtpError("INTERNAL", "an unexpected error", { cause: thrown });
}

interface ErrorOptions {
  readonly cause?: unknown;
  readonly hint?: string;
  readonly retryAfterS?: number;
  readonly members?: Readonly<Record<string, unknown>>;
}

/**
 * The one error class of DMTP: a code of {@link ERRORS}, and what happened in one sentence. Its message never holds a key, a plaintext
 * or a wallet signature.
 */
export class DmtpError extends Error {
  override readonly name = "DmtpError";
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  /** What to do about it, where that is not what its code's hint says. */
  readonly hint: string | undefined;
  /** When to ask again, in seconds, where that is known. */
  readonly retryAfterS: number | undefined;
  /** What a program needs to go on, as members of a problem document (RFC 9457, 3.2). */
  readonly members: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.kind = ERRORS[code];
    this.hint = options.hint;
    this.retryAfterS = options.retryAfterS;
    this.members = options.members;
  }
}
