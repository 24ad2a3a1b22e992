/** Sealing and verifying against the native cryptography that they can't avoid. */
import { createCipheriv, createHash, createPrivateKey, generateKeyPairSync, hkdfSync, sign, verify } from "node:crypto";

import { cidOf, type Cid } from "../protocol/cid.ts";
import type { AnchorEvent, ChainEvent } from "../protocol/event.ts";
import { draftManifest } from "../protocol/manifest.ts";
import { replay } from "../protocol/replay/replay.ts";
import type { RoomId } from "../protocol/room.ts";
import { DEPLOYMENT, makeConversation, makePerson, sealBlock } from "./conversation.ts";
import { compare, type Comparison } from "./measure.ts";

const SEAL_COUNT = 2_000;
const VERIFY_COUNT = 2_000;

/** Seal, sign and encode a 200-byte message, against one signature, two HKDF, one AES-GCM and three SHA-256 of its sizes. */
export function benchSeal(): Promise<Comparison> {
  const conversation = makeConversation(makePerson("alice", 0), makePerson("bob", 1));
  const bare = nativeParts();
  return compare({
    name: "seal + sign + encode a 200-byte message",
    goal: 0.6,
    bound: "node:crypto: Ed25519 sign, 2 × HKDF, AES-GCM, 3 × SHA-256",
    units: SEAL_COUNT,
    measured: () => {
      for (let seq = 1; seq <= SEAL_COUNT; seq++) sealBlock(conversation, seq);
    },
    bare: () => {
      for (let i = 0; i < SEAL_COUNT; i++) bare();
    },
  });
}

/** A replay of one anchor with 2,000 messages, against as many native Ed25519 verifications of its size of signed bytes. */
export function benchVerify(): Promise<Comparison> {
  const { events, blocks } = makeHistory(VERIFY_COUNT);
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const message = new Uint8Array(112);
  const signature = sign(null, message, privateKey);
  return compare({
    name: "verify a message in replay",
    goal: 0.6,
    bound: "node:crypto: Ed25519 verify",
    units: VERIFY_COUNT,
    measured: () => {
      const history = replay(DEPLOYMENT, events, (cid) => blocks.get(cid));
      const wrong = history.rooms
        .flatMap((room) => history.entries(room))
        .find(({ verdict }) => verdict.status !== "verified");
      if (wrong !== undefined || history.tip === null) throw new Error("the replay did not verify its history");
    },
    bare: () => {
      for (let i = 0; i < VERIFY_COUNT; i++)
        if (!verify(null, message, publicKey, signature)) throw new Error("not valid");
    },
  });
}

/** What one sealed message costs at least; keys are imported once, as the protocol does it. */
export function nativeParts(): () => void {
  const { privateKey } = generateKeyPairSync("ed25519");
  const key = createPrivateKey(privateKey.export({ format: "pem", type: "pkcs8" }).toString());
  const secret = new Uint8Array(32).fill(7);
  const nonce = new Uint8Array(32).fill(9);
  const iv = new Uint8Array(12);
  const padded = new Uint8Array(256);
  const header = new Uint8Array(320);
  const block = new Uint8Array(750);
  const info = new Uint8Array(64);
  return () => {
    const aad = createHash("sha256").update(header).digest();
    const messageSecret = hkdfSync("sha256", secret, nonce, info, 32);
    const keys = new Uint8Array(hkdfSync("sha256", new Uint8Array(messageSecret), new Uint8Array(0), info, 64));
    const cipher = createCipheriv("aes-256-gcm", keys.subarray(0, 32), iv);
    cipher.setAAD(aad);
    cipher.update(padded);
    cipher.final();
    cipher.getAuthTag();
    createHash("sha256").update(padded).digest();
    sign(null, info, key);
    createHash("sha256").update(block).digest();
  };
}

/** Two registrations and one anchor with `count` messages in one room. */
export function makeHistory(count: number): {
  readonly events: ChainEvent[];
  readonly blocks: ReadonlyMap<Cid, Uint8Array>;
} {
  const alice = makePerson("alice", 0);
  const bob = makePerson("bob", 1);
  const conversation = makeConversation(alice, bob);
  const blocks = new Map<Cid, Uint8Array>();
  const cids: Cid[] = [];
  for (let seq = 1; seq <= count; seq++) {
    const { cid, block } = sealBlock(conversation, seq);
    blocks.set(cid, block);
    cids.push(cid);
  }
  const draft = draftManifest(null, new Map<RoomId, readonly Cid[]>([[conversation.room, cids]]));
  for (const { bytes } of draft.blocks) blocks.set(cidOf(bytes), bytes);
  const anchor: AnchorEvent = {
    kind: "anchor",
    index: 0,
    cid: draft.cid,
    text: draft.cid,
    blockNumber: 2,
    logIndex: 0,
    blockHash: `0x${"00".repeat(32)}`,
    transactionHash: `0x${"00".repeat(32)}`,
  };
  return { events: [alice.event, bob.event, anchor], blocks };
}
