import { expect } from "chai";

import { toHex } from "../../protocol/bytes.ts";
import { runCommand, type Ending } from "../fixtures/command.ts";
import { ALICE, BOB } from "../fixtures/history.ts";
import { Operator } from "../fixtures/operator.ts";

describe("A sender whose count somebody closed", function () {
  this.timeout(120_000);
  let operator: Operator;

  before(async () => {
    operator = await Operator.start({ chainId: 80_002 });
    // Who once had Alice's seed seals a message with the last number that there is, and has it anchored.
    const { conversation } = operator;
    const cid = await conversation.send(ALICE, BOB, "not Alice", { seq: Number.MAX_SAFE_INTEGER });
    await conversation.anchor(new Map([[conversation.room(ALICE, BOB), [cid]]]));
  });
  after(() => operator.stop());

  /** On a machine of Alice's, which the operator anchors from. */
  const run = (privateKey: string, ...args: string[]): Promise<Ending> =>
    runCommand(
      {
        url: operator.chain.url,
        deployment: operator.deployed.deployment,
        dataDir: operator.folderOf("alice"),
        privateKey,
      },
      [...args, "--json"],
      { CONTENT_SOURCES: operator.folderOf("blocks") },
    );
  const alice = (...args: string[]): Promise<Ending> => run(toHex(ALICE.wallet.privateKey), ...args);

  it("is refused before anything is acknowledged, and writes again under a new key", async () => {
    const write = (): Promise<Ending> => alice("send", "--to", BOB.address, "--text", "It is me.");
    const refused = await write();
    expect([refused.code, refused.stderr], refused.stderr).to.satisfy(([code, said]: [number, string]) => {
      return code === 1 && said.startsWith("error[SEQ_EXHAUSTED]");
    });
    expect(JSON.parse((await alice("status")).stdout)).to.have.nested.property("mailbox.unanchored", 0);

    const registered = await alice("keys", "register");
    expect(registered.code, registered.stderr).to.equal(0);
    const sent = await write();
    expect(sent.code, sent.stderr).to.equal(0);
    expect(JSON.parse(sent.stdout)).to.have.nested.property("messages[0].seq", 1);
    const anchored = await run(operator.deployed.anchorer.privateKey, "anchor");
    expect(anchored.code, anchored.stderr).to.equal(0);
    const audited = await alice("audit");
    expect(audited.code, audited.stderr).to.equal(0);
    expect(JSON.parse(audited.stdout)).to.deep.include({ messages: { verified: 2, rejected: 0, missing: 0 } });
  });
});
