import type { DmtpError, ErrorCode } from "./error.ts";

/**
 * What to do about an error, in one sentence for each code. Hints may change. They are for people at a command line and readers of a
 * problem document, so that nothing but the edges imports them.
 */
export const HINTS: Readonly<Record<ErrorCode, string>> = {
  // Blocks and formats
  BLOCK_TOO_LARGE: "Blocks are at most 1 MiB (SPEC 2); nothing can make a larger one valid.",
  BLOCK_HASH_MISMATCH: "The bytes are not the ones that were asked for; fetch the block from another source.",
  BLOCK_NOT_CANONICAL: "The block is not canonical DAG-CBOR (SPEC 2); its author has to encode it again.",
  VERSION_UNSUPPORTED: "A newer DMTP made this; update to read it.",
  SUITE_UNSUPPORTED: "A newer DMTP made this; update to read it.",
  CID_NOT_CANONICAL: "Only CIDv1, dag-cbor, sha2-256 in lower-case base32 is a DMTP CID.",
  ENVELOPE_MALFORMED: "The block is not an envelope (SPEC 5).",
  KEY_DOCUMENT_MALFORMED: "The block is not a key document (SPEC 4).",
  MANIFEST_MALFORMED: "The block is not a manifest header (SPEC 7).",
  SHARD_MALFORMED: "The block is not a shard of exactly {ROOM_ID: [CID, …]} (SPEC 7).",
  ARCHIVE_MALFORMED: "The file is no whole and unchanged archive (SPEC 8.6); get it again, or export it again.",
  HEADS_MALFORMED: "The block is not a heads block (SPEC 7).",
  CONTENT_MALFORMED: "The plaintext is not typed content (SPEC 6).",

  // Verification
  ROOM_MISMATCH: "The envelope claims a room that its sender and receiver do not have.",
  FOREIGN_ROOM: "The manifest lists the message in a room it does not belong to.",
  SELF_ADDRESSED: "A message needs two different wallets.",
  DUPLICATE: "The message is already in the history, at an earlier place.",
  KEY_UNKNOWN: "The sender had not registered that key version before the message was anchored.",
  KEY_REJECTED: "The sender's registered key is not valid; see its key history for the reason.",
  KEY_REVOKED: "The sender revoked that key before the message was anchored.",
  RECEIVER_KEY_UNKNOWN: "The receiver had not registered that key version before the message was anchored.",
  SIGNATURE_INVALID: "The message was not signed by the sender's registered key.",
  KEY_INADMISSIBLE: "A registered public key is not one that an honest wallet can make.",
  BINDING_INVALID: "The wallet did not sign this key; it must register a key again.",
  KEY_DOCUMENT_MISMATCH: "The key document is for another wallet, version, deployment or key.",
  ANCHOR_REPEATED: "The same manifest was anchored before; it counts once.",
  BASE_IN_FUTURE: "A manifest can only build on an earlier anchor.",
  BASE_REJECTED: "The manifest builds on an anchor that is not valid.",
  PREV_MISMATCH: "The manifest names another predecessor than the one anchored at its base.",
  SEQ_MISMATCH: "The manifest's sequence number is not its base's plus one.",
  COUNT_MISMATCH: "The manifest does not list as many messages as it says.",
  HEADS_MISMATCH: "The manifest's heads are not what its messages give.",
  STATE_MISMATCH: "The manifest's state root is not what its messages give.",

  // Keys and messages
  ADDRESS_INVALID: "Give a 0x-prefixed address of 40 hexadecimal digits, checksummed or all in one case.",
  ROOM_ID_INVALID: "Give a 0x-prefixed room id of 64 hexadecimal digits, lower-case.",
  HEX_INVALID: "Give 0x-prefixed hexadecimal digits, lower-case.",
  RECEIVER_IS_SENDER: "Choose another receiver: a message needs two different wallets.",
  RECEIVER_ZERO: "Nobody owns the zero address; check the receiver.",
  RECEIVER_UNREGISTERED: "Ask the receiver to run: npx hardhat keys register",
  RECEIVER_REVOKED: "Ask the receiver to register a new key: npx hardhat keys register",
  RECEIVER_KEY_INVALID: "The receiver's registered key cannot be trusted; ask them to register again.",
  RECEIVER_KEY_UNSIGNED:
    "Ask the receiver for the key over another channel (npx hardhat keys show). If it is theirs, give --accept-contract-wallet ADDRESS once.",
  SENDER_UNREGISTERED: "Register a key for the sender first: npx hardhat keys register",
  SENDER_REVOKED: "Register a new key for the sender: npx hardhat keys register",
  SEQ_EXHAUSTED:
    "A message has taken the last number of this key version; register a new key, which counts anew: npx hardhat keys register",
  TEXT_TOO_LONG: "Send at most 512 KiB a message.",
  TEXT_NOT_UNICODE: "The text has half of a surrogate pair in it; repair the text.",
  TEXT_EMPTY: "Give the message a text: --text, --file, --batch or standard input.",
  WALLET_SIGNATURES_VARY:
    "This wallet signs differently each time; seal the key with a passphrase instead: --passphrase",
  WALLET_SIGNATURE_WRONG: "The signature is not from that wallet; choose the right account.",
  PASSPHRASE_INVALID:
    "Use characters that every Unicode since 15.0 has; where the key was sealed with newer ones, open it with a newer Node.",
  SEALED_KEY_UNOPENED:
    "Give the wallet that sealed it (--from), or its passphrase (--passphrase, DMTP_PASSPHRASE). If that is lost, register a new key: npx hardhat keys register",
  MESSAGE_UNOPENED: "The message does not open with this key: it was made for another one, or is damaged.",
  // Chain
  CHAIN_UNREACHABLE: "Check the RPC URL and that the node runs; the same command can be repeated.",
  CHAIN_ID_WRONG: "The RPC serves another chain than the one asked for; check the URL and --network.",
  CHAIN_DISAGREES: "The RPC contradicts itself or another RPC; use a provider you trust more.",
  CHAIN_INCOMPLETE: "The RPC left events out; repeat with another RPC URL.",
  CONTRACT_MISSING:
    "No contract is deployed there; check the address and --network, or deploy: npx hardhat ignition deploy ignition/modules/DMTP.ts",
  CONTRACT_WRONG: "Another contract is deployed there; check CID_STORE_ADDRESS and KEY_REGISTRY_ADDRESS.",
  DEPLOYMENT_UNKNOWN:
    "Deploy first (npx hardhat ignition deploy ignition/modules/DMTP.ts) or set CID_STORE_ADDRESS and KEY_REGISTRY_ADDRESS.",
  DEPLOYMENT_PARAMETER_INVALID:
    "Put the addresses into a copy of ignition/parameters.example.json and give it with --parameters.",
  ACCOUNT_UNKNOWN: "That account's key is not configured for this network; see accounts in hardhat.config.ts.",
  NOT_ANCHORER: "Run this with the anchorer's account, or let the owner call setAnchorer.",
  FUNDS_INSUFFICIENT: "Send POL to the account that pays for this transaction.",
  HEAD_MOVED: "Somebody else anchored in between; run the command again.",
  FEE_TOO_HIGH: "Wait for lower fees, or raise --max-fee or --max-cost; nothing was sent.",
  TRANSACTION_PENDING: "Run the command again: it goes on with the transaction that waits.",
  ANCHOR_RUNNING: "Another anchor of this mailbox is at work; it takes these messages with it, or the next run does.",
  MAILBOX_OVERTAKEN: "Another command has read the chain in between; run the command again.",
  TRANSACTION_FAILED: "The transaction was not mined as planned; run the command again.",

  // Content
  CONTENT_MISSING: "No content source has the block now; start the node that pins it, or try again later.",
  CONTENT_UNREACHABLE: "Check IPFS_API_URL and that the node runs; the same command can be repeated.",
  CONTENT_WRITE_FAILED: "The content store did not take the block; check its disk and repeat the command.",

  ARCHIVE_UNTRUE: "The archive contradicts the chain: it is of another one, or somebody changed it.",
  CAR_MALFORMED: "The file is not a whole CAR file; get it again, or from another source.",

  // Databases: the mailbox, the index and others, each named by the message
  DATABASE_NEWER: "A newer DMTP wrote this database; update, or use another DMTP_DATA_DIR.",
  DATABASE_OLDER:
    "Nothing was released before this version, so nothing is carried over: move the file away, or use another DMTP_DATA_DIR. What is anchored comes back from chain and content; send the rest again.",
  DATABASE_FOREIGN: "This database belongs to another deployment; use another DMTP_DATA_DIR.",
  DATABASE_BUSY: "Another command is writing to this database; repeat when it has finished.",
  DATABASE_DAMAGED: "The database is damaged; restore it from a backup, or rebuild it from chain and content.",
  DATABASE_WRITE_FAILED: "The database could not be written; check the disk and repeat the command.",

  // Command line and HTTP
  OPTION_INVALID: "See --help for what this option takes.",
  FILE_UNWRITABLE: "Check the path, its permissions and the disk, and repeat the command.",
  FILE_UNREADABLE: "Check the path and its permissions.",
  BATCH_LINE_INVALID: 'Each line is one JSON object: {"to": "0x…", "text": "…"}. Nothing of this batch was sent.',
  PARAMETER_INVALID: "See /openapi.json for what this parameter takes.",
  NOT_FOUND: "There is nothing by that name here; see /openapi.json for what there is.",
  METHOD_NOT_ALLOWED: "The header Allow says what is answered there; see /openapi.json.",
  MEDIA_TYPE_WRONG: "Set Content-Type as /openapi.json has it, and send the bytes as they are.",
  BODY_TOO_LARGE: "See /openapi.json for how much is taken there.",
  CURSOR_ORPHANED: "A reorg took back what the pages before said; read the list again from its start.",
  INDEX_BEHIND: "The index is not up to date with the chain; ask again in a moment.",
  SERVICE_BUSY: "The service does as much as it can; ask again in a moment, or ask another.",
  CONFIGURATION_INVALID: "See the configuration table in docs/operator.md.",
  ADDRESS_IN_USE: "Another process listens there; choose another PORT.",
  HISTORY_NOT_VERIFIED: "Some of the history is rejected; each item says why.",
  HISTORY_INCOMPLETE: "Some content is not reachable yet; run the command again when its nodes are.",
  // A relay
  SEQ_TAKEN: "Seal the message again with the number and the heads that the relay names.",
  CLOCK_AHEAD: "Set the clock of this machine right, and seal the message again.",
  POLICY_REFUSED: "The operator of this relay does not take this message; another relay may.",
  LIMIT_REACHED: "Wait as long as Retry-After says, and send the same message again.",
  ANCHORING_BEHIND:
    "The relay anchors too slowly to promise anything now; send the same message again in a few minutes.",
  RECEIPT_INVALID: "The relay's receipt is not what SPEC 14 asks for; keep it, and use another relay.",

  RELAY_UNREACHABLE: "Check the relay's URL and that it runs; the same message can be sent again, and counts once.",
  INDEXER_UNREACHABLE: "Check the indexer's URL and that it runs; the same request can be repeated.",
  ANSWER_MALFORMED: "What answers is not a DMTP indexer, or a newer one; check its URL, or update.",
  ANSWER_UNTRUE: "The indexer contradicts the blocks or the chain; ask another one.",

  INTERNAL: "This is a defect in DMTP; please report it with the command that you ran.",
};

/** What to do about this error: its own hint, or that of its code. */
export function findHint({ code, hint }: DmtpError): string {
  return hint ?? HINTS[code];
}
