/**
 * A mailbox full of messages that wait to be anchored, made quickly: well-formed envelopes between registered wallets, whose ciphertext and
 * signature are made up, which nobody looks at before a replay.
 */
import { join } from "node:path";

import Database from "better-sqlite3";

import type { ChainIdentity } from "../io/chain/agreement/chain-identity.ts";
import { Mailbox } from "../io/mailbox/mailbox.ts";
import { Messages, type NewMessage } from "../io/mailbox/messages.ts";
import type { Address } from "../protocol/address.ts";
import { utf8 } from "../protocol/bytes.ts";
import { cidOf } from "../protocol/cid.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import { encodeEnvelope, type Envelope } from "../protocol/envelope.ts";
import { roomIdOf, type Deployment } from "../protocol/room.ts";
import { makePerson, type Person } from "./conversation.ts";

/** A 200-byte text, padded and sealed. */
const CIPHERTEXT_BYTES = 256 + 16;
/** Four bytes in CBOR, as are all that follow it. */
const FIRST_SEQ = 0x1_0000;
const NONCE_BYTES = 32;

/** One room's messages, which differ in number and nonce. */
export class Backlog {
  private readonly envelope: Envelope;
  private readonly block: Uint8Array;
  private readonly seqAt: number;
  private readonly nonceAt: number;
  private count: number;

  /**
   * @param number of the room
   * @param from how many messages the room has already
   */
  constructor(deployment: Deployment, number: number, from = 0) {
    this.count = from;
    const [sender, receiver] = findMembers(number).map((person) => makeMember(deployment, person).wallet) as [
      Address,
      Address,
    ];
    const nonce = primitives.sha256(utf8(`nonce ${number}`));
    this.envelope = {
      v: 1,
      room: roomIdOf(deployment, sender, receiver),
      sender,
      receiver,
      senderKeyVersion: 1,
      receiverKeyVersion: 1,
      seq: FIRST_SEQ,
      seen: [],
      timestamp: 1_700_000_000_000,
      nonce,
      messages: new Uint8Array(CIPHERTEXT_BYTES),
      commitment: new Uint8Array(32),
      signature: new Uint8Array(64),
    };
    this.block = encodeEnvelope(this.envelope);
    const at = (bytes: Uint8Array): number => Buffer.from(this.block).indexOf(bytes);
    this.nonceAt = at(nonce);
    this.seqAt = at(Uint8Array.of(0x1a, 0, 1, 0, 0)) + 1;
  }

  next(): NewMessage {
    const seq = FIRST_SEQ + this.count++;
    const block = this.block.slice();
    const view = new DataView(block.buffer);
    view.setUint32(this.seqAt, seq);
    view.setUint32(this.nonceAt, seq);
    const nonce = block.slice(this.nonceAt, this.nonceAt + NONCE_BYTES);
    return { cid: cidOf(block), block, envelope: { ...this.envelope, seq, nonce } };
  }
}

export function makeBacklogs(deployment: Deployment, rooms: number): Backlog[] {
  return Array.from({ length: rooms }, (_, number) => new Backlog(deployment, number));
}

/** The people of these rooms, whose keys have to be registered. */
export function makeMembers(deployment: Deployment, rooms: Iterable<number>): Person[] {
  const numbers = new Set(Array.from(rooms, findMembers).flat());
  return Array.from(numbers, (number) => makeMember(deployment, number));
}

/** The numbers of a room's two people, so that the first rooms have few people: 0 and 1, 0 and 2, 1 and 2, 0 and 3. */
function findMembers(room: number): [number, number] {
  const second = Math.floor((1 + Math.sqrt(1 + 8 * room)) / 2);
  return [room - (second * (second - 1)) / 2, second];
}

const members = new Map<string, Person>();

function makeMember(deployment: Deployment, number: number): Person {
  const key = `${deployment.keyRegistry} ${number}`;
  const member = members.get(key) ?? makePerson(`member ${number}`, number, deployment);
  members.set(key, member);
  return member;
}

/** Makes a mailbox with `count` messages, in turn in these rooms. */
export function fillMailbox(folder: string, chain: ChainIdentity, backlogs: readonly Backlog[], count: number): void {
  Mailbox.open(folder, chain).close();
  const database = new Database(join(folder, "mailbox.sqlite"));
  // Nothing that is lost here would be missed.
  database.pragma("journal_mode = OFF");
  database.pragma("synchronous = OFF");
  database.pragma("cache_size = -1000000");
  const messages = new Messages(database);
  database.transaction(() => {
    for (let i = 0; i < count; i++) {
      const next = backlogs[i % backlogs.length]?.next();
      if (next !== undefined) messages.add(next);
    }
  })();
  database.pragma("journal_mode = WAL");
  database.close();
}
