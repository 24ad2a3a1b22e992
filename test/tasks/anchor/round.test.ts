import { expect } from "chai";

import { anchorRound } from "../../../tasks/anchor-round.ts";
import { DEFAULT_OPTIONS } from "../../../tasks/anchor-options.ts";
import { Operator, type OperatorSession } from "../../fixtures/operator.ts";
import { codeOfAsync } from "../../fixtures/refusal.ts";

describe("A round of anchoring", () => {
  let operator: Operator;
  let session: OperatorSession;

  before(async () => {
    operator = await Operator.start();
  });
  after(() => operator.stop());
  beforeEach(async () => {
    session = await operator.open();
  });
  afterEach(() => session.close());

  it("anchors what waits, with one transaction, and then has nothing to do and pays nothing", async () => {
    const sent = await operator.send(session, 3);
    const nonce = await operator.anchorerNonce();
    const { anchored } = await anchorRound(session, DEFAULT_OPTIONS);
    expect(anchored.map(({ index, messages, resumed }) => ({ index, messages, resumed }))).to.deep.equal([
      { index: 0, messages: 3, resumed: false },
    ]);
    expect((await anchorRound(session, DEFAULT_OPTIONS)).anchored).to.deep.equal([]);
    expect(await operator.anchorerNonce()).to.equal(nonce + 1);
    expect(await operator.anchoredCids()).to.deep.equal(sent);
    expect(session.mailbox.counts().unanchored).to.equal(0);
  });

  it("settles an anchor once its block is final, and builds the next one on it before and after", async () => {
    await operator.send(session, 1);
    await anchorRound(session, DEFAULT_OPTIONS);
    expect(session.mailbox.anchors.open().map(({ state }) => state)).to.deep.equal(["mined", "mined"]);
    await operator.send(session, 1);
    await anchorRound(session, DEFAULT_OPTIONS);
    await operator.mine(300);
    await anchorRound(session, DEFAULT_OPTIONS);
    expect(session.mailbox.anchors.open()).to.deep.equal([]);
    expect(session.mailbox.anchors.base().count).to.equal(3);
    await operator.send(session, 1);
    const { anchored } = await anchorRound(session, DEFAULT_OPTIONS);
    expect(anchored[0]?.index).to.equal(3);
    expect(await operator.anchoredCids()).to.have.length(6);
    const { state } = await operator.replay();
    expect(session.mailbox.anchors.tip()?.state.root).to.deep.equal(state.root);
  });

  it("is refused while another one of the same mailbox runs", async () => {
    await operator.send(session, 1);
    const second = await operator.open();
    const both = await Promise.all([
      codeOfAsync(() => anchorRound(session, DEFAULT_OPTIONS)),
      codeOfAsync(() => anchorRound(second, DEFAULT_OPTIONS)),
    ]);
    await second.close();
    expect(both).to.have.members([null, "ANCHOR_RUNNING"]);
    expect(session.mailbox.counts().unanchored).to.equal(0);
  });
});
