import { expect } from "chai";
import fc from "fast-check";

import { toHex } from "../../protocol/bytes.ts";
import { contentOfText, textOfContent } from "../../protocol/content.ts";
import { portable } from "../../protocol/crypto/portable.ts";
import { decodeEnvelope, encodeEnvelope, headerHashOf, signedBytesOf, type Envelope } from "../../protocol/envelope.ts";
import { DmtpError } from "../../protocol/error.ts";
import {
  messageSecretOf,
  openMessage,
  openWithSecret,
  roomKeyOf,
  sealMessage,
  type Party,
  type RoomKey,
} from "../../protocol/message.ts";
import { roomIdOf, type Deployment } from "../../protocol/room.ts";
import { ALICE, BOB, CAROL, DEPLOYMENT, History, type Person } from "../fixtures/history.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";
import { flipBit, native } from "./crypto/implementations.ts";

function partyOf(person: Person, version = 1): Party {
  return { wallet: person.address, version, encryptionKey: person.identity(version).encryptionKey };
}

function keyOf(
  own: Person,
  peer: Person,
  deployment: Deployment = DEPLOYMENT,
  ownVersion = 1,
  peerVersion = 1,
): RoomKey {
  const room = roomIdOf(deployment, own.address, peer.address);
  return roomKeyOf(deployment, room, own.identity(ownVersion), partyOf(own, ownVersion), partyOf(peer, peerVersion));
}

function open(key: RoomKey, envelope: Envelope): string | null {
  return textOfContent(openMessage(key, envelope));
}

describe("A room key", () => {
  it("is the same on both sides", () => {
    expect(toHex(keyOf(ALICE, BOB))).to.equal(toHex(keyOf(BOB, ALICE)));
    expect(toHex(keyOf(ALICE, BOB, DEPLOYMENT, 1, 2))).to.equal(toHex(keyOf(BOB, ALICE, DEPLOYMENT, 2, 1)));
  });

  it("is another for every other peer, version, chain, registry and room", () => {
    const room = roomIdOf(DEPLOYMENT, ALICE.address, BOB.address);
    const { encryptionKey } = BOB.identity();
    const keys = [
      keyOf(ALICE, BOB),
      keyOf(ALICE, CAROL),
      keyOf(ALICE, BOB, DEPLOYMENT, 2, 1),
      keyOf(ALICE, BOB, DEPLOYMENT, 1, 2),
      keyOf(ALICE, BOB, { ...DEPLOYMENT, chainId: 1 }),
      keyOf(ALICE, BOB, { ...DEPLOYMENT, keyRegistry: CAROL.address }),
      // The same keys under another version, wallet or room.
      roomKeyOf(DEPLOYMENT, room, ALICE.identity(), { ...partyOf(ALICE), version: 2 }, partyOf(BOB)),
      roomKeyOf(DEPLOYMENT, room, ALICE.identity(), partyOf(ALICE), { ...partyOf(BOB), version: 2 }),
      roomKeyOf(DEPLOYMENT, room, ALICE.identity(), partyOf(ALICE), { ...partyOf(CAROL), encryptionKey }),
      roomKeyOf(
        DEPLOYMENT,
        roomIdOf(DEPLOYMENT, ALICE.address, CAROL.address),
        ALICE.identity(),
        partyOf(ALICE),
        partyOf(BOB),
      ),
    ];
    expect(new Set(keys.map(toHex)).size).to.equal(keys.length);
  });

  it("is refused for a peer's key of low order", () => {
    const peer = { ...partyOf(BOB), encryptionKey: new Uint8Array(32) };
    const room = roomIdOf(DEPLOYMENT, ALICE.address, BOB.address);
    expect(codeOf(() => roomKeyOf(DEPLOYMENT, room, ALICE.identity(), partyOf(ALICE), peer))).to.equal(
      "KEY_INADMISSIBLE",
    );
  });
});

describe("A message", () => {
  const history = new History();
  const text = "Grüße 🚀\n\nfrom Alice";
  const envelope = history.envelope(ALICE, BOB, { text });

  it("opens for its receiver and for its sender, in both directions", () => {
    expect(open(keyOf(BOB, ALICE), envelope)).to.equal(text);
    expect(open(keyOf(ALICE, BOB), envelope)).to.equal(text);
    expect(open(keyOf(ALICE, BOB), history.envelope(BOB, ALICE, { text: "back" }))).to.equal("back");
    expect(open(keyOf(ALICE, BOB), decodeEnvelope(encodeEnvelope(envelope)))).to.equal(text);
  });

  it("is signed so that native and portable verify it", () => {
    const claim = {
      publicKey: ALICE.identity().signingKey,
      message: signedBytesOf(headerHashOf(envelope), envelope.commitment, envelope.messages),
      signature: envelope.signature,
    };
    for (const primitives of [native, portable]) expect(primitives.ed25519Verify([claim])).to.deep.equal([true]);
  });

  it("opens with no key of another peer, version, chain or registry", () => {
    const keys = [
      keyOf(ALICE, CAROL),
      keyOf(CAROL, BOB),
      keyOf(ALICE, BOB, DEPLOYMENT, 2, 1),
      keyOf(ALICE, BOB, DEPLOYMENT, 1, 2),
      keyOf(ALICE, BOB, { ...DEPLOYMENT, chainId: 1 }),
      keyOf(ALICE, BOB, { ...DEPLOYMENT, keyRegistry: CAROL.address }),
    ];
    for (const key of keys) expect(codeOf(() => openMessage(key, envelope))).to.equal("MESSAGE_UNOPENED");
  });

  it("does not open when it is turned round, moved or renumbered", () => {
    const key = keyOf(ALICE, BOB);
    const changes: Partial<Envelope>[] = [
      { sender: BOB.address, receiver: ALICE.address },
      { room: roomIdOf(DEPLOYMENT, ALICE.address, CAROL.address) },
      { senderKeyVersion: 2 },
      { receiverKeyVersion: 2 },
      { seq: 2 },
      { seen: [new Uint8Array(32)] },
      { timestamp: 7 },
      { nonce: fixedBytes("another") },
    ];
    for (const change of changes) {
      expect(codeOf(() => openMessage(key, { ...envelope, ...change }))).to.equal("MESSAGE_UNOPENED");
    }
  });

  it("does not open when any bit of ciphertext or commitment is changed", () => {
    const key = keyOf(ALICE, BOB);
    for (let bit = 0; bit < envelope.messages.length * 8; bit += 3) {
      expect(codeOf(() => openMessage(key, { ...envelope, messages: flipBit(envelope.messages, bit) }))).to.equal(
        "MESSAGE_UNOPENED",
      );
    }
    for (let bit = 0; bit < 256; bit += 3) {
      expect(codeOf(() => openMessage(key, { ...envelope, commitment: flipBit(envelope.commitment, bit) }))).to.equal(
        "MESSAGE_UNOPENED",
      );
    }
  });

  it("opens with its own secret, which opens no other message", () => {
    const key = keyOf(ALICE, BOB);
    const other = history.envelope(ALICE, BOB, { text: "another", seq: 2 });
    const secret = messageSecretOf(key, envelope.nonce, headerHashOf(envelope));
    expect(textOfContent(openWithSecret(secret, envelope))).to.equal(text);
    expect(codeOf(() => openWithSecret(secret, other))).to.equal("MESSAGE_UNOPENED");
  });

  it("has another ciphertext and commitment for every nonce", () => {
    const again = history.envelope(ALICE, BOB, { text });
    expect(toHex(again.messages)).not.to.equal(toHex(envelope.messages));
    expect(toHex(again.commitment)).not.to.equal(toHex(envelope.commitment));
  });

  it("shows nothing of its length but the Padmé size", () => {
    const sizes = new Set(
      ["a", "b".repeat(50), "c".repeat(90)].map(
        (short) => history.envelope(ALICE, BOB, { text: short }).messages.length,
      ),
    );
    expect([...sizes]).to.deep.equal([144]);
  });

  it("opens to what was sealed, whatever it was", () => {
    const key = keyOf(ALICE, BOB);
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 2000 }), (any) => {
        const { commitment, messages, signature, ...header } = envelope;
        expect([commitment, messages, signature]).to.have.length(3);
        expect(open(key, sealMessage(key, ALICE.identity().signer, header, contentOfText(any)))).to.equal(any);
      }),
    );
  });

  it("is refused without a word of its plaintext or key", () => {
    const secretText = "a very secret plaintext";
    const sealed = history.envelope(ALICE, BOB, { text: secretText });
    const key = keyOf(ALICE, CAROL);
    try {
      openMessage(key, sealed);
      expect.fail("opened");
    } catch (error) {
      if (!(error instanceof DmtpError)) throw error;
      const shown = [error.message, error.hint, error.stack, String(error.cause)].join();
      expect(shown).not.to.include(secretText);
      expect(shown).not.to.include(toHex(key).slice(2));
    }
  });
});
