import { expect } from "chai";

import { walletOf } from "../../io/chain/transactions/writer.ts";
import { cidOf } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { roomKeyOf, sealMessage } from "../../protocol/message.ts";
import { roomIdOf } from "../../protocol/room.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import { findReceiver, openOwnKey } from "../../tasks/identity.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { useFolder } from "../fixtures/folder.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

describe("A sender whose count somebody closed", () => {
  const folder = useFolder();
  let chain: TestDeployment;
  let thief: Session;

  before(async () => {
    chain = await openDeployment();
    thief = chain.open();
    await register(thief, chain.alice);
    await register(thief, chain.bob);
  });
  after(async () => {
    await thief.close();
    await chain.close();
  });

  /** Who once had Alice's seed seals a message with the last number that there is, and has it anchored. */
  async function closeCount(): Promise<void> {
    const { deployment, content, mailbox } = thief;
    const keys = await thief.readKeys(chain.alice, chain.bob);
    const wallet = await walletOf((await thief.signer(chain.alice)).signer);
    const own = await openOwnKey(keys, deployment, content, chain.alice, { wallet });
    const peer = await findReceiver(keys, deployment, content, chain.alice, chain.bob);
    const room = roomIdOf(deployment, chain.alice, chain.bob);
    const envelope = sealMessage(
      roomKeyOf(deployment, room, own.identity, own.party, peer),
      own.identity.signer,
      {
        v: 1,
        room,
        sender: chain.alice,
        receiver: chain.bob,
        senderKeyVersion: own.party.version,
        receiverKeyVersion: peer.version,
        seq: Number.MAX_SAFE_INTEGER,
        seen: [],
        timestamp: 0,
        nonce: new Uint8Array(32),
      },
      contentOfText("not Alice"),
    );
    const block = encodeEnvelope(envelope);
    mailbox.add([{ cid: cidOf(block), block, envelope }]);
    await anchor(thief);
  }

  it("is refused before anything is acknowledged, and writes again under a new key", async () => {
    await closeCount();
    const { environment, content } = thief;
    const alice = chain.open({ content, environment: { ...environment, dataDir: folder() } });
    const write = () => send(alice, chain.alice, [{ to: chain.bob, content: contentOfText("It is me.") }]);
    expect(await codeOfAsync(write)).to.equal("SEQ_EXHAUSTED");
    expect(alice.mailbox.counts().unanchored).to.equal(0);

    await register(alice, chain.alice);
    expect((await write()).data).to.have.nested.property("messages[0].seq", 1);
    await anchor(alice);
    const { data, error } = await audit(alice);
    expect(error).to.equal(undefined);
    expect(data).to.deep.include({ messages: { verified: 2, rejected: 0, missing: 0 } });
    await alice.close();
  });
});
