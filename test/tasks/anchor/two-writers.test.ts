import { cpSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import type { Cid } from "../../../protocol/cid.ts";
import { DEFAULT_OPTIONS } from "../../../tasks/anchor-options.ts";
import { anchorRound } from "../../../tasks/anchor-round.ts";
import { runCommandProcess, type Ending } from "../../fixtures/command.ts";
import { Operator } from "../../fixtures/operator.ts";

describe("Two anchors at once, from copies of one data folder", function () {
  this.timeout(120_000);
  let operator: Operator;
  let nonce: number;
  let sent: Cid[];

  const send = async (machine: string): Promise<Cid[]> => {
    const session = await operator.open(machine);
    const cids = await operator.send(session);
    await session.content.put(cids.map((cid) => ({ cid, bytes: operator.blockOf(cid).block })));
    await session.close();
    return cids;
  };

  /** The copy has what waits in the first folder, and an anchor below it. */
  async function start(options: Parameters<typeof Operator.start>[0]): Promise<void> {
    operator = await Operator.start({ chainId: 80_002, ...options });
    sent = await send("first");
    const session = await operator.open("first");
    await anchorRound(session, DEFAULT_OPTIONS);
    const { folder } = session;
    await session.close();
    sent.push(...(await send("first")));
    // What one of them stores, the other can read, as from a Kubo that both use.
    symlinkSync(operator.folderOf("blocks"), join(folder, "blocks"));
    cpSync(operator.folderOf("first"), operator.folderOf("copy"), { recursive: true, verbatimSymlinks: true });
    nonce = await operator.anchorerNonce();
  }
  afterEach(() => operator.stop());

  const run = (machine: string): Promise<Ending> => {
    const { chain, deployed } = operator;
    const place = {
      url: chain.url,
      deployment: deployed.deployment,
      dataDir: operator.folderOf(machine),
      privateKey: deployed.anchorer.privateKey,
    };
    return runCommandProcess(place, ["anchor", "--json"]);
  };

  /** Everything is anchored, each message and manifest once, by one transaction for each anchor, and both folders know it. */
  async function expectOnce(anchors: number): Promise<void> {
    expect(new Set(await operator.anchoredCids())).to.deep.equal(new Set(sent));
    expect(await operator.anchoredCids()).to.have.length(sent.length);
    expect(await operator.entryCount()).to.equal(anchors);
    expect((await operator.anchorerNonce()) - nonce).to.equal(anchors - 1);
    for (const machine of ["first", "copy"]) {
      const session = await operator.open(machine);
      await anchorRound(session, DEFAULT_OPTIONS);
      expect(session.mailbox.counts().unanchored).to.equal(0);
      await session.close();
    }
    expect((await operator.anchorerNonce()) - nonce).to.equal(anchors - 1);
  }

  it("with the same messages: one transaction, and both runs end well", async () => {
    await start({ blockTime: 1 });
    for (const ending of await Promise.all([run("first"), run("copy")])) expect(ending.code, ending.stderr).to.equal(0);
    await expectOnce(2);
  });

  it("with one message more in the copy: nothing is listed twice, and no payment is wasted", async () => {
    await start({ blockTime: 1 });
    sent.push(...(await send("copy")));
    for (const ending of await Promise.all([run("first"), run("copy")])) expect(ending.code, ending.stderr).to.equal(0);
    // The one that comes second builds on the first, or finds that the first has all of it.
    await expectOnce(await operator.entryCount());
    expect(await operator.entryCount()).to.be.within(2, 3);
  });

  it("of which one is mined after the other has signed: nothing is paid for the second", async () => {
    await start({});
    const first = await operator.open("first");
    const copy = await operator.open("copy");
    let isFirst = true;
    copy.faulty.answer("eth_sendRawTransaction", async (call, inner) => {
      if (isFirst) {
        isFirst = false;
        expect((await anchorRound(first, DEFAULT_OPTIONS)).anchored).to.have.length(1);
      }
      return inner.request(call);
    });
    await anchorRound(copy, DEFAULT_OPTIONS);
    await first.close();
    await copy.close();
    expect(isFirst).to.equal(false);
    await expectOnce(2);
  });
});
