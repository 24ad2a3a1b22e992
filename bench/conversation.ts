/** Two wallets that know each other, made of fixed seeds: what the benchmarks seal, send and verify with. */
import { Wallet as EthersWallet } from "ethers/wallet";

import { parseAddress, type Address } from "../protocol/address.ts";
import { bindingRequest, type KeyBinding } from "../protocol/binding.ts";
import { hashTypedData } from "../protocol/eip712.ts";
import { fromHex, toHex, utf8 } from "../protocol/bytes.ts";
import { cidOf, type Cid } from "../protocol/cid.ts";
import { contentOfText, type Content } from "../protocol/content.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import { encodeEnvelope, type Envelope, type EnvelopeHeader } from "../protocol/envelope.ts";
import type { KeyEvent } from "../protocol/event.ts";
import { identityOfSeed, type Identity } from "../protocol/identity.ts";
import { roomKeyOf, sealMessage, type Party, type RoomKey } from "../protocol/message.ts";
import { roomIdOf, type Deployment, type RoomId } from "../protocol/room.ts";

export const DEPLOYMENT: Deployment = {
  chainId: 137,
  cidStore: parseAddress(`0x${"11".repeat(20)}`),
  keyRegistry: parseAddress(`0x${"22".repeat(20)}`),
};
/** 200 bytes, as the goals say. */
export const TEXT = "The quick brown fox jumps over the lazy dog. ".repeat(5).slice(0, 200);
export const CONTENT: Content = contentOfText(TEXT);

export interface Person {
  readonly wallet: Address;
  readonly identity: Identity;
  readonly party: Party;
  readonly event: KeyEvent;
}

/** A person with a key that its wallet signed, registered as the registry's event `index`. */
export function makePerson(name: string, index: number, deployment = DEPLOYMENT): Person {
  const wallet = new EthersWallet(toHex(primitives.sha256(utf8(`wallet of ${name}`))));
  const address = parseAddress(wallet.address);
  const identity = identityOfSeed(primitives.sha256(utf8(`seed of ${name}`)));
  const { encryptionKey, signingKey } = identity;
  const binding: KeyBinding = {
    wallet: address,
    version: 1,
    encryptionKey,
    signingKey,
    document: primitives.sha256(utf8(`document of ${name}`)),
    deadline: 4_102_444_800,
  };
  const event: KeyEvent = {
    kind: "key",
    index,
    ...binding,
    deadline: BigInt(binding.deadline),
    signature: fromHex(wallet.signingKey.sign(hashTypedData(bindingRequest(deployment, binding))).serialized),
    hasCode: false,
    blockNumber: 1,
    logIndex: index,
    blockHash: `0x${"00".repeat(32)}`,
    transactionHash: `0x${"00".repeat(32)}`,
  };
  return { wallet: address, identity, party: { wallet: address, version: 1, encryptionKey }, event };
}

export interface Conversation {
  readonly room: RoomId;
  readonly key: RoomKey;
  readonly sender: Person;
  readonly receiver: Person;
}

export function makeConversation(sender: Person, receiver: Person): Conversation {
  const room = roomIdOf(DEPLOYMENT, sender.wallet, receiver.wallet);
  return { room, key: roomKeyOf(DEPLOYMENT, room, sender.identity, sender.party, receiver.party), sender, receiver };
}

/** The sender's message number `seq`, as a block. */
export function sealBlock(
  { room, key, sender, receiver }: Conversation,
  seq: number,
): { readonly cid: Cid; readonly block: Uint8Array; readonly envelope: Envelope } {
  const nonce = new Uint8Array(32);
  new DataView(nonce.buffer).setUint32(0, seq);
  const header: EnvelopeHeader = {
    v: 1,
    room,
    sender: sender.wallet,
    receiver: receiver.wallet,
    senderKeyVersion: 1,
    receiverKeyVersion: 1,
    seq,
    seen: [nonce],
    timestamp: 1_700_000_000_000 + seq,
    nonce,
  };
  const envelope = sealMessage(key, sender.identity.signer, header, CONTENT);
  const block = encodeEnvelope(envelope);
  return { cid: cidOf(block), block, envelope };
}
