/** The archive (SPEC 8.6): blocks that say what the chain logged, so that a file with them can be replayed without a chain. */
import { addressOfBytes, type Address } from "./address.ts";
import { toHex, type Hex } from "./bytes.ts";
import { mapOf, type CborArray, type CborValue } from "./cbor.ts";
import { decode } from "./cbor-decoder.ts";
import { encodeBlock } from "./cbor-encoder.ts";
import { cidOf, cidOfDigest, digestOfCid, isCid, type Cid } from "./cid.ts";
import { DmtpError } from "./error.ts";
import {
  encodeEntryText,
  decodeEntryText,
  type AnchorEvent,
  type ChainEvent,
  type Position,
  type Provenance,
} from "./event.ts";
import {
  encodeHex,
  encodeLink,
  Fields,
  requireArray,
  requireBytes,
  requireLink,
  requireUint,
  type FormatVersion,
} from "./fields.ts";
import type { Block } from "./manifest.ts";
import type { Deployment, RoomId } from "./room.ts";

/** Which messages an archive holds; of everything else it has what a replay needs. */
export interface ArchiveScope {
  readonly room: RoomId | null;
  /** All rooms of this one. Not along with a room. */
  readonly wallet: Address | null;
  /** Only what this anchor and later ones list; 0 for everything. */
  readonly since: number;
}

export interface Archive {
  readonly deployment: Deployment;
  readonly scope: ArchiveScope;
  /** The blocks that hold the events, in their order. */
  readonly events: readonly Cid[];
  /** How many blocks it should have and has not, since nobody had them. */
  readonly missing: number;
}

const VERSION: FormatVersion = { v: 1 };
const CODE = "ARCHIVE_MALFORMED";
const MEMBERS = ["chain", "cidStore", "registry", "room", "wallet", "since", "events", "missing"];
/** In each block of events but the last. The longest events take a third of a block. */
const EVENTS_PER_BLOCK = 240;
/** No verdict depends on what comes behind these: a text that is no CID, and a signature that is none of ECDSA's. */
const MAX_VERBATIM_BYTES = 1_024;
const MAX_SIGNATURE_BYTES = 1_024;
/** An event of the contracts each; one of CIDStore is `anchor` for a CID and `verbatim` for anything else. */
const KIND = { anchor: 0, key: 1, revocation: 2, verbatim: 3 } as const;
const DEADLINE_BYTES = 32;
const MAX_UINT53 = Number.MAX_SAFE_INTEGER;

/** @throws ARCHIVE_MALFORMED, BLOCK_TOO_LARGE for what {@link decodeArchive} would refuse */
export function encodeArchive({ deployment, scope, events, missing }: Archive): Block {
  checkScope(scope);
  checkPages(events);
  const bytes = encodeBlock(
    mapOf({
      ...VERSION,
      chain: requireUint(deployment.chainId, MAX_UINT53, CODE, "chain"),
      cidStore: encodeHex(deployment.cidStore, 20, CODE, "cidStore"),
      registry: encodeHex(deployment.keyRegistry, 20, CODE, "registry"),
      room: scope.room === null ? null : encodeHex(scope.room, 32, CODE, "room"),
      wallet: scope.wallet === null ? null : encodeHex(scope.wallet, 20, CODE, "wallet"),
      since: requireUint(scope.since, MAX_UINT53, CODE, "since"),
      events: events.map((cid) => encodeLink(cid, CODE, "events")),
      missing: requireUint(missing, MAX_UINT53, CODE, "missing"),
    }),
  );
  return { cid: cidOf(bytes), bytes };
}

/** @throws ARCHIVE_MALFORMED, VERSION_UNSUPPORTED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL */
export function decodeArchive(block: Uint8Array): Archive {
  const fields = new Fields(decode(block), MEMBERS, CODE, VERSION);
  const isNull = (name: string): boolean => fields.value(name) === null;
  const room = isNull("room") ? null : (toHex(fields.bytes("room", 32)) as RoomId);
  const wallet = isNull("wallet") ? null : addressOfBytes(fields.bytes("wallet", 20));
  const scope = { room, wallet, since: fields.uint("since") };
  checkScope(scope);
  const events = fields.array("events").map((link) => requireLink(link, CODE, "events"));
  checkPages(events);
  return {
    deployment: {
      chainId: fields.uint("chain"),
      cidStore: addressOfBytes(fields.bytes("cidStore", 20)),
      keyRegistry: addressOfBytes(fields.bytes("registry", 20)),
    },
    scope,
    events,
    missing: fields.uint("missing"),
  };
}

function checkScope({ room, wallet }: ArchiveScope): void {
  if (room !== null && wallet !== null) throw new DmtpError(CODE, "room and wallet are both given");
}

/** No two pages are the same, since no two events have the same place: named twice, a small file would be a large history. */
function checkPages(events: readonly Cid[]): void {
  if (new Set(events).size < events.length) throw new DmtpError(CODE, "a block of events is named twice");
}

/**
 * What the chain logged, in chain order over both contracts, in blocks of 240 events. The same events give the same blocks.
 * @throws ARCHIVE_MALFORMED for what {@link decodeEvents} would refuse
 */
export function* encodeEvents(events: Iterable<ChainEvent>): Generator<Block> {
  let rows: CborArray[] = [];
  const flush = (): Block => {
    const bytes = encodeBlock(rows);
    rows = [];
    return { cid: cidOf(bytes), bytes };
  };
  for (const event of events) {
    rows.push(encodeRow(event));
    if (rows.length === EVENTS_PER_BLOCK) yield flush();
  }
  if (rows.length > 0) yield flush();
}

/** The bytes that an archive has of an event: two events that are the same have the same. */
export function encodeEvent(event: ChainEvent): Uint8Array {
  return encodeBlock(encodeRow(event));
}

/** Reads what {@link encodeEvent} made of an event with this index. @throws ARCHIVE_MALFORMED, BLOCK_NOT_CANONICAL */
export function decodeEvent(bytes: Uint8Array, index: number): ChainEvent {
  return decodeRow(decode(bytes), { anchors: index, keys: index });
}

/**
 * Reads blocks of events in their order; indices go on from block to block.
 * @throws ARCHIVE_MALFORMED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL
 */
export function* decodeEvents(blocks: Iterable<Uint8Array>): Generator<ChainEvent> {
  const counts = { anchors: 0, keys: 0 };
  for (const block of blocks) {
    const rows = requireArray(decode(block), CODE, "the block");
    if (rows.length === 0 || rows.length > EVENTS_PER_BLOCK)
      throw new DmtpError(CODE, `a block of ${rows.length} events`);
    for (const row of rows) {
      const event = decodeRow(row, counts);
      counts[event.kind === "anchor" ? "anchors" : "keys"] += 1;
      yield event;
    }
  }
}

function encodeRow(event: ChainEvent): CborArray {
  const place = [
    event.kind === "anchor" && event.cid === null ? KIND.verbatim : KIND[event.kind],
    requireUint(event.blockNumber, MAX_UINT53, CODE, "a block number"),
    requireUint(event.logIndex, MAX_UINT53, CODE, "a log index"),
    encodeHex(event.blockHash, 32, CODE, "a block hash"),
    encodeHex(event.transactionHash, 32, CODE, "a transaction hash"),
  ];
  if (event.kind === "anchor") {
    if (event.cid === null) return [...place, encodeEntryText(event).slice(0, MAX_VERBATIM_BYTES)];
    if (!isCid(event.cid)) throw new DmtpError(CODE, "an entry is not a CID");
    return [...place, digestOfCid(event.cid)];
  }
  const wallet = encodeHex(event.wallet, 20, CODE, "a wallet");
  const key = [...place, wallet, requireUint(event.version, MAX_UINT53, CODE, "a version")];
  if (event.kind === "revocation") return key;
  return [
    ...key,
    requireBytes(event.encryptionKey, 32, CODE, "an encryption key"),
    requireBytes(event.signingKey, 32, CODE, "a signing key"),
    requireBytes(event.document, 32, CODE, "a document"),
    encodeHex(`0x${event.deadline.toString(16).padStart(2 * DEADLINE_BYTES, "0")}`, DEADLINE_BYTES, CODE, "a deadline"),
    event.signature.slice(0, MAX_SIGNATURE_BYTES),
    event.hasCode,
  ];
}

function decodeRow(value: CborValue, counts: { readonly anchors: number; readonly keys: number }): ChainEvent {
  const row = requireArray(value, CODE, "an event");
  const [kind, blockNumber, logIndex, blockHash, transactionHash] = row;
  const place: Position & Provenance = {
    blockNumber: requireUint(blockNumber, MAX_UINT53, CODE, "a block number"),
    logIndex: requireUint(logIndex, MAX_UINT53, CODE, "a log index"),
    blockHash: requireHash(blockHash, "a block hash"),
    transactionHash: requireHash(transactionHash, "a transaction hash"),
  };
  if ((kind === KIND.anchor || kind === KIND.verbatim) && row.length === 6) {
    const entry = kind === KIND.anchor ? decodeCid(row[5]) : decodeVerbatim(row[5]);
    return { kind: "anchor", index: counts.anchors, ...place, ...entry };
  }
  const index = counts.keys;
  const wallet = addressOfBytes(requireBytes(row[5], 20, CODE, "a wallet"));
  const version = requireUint(row[6], MAX_UINT53, CODE, "a version");
  if (kind === KIND.revocation && row.length === 7) return { kind: "revocation", index, ...place, wallet, version };
  const hasCode = row[12];
  if (kind !== KIND.key || row.length !== 13 || typeof hasCode !== "boolean") throw new DmtpError(CODE, "not an event");
  return {
    kind: "key",
    index,
    ...place,
    wallet,
    version,
    encryptionKey: requireBytes(row[7], 32, CODE, "an encryption key"),
    signingKey: requireBytes(row[8], 32, CODE, "a signing key"),
    document: requireBytes(row[9], 32, CODE, "a document"),
    deadline: BigInt(toHex(requireBytes(row[10], DEADLINE_BYTES, CODE, "a deadline"))),
    signature: requireAtMost(row[11], MAX_SIGNATURE_BYTES, "a signature"),
    hasCode,
  };
}

function decodeCid(value: CborValue | undefined): Pick<AnchorEvent, "cid" | "text"> {
  const cid = cidOfDigest(requireBytes(value, 32, CODE, "an entry"));
  return { cid, text: cid };
}

function decodeVerbatim(value: CborValue | undefined): Pick<AnchorEvent, "cid" | "text" | "bytes"> {
  return { cid: null, ...decodeEntryText(requireAtMost(value, MAX_VERBATIM_BYTES, "an entry")) };
}

function requireAtMost(value: CborValue | undefined, maxBytes: number, name: string): Uint8Array {
  const bytes = requireBytes(value, undefined, CODE, name);
  if (bytes.length > maxBytes) throw new DmtpError(CODE, `${name} has ${bytes.length} bytes, at most ${maxBytes}`);
  return bytes;
}

function requireHash(value: CborValue | undefined, name: string): Hex {
  return toHex(requireBytes(value, 32, CODE, name));
}
