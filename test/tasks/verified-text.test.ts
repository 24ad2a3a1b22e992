import { expect } from "chai";

import { toHex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import { runCommand, type Ending } from "../fixtures/command.ts";
import { ALICE, BOB, deltaOf } from "../fixtures/history.ts";
import { Operator } from "../fixtures/operator.ts";

const TEXTS = ["one", "two", "three"];

describe("The text of a verified message", function () {
  this.timeout(120_000);
  let operator: Operator;
  let messages: Cid[];

  beforeEach(async () => {
    operator = await Operator.start({ chainId: 80_002 });
    const { conversation } = operator;
    messages = [];
    for (const text of TEXTS) messages.push(await conversation.send(ALICE, BOB, text));
    await conversation.anchor(deltaOf([conversation.room(ALICE, BOB), messages]));
  });
  afterEach(() => operator.stop());

  /** A command of Alice's, on a machine of this name. */
  const run = (machine: string, ...args: string[]): Promise<Ending> =>
    runCommand(
      {
        url: operator.chain.url,
        deployment: operator.deployed.deployment,
        dataDir: operator.folderOf(machine),
        privateKey: toHex(ALICE.wallet.privateKey),
      },
      [...args, "--json"],
      { CONTENT_SOURCES: operator.folderOf("blocks") },
    );

  /** What must be as if the hostile anchor were not there. */
  async function expectUnharmed(): Promise<void> {
    const shown = await run("reader", "history", "--with", BOB.address);
    expect(shown.code, shown.stderr).to.equal(0);
    const { messages: lines } = JSON.parse(shown.stdout) as { messages: readonly { text: string; seq: number }[] };
    expect(lines.map(({ text, seq }) => [text, seq])).to.deep.equal(TEXTS.map((text, i) => [text, i + 1]));
    const sent = await run("empty", "send", "--to", BOB.address, "--text", "four");
    expect(sent.code, sent.stderr).to.equal(0);
    expect(JSON.parse(sent.stdout)).to.have.nested.property("messages[0].seq", 4);
  }

  it("is shown where a hostile anchor names it as its shard, and a `send` from an empty folder counts it", async () => {
    const delta = deltaOf([operator.conversation.room(ALICE, BOB), [messages[0]!]]);
    await operator.conversation.anchorInvalid(delta, { rooms: messages });
    await expectUnharmed();
  });

  it("is shown where a hostile anchor names it as its heads, and a `send` from an empty folder counts it", async () => {
    // Its listing is that of no other anchor, so that its heads are asked for as soon as the messages are.
    const { conversation } = operator;
    const last = await conversation.send(BOB, ALICE, "another", { isStored: false });
    const delta = deltaOf([conversation.room(ALICE, BOB), [last]]);
    await conversation.anchorInvalid(delta, { heads: messages });
    const shown = await run("reader", "history", "--with", BOB.address);
    const { messages: lines } = JSON.parse(shown.stdout) as { messages: readonly { text: string | null }[] };
    expect(lines.map(({ text }) => text)).to.deep.equal([...TEXTS, null]);
    await conversation.release(last);
    const { stdout, code } = await run("empty", "send", "--to", BOB.address, "--text", "four");
    expect([code, JSON.parse(stdout)]).to.have.nested.property("[1].messages[0].seq", 4);
  });

  it("is read from the mailbox of who sent it, where no source has it any more", async () => {
    const { conversation } = operator;
    const cid = await conversation.send(ALICE, BOB, "mine alone", { isStored: false });
    await conversation.anchor(deltaOf([conversation.room(ALICE, BOB), [cid]]));
    const { code } = await run("sender", "history", "--with", BOB.address);
    expect(code).to.equal(75);
    const session = await operator.open("sender");
    session.mailbox.add([{ cid, ...operator.blockOf(cid) }]);
    await session.close();
    const { code: later, stdout } = await run("sender", "history", "--with", BOB.address);
    expect([later, JSON.parse(stdout)]).to.have.nested.property("[1].messages[3].text", "mine alone");
    expect(later).to.equal(0);
  });
});
