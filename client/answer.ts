/** What an indexer answers, parsed. All of it is what the indexer says; verify.ts finds out what of it is true. */
import type { Address } from "../protocol/address.ts";
import { fromHex, type Hex } from "../protocol/bytes.ts";
import { digestOfCid, type Cid } from "../protocol/cid.ts";
import type { KeyEvent, RevocationEvent } from "../protocol/event.ts";
import type { Binding } from "../protocol/keys.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import { Members } from "./members.ts";

/** The block up to which an answer is true; null before the first block was read. */
export type Height = { readonly block: number; readonly hash: Hex } | null;

/** As SPEC 9 has it; a newer indexer may know more codes. */
export type ClaimedVerdict =
  | { readonly status: "verified" }
  | { readonly status: "rejected"; readonly code: string; readonly reason: string }
  | { readonly status: "missing" };

export interface Counts {
  readonly verified: number;
  readonly rejected: number;
  readonly missing: number;
}

export interface Place {
  readonly blockNumber: number;
  readonly blockHash: Hex;
  readonly transactionHash: Hex;
  /** Until then, a reorg may take it back. */
  readonly final: boolean;
}

export interface MessageAnswer extends Place {
  readonly cid: Cid;
  readonly room: RoomId;
  readonly sender: Address | null;
  readonly receiver: Address | null;
  readonly senderKeyVersion: number | null;
  readonly receiverKeyVersion: number | null;
  /** The sender's own count in the room under that key version. */
  readonly seq: number | null;
  /** Milliseconds since 1970, by the sender's clock. */
  readonly timestamp: number | null;
  /** Of the sender's key; null where it had no such key. */
  readonly binding: Binding | null;
  readonly verdict: ClaimedVerdict;
  readonly anchorIndex: number;
  readonly ordinal: number;
  /** Null while missing, and when it was not asked for. */
  readonly block: Uint8Array | null;
}

/** What the tip has of a room: nulls when it does not have it. */
export interface RoomState {
  readonly n: number | null;
  readonly root: Hex | null;
  readonly lastAnchor: number | null;
}

export interface RoomAnswer extends RoomState {
  readonly id: RoomId;
  readonly members: readonly Address[];
  readonly counts: Counts;
}

export interface AnchorAnswer extends Place {
  readonly index: number;
  readonly cid: Cid | null;
  readonly text: string;
  readonly verdict: ClaimedVerdict;
  readonly counts: Counts;
  readonly logIndex: number;
}

export interface KeyAnswer {
  readonly event: KeyEvent | RevocationEvent;
  /** Of a key, as are both of these; null for a tombstone. */
  readonly binding: Binding | null;
  readonly verdict: ClaimedVerdict | null;
  readonly final: boolean;
}

export interface StatusAnswer {
  readonly deployment: Deployment;
  readonly ready: boolean;
  readonly problem: { readonly code: string; readonly detail: string } | null;
  readonly indexed: Height;
  readonly finalized: number | null;
  readonly stateRoot: Hex;
}

export interface Page<Item> {
  readonly at: Height;
  readonly items: readonly Item[];
  readonly next: string | null;
}

const BINDINGS = ["signature", "chain"] as const;

export function parseStatus(value: unknown): StatusAnswer {
  const status = new Members(value, "status");
  const deployment = status.members("deployment");
  return {
    deployment: {
      chainId: deployment.count("chainId"),
      cidStore: deployment.address("cidStore"),
      keyRegistry: deployment.address("keyRegistry"),
    },
    ready: status.flag("ready"),
    problem: status.nullable("problem", (name) => {
      const problem = status.members(name);
      return { code: problem.text("code"), detail: problem.text("detail") };
    }),
    indexed: parseHeight(status, "indexed"),
    finalized: status.nullable("finalized", (name) => status.count(name)),
    stateRoot: status.hex("stateRoot", 32),
  };
}

export function parsePage<Item>(value: unknown, parseItem: (item: unknown) => Item): Page<Item> {
  const page = new Members(value, "page");
  return {
    at: parseHeight(page, "at"),
    items: page.list("items", parseItem),
    next: page.nullable("next", (name) => page.text(name)),
  };
}

export function parseHeight(members: Members, name: string): Height {
  return members.nullable(name, () => {
    const height = members.members(name);
    return { block: height.count("block"), hash: height.hex("hash", 32) };
  });
}

export function parseMessage(value: unknown): MessageAnswer {
  const message = new Members(value, "message");
  const block = message.get("block");
  return {
    cid: message.cid("cid"),
    room: message.room("room"),
    sender: message.nullable("sender", (name) => message.address(name)),
    receiver: message.nullable("receiver", (name) => message.address(name)),
    senderKeyVersion: message.nullable("senderKeyVersion", (name) => message.count(name)),
    receiverKeyVersion: message.nullable("receiverKeyVersion", (name) => message.count(name)),
    seq: message.nullable("seq", (name) => message.count(name)),
    timestamp: message.nullable("timestamp", (name) => message.count(name)),
    binding: message.nullable("binding", (name) => message.oneOf(name, BINDINGS)),
    verdict: parseVerdict(message, "verdict"),
    anchorIndex: message.count("anchorIndex"),
    ordinal: message.count("ordinal"),
    ...parsePlace(message),
    block: typeof block === "string" ? bytesOfBase64(block) : null,
  };
}

export function parseRoomState(value: unknown): RoomState {
  const state = new Members(value, "room");
  return {
    n: state.nullable("n", (name) => state.count(name)),
    root: state.nullable("root", (name) => state.hex(name, 32)),
    lastAnchor: state.nullable("lastAnchor", (name) => state.count(name)),
  };
}

export function parseRoom(value: unknown): RoomAnswer {
  const room = new Members(value, "room");
  return {
    id: room.room("id"),
    members: room.list("members", (item) => new Members({ item }, "member").address("item")),
    counts: parseCounts(room),
    ...parseRoomState(value),
  };
}

export function parseAnchor(value: unknown): AnchorAnswer {
  const anchor = new Members(value, "anchor");
  const text = anchor.text("text");
  const cid = anchor.nullable("cid", (name) => anchor.cid(name));
  return {
    index: anchor.count("index"),
    // The text is what stands on the chain; the rest follows from it.
    cid: cid === text ? cid : null,
    text,
    verdict: parseVerdict(anchor, "verdict"),
    counts: parseCounts(anchor),
    ...parsePlace(anchor),
    logIndex: anchor.count("logIndex"),
  };
}

/** @param wallet whose key it is */
export function parseKey(value: unknown, wallet: Address): KeyAnswer {
  const key = new Members(value, "key");
  const kind = key.oneOf("kind", ["key", "revocation"]);
  const { final, ...place } = parsePlace(key);
  const event = {
    index: key.count("index"),
    wallet,
    version: key.count("version"),
    logIndex: key.count("logIndex"),
    ...place,
  };
  if (kind === "revocation") return { event: { kind, ...event }, binding: null, verdict: null, final };
  const deadline = key.text("deadline");
  return {
    event: {
      kind,
      ...event,
      encryptionKey: fromHex(key.hex("encryptionKey", 32)),
      signingKey: fromHex(key.hex("signingKey", 32)),
      document: digestOfCid(key.cid("document")),
      deadline: /^[0-9]{1,78}$/.test(deadline) ? BigInt(deadline) : -1n,
      signature: fromHex(key.hex("signature")),
      hasCode: key.flag("hasCode"),
    },
    binding: key.oneOf("binding", BINDINGS),
    verdict: parseVerdict(key, "verdict"),
    final,
  };
}

function parseCounts(members: Members): Counts {
  const counts = members.members("counts");
  return { verified: counts.count("verified"), rejected: counts.count("rejected"), missing: counts.count("missing") };
}

function parsePlace(members: Members): Place {
  return {
    blockNumber: members.count("blockNumber"),
    blockHash: members.hex("blockHash", 32),
    transactionHash: members.hex("transactionHash", 32),
    final: members.flag("final"),
  };
}

function parseVerdict(members: Members, name: string): ClaimedVerdict {
  const verdict = members.members(name);
  const status = verdict.oneOf("status", ["verified", "rejected", "missing"]);
  return status === "rejected" ? { status, code: verdict.text("code"), reason: verdict.text("reason") } : { status };
}

function bytesOfBase64(text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    // Not the block, whatever it is: its hash will say so.
    return new Uint8Array(0);
  }
}
