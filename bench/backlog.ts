/**
 * A mailbox full of messages that wait to be anchored, made quickly: well-formed envelopes whose ciphertext and signature are
 * made up, which nobody looks at before a replay.
 */
import { join } from "node:path";

import Database from "better-sqlite3";

import type { ChainIdentity } from "../io/chain/agreement/chain-identity.ts";
import { Mailbox } from "../io/mailbox/mailbox.ts";
import { Messages, type NewMessage } from "../io/mailbox/messages.ts";
import { parseAddress, type Address } from "../protocol/address.ts";
import { toHex, utf8 } from "../protocol/bytes.ts";
import { cidOf } from "../protocol/cid.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import { encodeEnvelope, type Envelope } from "../protocol/envelope.ts";
import { roomIdOf } from "../protocol/room.ts";
import { DEPLOYMENT } from "./conversation.ts";

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

  /** @param from how many messages the room has already */
  constructor(number: number, from = 0) {
    this.count = from;
    const [sender, receiver] = ["sender", "receiver"].map((role) => {
      return parseAddress(toHex(primitives.sha256(utf8(`${role} ${number}`)).subarray(0, 20)));
    }) as [Address, Address];
    const nonce = primitives.sha256(utf8(`nonce ${number}`));
    this.envelope = {
      v: 1,
      room: roomIdOf(DEPLOYMENT, sender, receiver),
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

export function makeBacklogs(rooms: number): Backlog[] {
  return Array.from({ length: rooms }, (_, number) => new Backlog(number));
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
