/** The archive (SPEC 8.6): blocks that say what the chain logged, so that a file with them can be replayed without a chain. */
import { addressOfBytes, bytesOfAddress, type Address } from "./address.ts";
import { fromHex, toHex, type Hex } from "./bytes.ts";
import { mapOf, MAX_BLOCK_BYTES, type CborArray, type CborValue } from "./cbor.ts";
import { decode } from "./cbor-decoder.ts";
import { encode } from "./cbor-encoder.ts";
import { cidOf, cidOfDigest, digestOfCid, linkTo, type Cid } from "./cid.ts";
import { DmtpError } from "./error.ts";
import type { ChainEvent, Position, Provenance } from "./event.ts";
import { Fields, readArray, readBytes, readLink, readUint, VERSION } from "./fields.ts";
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

const CODE = "ARCHIVE_MALFORMED";
const MEMBERS = ["v", "chain", "cidStore", "registry", "room", "wallet", "since", "events", "missing"];
/** So many events in a block: with fourteen parts each, half of what a block may have (SPEC 2). */
const EVENTS_PER_BLOCK = 2_048;
/** An array's head, at its longest. */
const HEAD_BYTES = 5;
/** No verdict depends on what comes behind these: a text that is no CID, and a signature that is none of ECDSA's. */
const MAX_TEXT_CHARACTERS = 1_024;
const MAX_SIGNATURE_BYTES = 1_024;
const KIND = { anchor: 0, key: 1, revocation: 2 } as const;
const DEADLINE_BYTES = 32;

export function encodeArchive({ deployment, scope, events, missing }: Archive): Block {
  const bytes = encode(
    mapOf({
      v: VERSION,
      chain: deployment.chainId,
      cidStore: bytesOfAddress(deployment.cidStore),
      registry: bytesOfAddress(deployment.keyRegistry),
      room: scope.room === null ? null : fromHex(scope.room),
      wallet: scope.wallet === null ? null : bytesOfAddress(scope.wallet),
      since: scope.since,
      events: events.map(linkTo),
      missing,
    }),
  );
  return { cid: cidOf(bytes), bytes };
}

/** @throws ARCHIVE_MALFORMED, VERSION_UNSUPPORTED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL */
export function decodeArchive(block: Uint8Array): Archive {
  const fields = new Fields(decode(block), MEMBERS, CODE);
  const isNull = (name: string): boolean => fields.value(name) === null;
  const room = isNull("room") ? null : (toHex(fields.bytes("room", 32)) as RoomId);
  const wallet = isNull("wallet") ? null : addressOfBytes(fields.bytes("wallet", 20));
  if (room !== null && wallet !== null) throw new DmtpError(CODE, "room and wallet are both given");
  return {
    deployment: {
      chainId: fields.uint("chain"),
      cidStore: addressOfBytes(fields.bytes("cidStore", 20)),
      keyRegistry: addressOfBytes(fields.bytes("registry", 20)),
    },
    scope: { room, wallet, since: fields.uint("since") },
    events: readPages(fields.array("events")),
    missing: fields.uint("missing"),
  };
}

/** No two pages are the same, since no two events have the same place: named twice, a small file would be a large history. */
function readPages(links: CborArray): Cid[] {
  const cids = links.map((link) => readLink(link, CODE, "events"));
  if (new Set(cids).size < cids.length) throw new DmtpError(CODE, "a block of events is named twice");
  return cids;
}

/** What the chain logged, in chain order over both contracts, in as few blocks as hold it. The same events give the same blocks. */
export function* encodeEvents(events: Iterable<ChainEvent>): Generator<Block> {
  let rows: CborArray[] = [];
  let size = HEAD_BYTES;
  const flush = (): Block => {
    const bytes = encode(rows);
    rows = [];
    size = HEAD_BYTES;
    return { cid: cidOf(bytes), bytes };
  };
  for (const event of events) {
    const row = rowOf(event);
    const rowBytes = encode(row).length;
    if (rows.length === EVENTS_PER_BLOCK || size + rowBytes > MAX_BLOCK_BYTES) yield flush();
    rows.push(row);
    size += rowBytes;
  }
  if (rows.length > 0) yield flush();
}

/** The bytes that an archive has of an event: two events that are the same have the same. */
export function encodeEvent(event: ChainEvent): Uint8Array {
  return encode(rowOf(event));
}

/**
 * Reads blocks of events in their order; indices go on from block to block.
 * @throws ARCHIVE_MALFORMED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL
 */
export function* decodeEvents(blocks: Iterable<Uint8Array>): Generator<ChainEvent> {
  const counts = { anchors: 0, keys: 0 };
  for (const block of blocks) {
    const rows = readArray(decode(block), CODE, "the block");
    if (rows.length > EVENTS_PER_BLOCK) throw new DmtpError(CODE, `a block of ${rows.length} events`);
    for (const row of rows) {
      const event = readRow(row, counts);
      counts[event.kind === "anchor" ? "anchors" : "keys"] += 1;
      yield event;
    }
  }
}

function rowOf(event: ChainEvent): CborArray {
  const { kind, blockNumber, logIndex, blockHash, transactionHash } = event;
  const place = [KIND[kind], blockNumber, logIndex, fromHex(blockHash), fromHex(transactionHash)];
  if (event.kind === "anchor") {
    return [...place, event.cid === null ? cut(event.text) : digestOfCid(event.cid)];
  }
  const key = [...place, bytesOfAddress(event.wallet), event.version];
  if (event.kind === "revocation") return key;
  return [
    ...key,
    event.encryptionKey,
    event.signingKey,
    event.document,
    fromHex(`0x${event.deadline.toString(16).padStart(2 * DEADLINE_BYTES, "0")}`),
    event.signature.slice(0, MAX_SIGNATURE_BYTES),
    event.hasCode,
  ];
}

function cut(text: string): string {
  // A character takes two code units at most.
  return Array.from(text.slice(0, 2 * MAX_TEXT_CHARACTERS))
    .slice(0, MAX_TEXT_CHARACTERS)
    .join("");
}

function readRow(value: CborValue, counts: { readonly anchors: number; readonly keys: number }): ChainEvent {
  const row = readArray(value, CODE, "an event");
  const [kind, blockNumber, logIndex, blockHash, transactionHash] = row;
  const place: Position & Provenance = {
    blockNumber: readUint(blockNumber, Number.MAX_SAFE_INTEGER, CODE, "a block number"),
    logIndex: readUint(logIndex, Number.MAX_SAFE_INTEGER, CODE, "a log index"),
    blockHash: readHash(blockHash, "a block hash"),
    transactionHash: readHash(transactionHash, "a transaction hash"),
  };
  if (kind === KIND.anchor && row.length === 6)
    return { kind: "anchor", index: counts.anchors, ...place, ...readEntry(row[5]) };
  const index = counts.keys;
  const wallet = addressOfBytes(readBytes(row[5], 20, CODE, "a wallet"));
  const version = readUint(row[6], Number.MAX_SAFE_INTEGER, CODE, "a version");
  if (kind === KIND.revocation && row.length === 7) return { kind: "revocation", index, ...place, wallet, version };
  const hasCode = row[12];
  if (kind !== KIND.key || row.length !== 13 || typeof hasCode !== "boolean") throw new DmtpError(CODE, "not an event");
  return {
    kind: "key",
    index,
    ...place,
    wallet,
    version,
    encryptionKey: readBytes(row[7], 32, CODE, "an encryption key"),
    signingKey: readBytes(row[8], 32, CODE, "a signing key"),
    document: readBytes(row[9], 32, CODE, "a document"),
    deadline: BigInt(toHex(readBytes(row[10], DEADLINE_BYTES, CODE, "a deadline"))),
    signature: readBytes(row[11], undefined, CODE, "a signature"),
    hasCode,
  };
}

/** A canonical CID by its digest, anything else by its text. */
function readEntry(value: CborValue | undefined): { readonly cid: Cid | null; readonly text: string } {
  if (typeof value === "string") return { cid: null, text: value };
  const cid = cidOfDigest(readBytes(value, 32, CODE, "an entry"));
  return { cid, text: cid };
}

function readHash(value: CborValue | undefined, name: string): Hex {
  return toHex(readBytes(value, 32, CODE, name));
}
