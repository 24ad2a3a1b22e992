import { join } from "node:path";

import { expect } from "chai";

import { toHex, utf8 } from "../../protocol/bytes.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf } from "../../protocol/cid.ts";
import { runCommand, type Ending } from "../fixtures/command.ts";
import { ALICE, BOB, CAROL } from "../fixtures/history.ts";
import { Operator } from "../fixtures/operator.ts";

/** What `audit --json` and `history --json` have in common here. */
interface Report {
  readonly verifiedElsewhere: number;
  readonly messages: unknown;
  readonly counts: unknown;
}

describe("A rejected entry of a message that is verified at another place", function () {
  this.timeout(120_000);
  let operator: Operator;
  let archives = 0;

  before(async () => {
    operator = await Operator.start({ chainId: 80_002 });
    const { conversation } = operator;
    const [ours, foreign] = [conversation.room(ALICE, BOB), conversation.room(ALICE, CAROL)];
    const message = await conversation.send(ALICE, BOB, "once is enough");
    const early = await conversation.send(CAROL, ALICE, "before my key");
    // A foreign room and a key that is not registered come first, a repetition comes last.
    await conversation.anchor(new Map([[foreign, [message, early]]]));
    await conversation.register(CAROL);
    await conversation.anchor(
      new Map([
        [ours, [message]],
        [foreign, [early]],
      ]),
    );
    await conversation.anchor(new Map([[ours, [message]]]));
  });
  after(() => operator.stop());

  const run = (...args: string[]): Promise<Ending> =>
    runCommand(
      {
        url: operator.chain.url,
        deployment: operator.deployed.deployment,
        dataDir: operator.folderOf("auditor"),
        privateKey: toHex(ALICE.wallet.privateKey),
      },
      [...args, "--json"],
      { CONTENT_SOURCES: operator.folderOf("blocks") },
    );

  /** Every way to ask, each with the counts that it gives. */
  async function ask(): Promise<{ readonly ending: Ending; readonly report: Report }[]> {
    const archive = join(operator.folderOf("archives"), `../${archives++}.car`);
    const foreign = operator.conversation.room(ALICE, CAROL);
    const exported = await run("export", archive);
    expect(exported.code, exported.stderr).to.equal(0);
    const asked = [];
    for (const args of [
      ["audit"],
      ["audit", "--room", foreign],
      ["audit", "--car", archive, "--offline"],
      ["audit", "--car", archive, "--offline", "--room", foreign],
      ["history", "--with", CAROL.address],
    ]) {
      const ending = await run(...args);
      asked.push({ ending, report: JSON.parse(ending.stdout) as Report });
    }
    return asked;
  }

  it("is shown and counted, and is no reason for 65", async () => {
    const asked = await ask();
    for (const { ending } of asked) expect(ending.code, ending.stderr).to.equal(0);
    expect(asked.map(({ report }) => report.verifiedElsewhere)).to.deep.equal([3, 2, 3, 2, 2]);
    expect(asked[0]?.report.messages).to.deep.equal({ verified: 2, rejected: 3, missing: 0 });
    expect(asked[2]?.report.messages).to.deep.equal({ verified: 2, rejected: 3, missing: 0 });
    expect(asked[4]?.report.counts).to.deep.equal({ verified: 1, rejected: 2, missing: 0, pending: 0 });
  });

  it("does not hide a rejected one of a message that is verified nowhere: that is 65", async () => {
    const bytes = encode(toHex(utf8("no envelope")));
    const cid = cidOf(bytes);
    await operator.content.put([{ cid, bytes }]);
    await operator.conversation.anchor(new Map([[operator.conversation.room(ALICE, CAROL), [cid]]]));
    const asked = await ask();
    for (const { ending } of asked) {
      expect(ending.code).to.equal(65);
      expect(ending.stderr).to.contain("error[HISTORY_NOT_VERIFIED]: 1 message rejected\n");
    }
    expect(asked.map(({ report }) => report.verifiedElsewhere)).to.deep.equal([3, 2, 3, 2, 2]);
  });
});
