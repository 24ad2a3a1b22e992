import { expect } from "chai";

import { NodeAccount } from "../../../io/chain/transactions/account.ts";
import type { ContentStore } from "../../../io/content/store.ts";
import { parseAddress } from "../../../protocol/address.ts";
import { DmtpError } from "../../../protocol/error.ts";
import { DEFAULT_OPTIONS } from "../../../tasks/anchor-options.ts";
import { anchorRound } from "../../../tasks/anchor-round.ts";
import type { Loss } from "../../fixtures/faulty-rpc.ts";
import { Operator } from "../../fixtures/operator.ts";
import { codeOfAsync } from "../../fixtures/refusal.ts";

const QUICK = { ...DEFAULT_OPTIONS, timeoutMs: 400 };

/** A store whose next call of one method fails: it did not happen, or it did and nobody heard of it. */
function failing(store: ContentStore, method: "put" | "pin", when: Loss): ContentStore {
  let isDone = false;
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]): Promise<unknown> => {
        const isHit = name === method && !isDone;
        if (isHit) isDone = true;
        if (isHit && when === "before") throw new DmtpError("CONTENT_WRITE_FAILED", "the store did not answer");
        const result: unknown = await (value.apply(target, args) as Promise<unknown>);
        if (isHit) throw new DmtpError("CONTENT_WRITE_FAILED", "the store did not answer");
        return result;
      };
    },
  });
}

describe("An anchor whose external writes fail", () => {
  let operator: Operator;
  let nonce: number;

  before(async () => {
    operator = await Operator.start();
  });
  after(() => operator.stop());
  beforeEach(async () => {
    nonce = await operator.anchorerNonce();
  });

  /** After whatever happened, a run without trouble ends with everything anchored once, by one transaction. */
  async function expectMended(before: readonly string[], sent: readonly string[]): Promise<void> {
    const session = await operator.open();
    await anchorRound(session, DEFAULT_OPTIONS);
    expect(session.mailbox.counts().unanchored).to.equal(0);
    await session.close();
    expect(await operator.anchoredCids()).to.deep.equal([...before, ...sent]);
    expect(await operator.anchorerNonce()).to.equal(nonce + 1);
  }

  for (const when of ["before", "after"] as const) {
    for (const method of ["put", "pin"] as const) {
      it(`${method} of the content store, ${when} it happened`, async () => {
        const before = await operator.anchoredCids();
        const session = await operator.open("first", { content: failing(operator.content, method, when) });
        const sent = await operator.send(session, 2);
        expect(await codeOfAsync(() => anchorRound(session, QUICK))).to.not.equal(null);
        await session.close();
        expect(await operator.anchorerNonce()).to.equal(nonce);
        await expectMended(before, sent);
      });
    }

    it(`the transaction, ${when} it happened, and the run goes on`, async () => {
      const before = await operator.anchoredCids();
      const session = await operator.open();
      const sent = await operator.send(session, 2);
      session.faulty.lose("eth_sendRawTransaction", when);
      const { anchored } = await anchorRound(session, DEFAULT_OPTIONS);
      expect(anchored).to.have.length(1);
      await session.close();
      await expectMended(before, sent);
    });

    it(`the transaction, ${when} it happened, and nothing of the node is heard again in this run`, async () => {
      const before = await operator.anchoredCids();
      const session = await operator.open();
      const sent = await operator.send(session, 2);
      session.faulty.lose("eth_sendRawTransaction", when);
      // The node is away from the moment that it was handed the transaction.
      session.faulty.answer("eth_sendRawTransaction", async (call, inner) => {
        session.faulty.lose("eth_getBlockByNumber", "before", Infinity);
        return inner.request(call);
      });
      if (when === "before") session.faulty.lose("eth_getTransactionReceipt", "before", Infinity);
      const code = await codeOfAsync(() => anchorRound(session, QUICK));
      expect(code).to.be.oneOf(["CHAIN_UNREACHABLE", "TRANSACTION_PENDING"]);
      expect(session.mailbox.anchors.open().map(({ state }) => state)).to.include("submitted");
      await session.close();
      await expectMended(before, sent);
    });
  }

  it("the hash of a transaction that the node signed, which the disk does not take: that is what is said, not that all is done", async () => {
    const before = await operator.anchoredCids();
    const account = new NodeAccount(parseAddress(operator.deployed.anchorer.address));
    const session = await operator.open("first", { accounts: () => Promise.resolve([account]) });
    const sent = await operator.send(session, 2);
    const { anchors } = session.mailbox;
    const attemptLog = anchors.attemptLog.bind(anchors);
    const setHash = (): never => {
      throw new DmtpError("DATABASE_WRITE_FAILED", "the disk is full");
    };
    anchors.attemptLog = (row) => ({ ...attemptLog(row), setHash });
    expect(await codeOfAsync(() => anchorRound(session, QUICK))).to.equal("DATABASE_WRITE_FAILED");
    await session.close();
    await expectMended(before, sent);
  });
});
