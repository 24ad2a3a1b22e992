import { expect } from "chai";
import { Contract } from "ethers";

import { cidStoreInterface } from "../../../io/chain/contracts.ts";
import { checksummed, parseAddress } from "../../../protocol/address.ts";
import { GWEI } from "../../../io/chain/transactions/amount.ts";
import { LocalAccount } from "../../../io/chain/transactions/account.ts";
import { DEFAULT_OPTIONS, type AnchorOptions } from "../../../tasks/anchor-options.ts";
import { rehearse } from "../../../tasks/anchor-rehearsal.ts";
import { anchorRound } from "../../../tasks/anchor-round.ts";
import { watchRounds } from "../../../tasks/anchor-watch.ts";
import { cidOf } from "../../../protocol/cid.ts";
import { encode } from "../../../protocol/cbor-encoder.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { ContentStore } from "../../../io/content/store.ts";
import { unreachable } from "../../../io/chain/rpc/rpc-fault.ts";
import { storeText } from "../../fixtures/anchor.ts";
import { Operator, type OperatorSession } from "../../fixtures/operator.ts";
import { ALICE, BOB } from "../../fixtures/history.ts";
import { codeOfAsync } from "../../fixtures/refusal.ts";

/** A clock on which each look takes a second, so that time is up after so many of them. */
function clock(): () => number {
  let elapsed = 0;
  return () => (elapsed += 1_000);
}

describe("An anchor in odd states", () => {
  let operator: Operator;

  beforeEach(async () => {
    operator = await Operator.start();
  });
  afterEach(() => operator.stop());

  const quick = (parts = {}) => ({ pause: () => Promise.resolve(), elapsedMs: clock(), ...parts });
  const limited = (gwei: bigint): Partial<AnchorOptions> => ({
    limits: { maxFeePerGas: gwei * GWEI, maxCost: 10n ** 18n },
  });
  const run = (session: OperatorSession, options: Partial<AnchorOptions> = {}) =>
    anchorRound(session, { ...DEFAULT_OPTIONS, timeoutMs: 60_000, ...options });
  const states = (session: OperatorSession) => session.mailbox.anchors.open().map(({ state }) => state);

  it("on a machine where nothing was ever sent has nothing to do", async () => {
    const session = await operator.open("fresh");
    expect((await run(session)).anchored).to.deep.equal([]);
    await session.close();
  });

  it("goes on after a transaction of an earlier run was reverted", async () => {
    const session = await operator.open("first", quick());
    await operator.send(session, 1);
    session.faulty.answer("eth_estimateGas", () => Promise.resolve("0x7000"));
    expect(await codeOfAsync(() => run(session))).to.equal("TRANSACTION_FAILED");
    session.faulty.mend();
    expect(await codeOfAsync(() => run(session))).to.equal(null);
    expect(session.mailbox.counts().unanchored).to.equal(0);
    await session.close();
  });

  it("is not kept for ever from paying what the chain takes by an offer that no node has", async () => {
    const session = await operator.open("first", quick());
    await operator.send(session, 1);
    await operator.dev("anvil_setNextBlockBaseFeePerGas", `0x${(60n * GWEI).toString(16)}`);
    await operator.mine();
    // The process dies before the node has it.
    session.faulty.answer("eth_sendRawTransaction", () => Promise.reject(new DmtpError("INTERNAL", "killed")));
    expect(await codeOfAsync(() => run(session, { ...limited(100n), timeoutMs: 1 }))).to.not.equal(null);
    session.faulty.mend();
    await storeText(operator.deployed.owner, operator.deployed.deployment, "somebody else");
    expect(await codeOfAsync(() => run(session, limited(100n)))).to.equal(null);
    expect(session.mailbox.counts().unanchored).to.equal(0);
    await session.close();
  });

  it("waits again when a reorg puts an entry in its place whose content nobody has", async () => {
    const session = await operator.open("first", quick());
    await operator.send(session, 2);
    const snapshot = await operator.dev("evm_snapshot");
    await run(session);
    await operator.dev("evm_revert", snapshot);
    const nobodys = cidOf(encode(["nobody has this"]));
    await storeText(operator.deployed.owner, operator.deployed.deployment, nobodys);
    expect(await codeOfAsync(() => run(session))).to.equal("CONTENT_MISSING");
    expect(session.mailbox.counts().unanchored).to.equal(2);
    await run(session, { isFork: true });
    const replay = await operator.replay();
    expect(replay.anchors).to.have.length(2);
    await session.close();
  });

  it("builds on the chain that it read, when a reorg comes while it fetches", async () => {
    const other = await operator.open("other", quick());
    await operator.send(other, 1);
    const snapshot = await operator.dev("evm_snapshot");
    await run(other);
    let isDone = false;
    const content: ContentStore = new Proxy(operator.content, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]): Promise<unknown> => {
          if (name === "get" && !isDone) {
            isDone = true;
            await operator.dev("evm_revert", snapshot);
            await storeText(operator.deployed.owner, operator.deployed.deployment, "another chain");
          }
          return value.apply(target, args) as unknown;
        };
      },
    });
    const session = await operator.open("first", quick({ content }));
    await operator.send(session, 1);
    await run(session);
    await run(other);
    const replay = await operator.replay();
    expect(replay.anchors.map(({ verdict }) => verdict.status)).to.deep.equal(["rejected", "verified"]);
    expect(replay.entries(operator.conversation.room(ALICE, BOB))).to.have.length(2);
    await session.close();
    await other.close();
  });

  it("does not call an anchor final that a reorg took away", async () => {
    let isDone = false;
    const session = await operator.open("first", {
      elapsedMs: clock(),
      pause: async () => {
        if (isDone || !states(session).includes("mined")) {
          await operator.mine();
          return;
        }
        isDone = true;
        await operator.dev("evm_revert", snapshot);
        await storeText(operator.deployed.owner, operator.deployed.deployment, "another chain");
      },
    });
    await operator.send(session, 1);
    const snapshot = await operator.dev("evm_snapshot");
    const code = await codeOfAsync(() => run(session, { waitFinal: true }));
    expect(session.mailbox.counts().unanchored).to.equal(1);
    expect(code).to.equal("HEAD_MOVED");
    await session.close();
  });

  it("does not call an anchor final because another machine's came on top", async () => {
    let isDone = false;
    const other = await operator.open("other", quick());
    const session = await operator.open("first", {
      elapsedMs: clock(),
      pause: async () => {
        if (isDone || !states(session).includes("mined")) {
          await operator.mine();
          return;
        }
        isDone = true;
        await operator.send(other, 1);
        await run(other);
      },
    });
    await operator.send(session, 1);
    const { anchored } = await run(session, { waitFinal: true, timeoutMs: 500_000 });
    const { number } = (await operator.deployed.provider.getBlock("finalized"))!;
    expect(number).to.be.at.least(anchored[0]!.transaction.blockNumber);
    await session.close();
    await other.close();
  });

  it("goes on when a reorg took the account's earlier transaction away as well", async () => {
    const session = await operator.open("first", {
      elapsedMs: clock(),
      pause: () => operator.mine().then(() => undefined),
    });
    const { anchorer } = operator.deployed;
    await operator.send(session, 1);
    const snapshot = await operator.dev("evm_snapshot");
    await anchorer.sendTransaction({ to: anchorer.address });
    await run(session);
    await operator.dev("evm_revert", snapshot);
    const code = await codeOfAsync(() => run(session, { timeoutMs: 200_000 }));
    expect(code).to.equal(null);
    expect(await operator.anchoredCids()).to.have.length(1);
    await session.close();
  });

  it("raises an offer once when the answer to the replacement is lost", async () => {
    const session = await operator.open("first", {
      elapsedMs: clock(),
      pause: async () => {
        if ((await operator.deployed.provider.getBlockNumber()) > 60) await operator.dev("evm_setAutomine", true);
        await operator.dev("anvil_setNextBlockBaseFeePerGas", raws.size < 2 ? "0xffffffffff" : "0x1");
        await operator.mine();
      },
    });
    await operator.send(session, 1);
    await operator.dev("evm_setAutomine", false);
    const raws = new Set<unknown>();
    session.faulty.answer("eth_sendRawTransaction", async (call, inner) => {
      const [raw] = call.params;
      const isNew = !raws.has(raw);
      raws.add(raw);
      if (!isNew && raws.size === 1)
        throw unreachable("node", { fault: "answer", code: -32_000, message: "already known", data: undefined });
      const hash = await inner.request(call);
      if (isNew && raws.size === 2)
        throw unreachable("node", { fault: "timeout", code: 0, message: "no answer", data: undefined });
      return hash;
    });
    await run(session);
    expect(raws.size).to.equal(2);
    await session.close();
  });

  it("does not hand over again what is dearer than the caps of this run", async () => {
    const session = await operator.open("first", quick());
    await operator.send(session, 1);
    await operator.dev("anvil_setNextBlockBaseFeePerGas", `0x${(60n * GWEI).toString(16)}`);
    await operator.mine();
    session.faulty.answer("eth_sendRawTransaction", () => Promise.reject(new DmtpError("INTERNAL", "killed")));
    await run(session, { timeoutMs: 1 }).catch(() => undefined);
    session.faulty.mend();
    const { anchored } = await run(session, limited(70n));
    const transaction = await operator.deployed.provider.getTransaction(anchored[0]!.transaction.hash);
    expect(transaction!.maxFeePerGas! <= 70n * GWEI).to.equal(true);
    await session.close();
  });

  it("reports an anchor once when a node lags for a moment after it", async () => {
    const session = await operator.open("first", quick());
    await operator.send(session, 1);
    const old = await operator.dev("eth_blockNumber");
    let looks = 0;
    session.faulty.answer("eth_getTransactionReceipt", async (call, inner) => {
      const receipt = await inner.request(call);
      if (receipt !== null && looks === 0) looks = 1;
      return receipt;
    });
    session.faulty.answer("eth_getBlockByNumber", (call, inner) => {
      if (call.params[0] === "latest" && looks === 1) {
        looks = 2;
        return inner.request({ ...call, params: [old, false] });
      }
      return inner.request(call);
    });
    const { anchored } = await run(session);
    expect(anchored).to.have.length(1);
    await session.close();
  });

  it("waits for the confirmations of an anchor that an earlier run left without", async () => {
    const session = await operator.open("first", quick());
    await operator.send(session, 1);
    expect(await codeOfAsync(() => run(session, { confirmations: 30, timeoutMs: 5_000 }))).to.equal(
      "TRANSACTION_PENDING",
    );
    expect(await codeOfAsync(() => run(session, { confirmations: 30, timeoutMs: 5_000 }))).to.equal(
      "TRANSACTION_PENDING",
    );
    await session.close();
  });

  it("outlasts one call that fails while it waits for confirmations", async () => {
    let turn = 0;
    const session = await operator.open("first", {
      elapsedMs: clock(),
      pause: async () => {
        if (turn++ === 1) session.faulty.lose("eth_getBlockByNumber", "before");
        await operator.mine();
      },
    });
    await operator.send(session, 1);
    expect((await run(session, { confirmations: 10 })).anchored).to.have.length(1);
    await session.close();
  });

  it("rehearses while messages are sent", async () => {
    const other = await operator.open("other", quick());
    await operator.send(other, 1);
    await run(other);
    const sender = await operator.open("first");
    const content: ContentStore = new Proxy(operator.content, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]): Promise<unknown> => {
          if (name === "get") await operator.send(sender, 1);
          return value.apply(target, args) as unknown;
        };
      },
    });
    const session = await operator.open("first", quick({ content }));
    await operator.send(session, 1);
    expect(await codeOfAsync(() => rehearse(session, DEFAULT_OPTIONS))).to.equal(null);
    await Promise.all([session.close(), sender.close(), other.close()]);
  });

  it("outlives a session that does not close", async () => {
    const ending = new AbortController();
    let rounds = 0;
    const lines: unknown[] = [];
    await watchRounds(DEFAULT_OPTIONS, 1_000, ending.signal, {
      open: async () => {
        const session = await operator.open();
        const close = session.close.bind(session);
        session.close = async () => {
          await close();
          throw new Error("the store did not close");
        };
        return session;
      },
      log: (line) => void lines.push(line),
      pause: () => {
        if (++rounds === 3) ending.abort();
        return Promise.resolve();
      },
      elapsedMs: clock(),
    });
    expect(rounds).to.equal(3);
  });

  it("goes on with another account once the owner has named it", async () => {
    await operator.send(await operator.open("first", quick()), 1);
    const { owner, anchorer, signers, deployment } = operator.deployed;
    const session = await operator.open("first", {
      elapsedMs: clock(),
      pause: () => operator.mine().then(() => undefined),
      accounts: () =>
        Promise.resolve([new LocalAccount(anchorer.privateKey), new LocalAccount(signers[3]!.privateKey)]),
    });
    await operator.dev("evm_setAutomine", false);
    session.faulty.lose("eth_sendRawTransaction", "before", 3);
    await run(session, { timeoutMs: 1 }).catch(() => undefined);
    await operator.dev("evm_setAutomine", true);
    await (
      await new Contract(checksummed(deployment.cidStore), cidStoreInterface, owner)
        .getFunction("setAnchorer")
        .send(signers[3]!.address)
    ).wait();
    const { anchored } = await run(session, { from: parseAddress(signers[3]!.address) });
    expect(anchored).to.have.length(1);
    await session.close();
  });
});
