import { expect } from "chai";

import { cidStoreInterface } from "../../io/chain/contracts.ts";
import { contentOfText } from "../../protocol/content.ts";
import { DmtpError } from "../../protocol/error.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import { conclude } from "../../tasks/command.ts";
import { history } from "../../tasks/history.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";

const ATTACK = "\x1b[2J\u009b31m\u202evil\r\nerror[NOTHING]: all is well";
const DANGEROUS = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

describe("What strangers write", () => {
  let chain: TestDeployment;
  let session: Session;

  before(async () => {
    chain = await openDeployment();
    session = chain.open();
    await register(session, chain.alice);
    await register(session, chain.bob);
    await send(session, chain.alice, [{ to: chain.bob, content: contentOfText(ATTACK) }]);
    await anchor(session);
    const { signer } = await session.signer();
    const data = cidStoreInterface.encodeFunctionData("storeCID", [ATTACK]);
    await (await signer.sendTransaction({ to: session.deployment.cidStore, data })).wait();
  });
  after(async () => {
    await session.close();
    await chain.close();
  });

  it("is harmless in a conversation, where no line of it can pass for one of the command's, and exact in JSON", async () => {
    const { text, data } = await history(session, chain.alice, chain.bob);
    expect(text).not.to.match(DANGEROUS);
    expect(text.split("\n").filter((line) => line.includes("all is well"))).to.deep.equal([
      "  error[NOTHING]: all is well",
    ]);
    expect(JSON.stringify(data)).to.include(JSON.stringify(ATTACK));
  });

  it("is one harmless line in an audit, and exact in JSON", async () => {
    const { text, data } = await audit(session);
    expect(text).not.to.match(DANGEROUS);
    expect(text).to.match(/^ {2}anchor 1 rejected \(CID_NOT_CANONICAL.*all is well$/m);
    expect(JSON.stringify(data)).to.include(JSON.stringify(ATTACK));
  });

  it("is one harmless line in an error that a node had a say in", async () => {
    const before = process.exitCode;
    const written: string[] = [];
    const write = process.stderr.write.bind(process.stderr);
    process.stderr.write = (text: string) => written.push(text) > 0;
    try {
      await conclude(
        () => Promise.reject(new DmtpError("CHAIN_UNREACHABLE", `it said: ${ATTACK}`)),
        () => Promise.reject(new Error()),
        false,
      );
      expect(process.exitCode).to.equal(75);
    } finally {
      process.stderr.write = write;
      process.exitCode = before;
    }
    expect(written.join("")).not.to.match(DANGEROUS);
    expect(written.join("").trimEnd().split("\n")).to.have.length(2);
  });
});
