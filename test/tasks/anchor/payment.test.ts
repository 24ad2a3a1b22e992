import { expect } from "chai";

import { GWEI } from "../../../io/chain/transactions/amount.ts";
import { LocalAccount } from "../../../io/chain/transactions/account.ts";
import { DEFAULT_OPTIONS, type AnchorOptions } from "../../../tasks/anchor-options.ts";
import { anchorRound } from "../../../tasks/anchor-round.ts";
import { Operator, type OperatorSession } from "../../fixtures/operator.ts";
import { codeOfAsync } from "../../fixtures/refusal.ts";

const POLYGON = 137;

/** Blocks only when a test mines them, on a chain that says it is Polygon. */
describe("What an anchor pays", () => {
  let operator: Operator;
  /** What happens each time that a run waits. */
  let whileWaiting: (turn: number) => Promise<unknown>;
  let session: OperatorSession;

  beforeEach(async () => {
    operator = await Operator.start({ chainId: POLYGON });
    session = await open();
    await operator.send(session, 1);
    await operator.dev("evm_setAutomine", false);
  });
  afterEach(async () => {
    await session.close();
    await operator.stop();
  });

  async function open(): Promise<OperatorSession> {
    let turn = 0;
    whileWaiting = () => operator.mine();
    return operator.open("first", {
      pause: async () => {
        await whileWaiting(turn++);
      },
    });
  }

  const run = (options: Partial<AnchorOptions> = {}) => anchorRound(session, { ...DEFAULT_OPTIONS, ...options });
  const limits = (maxFee: bigint | undefined, maxCost = 10n ** 18n) => ({
    limits: { maxFeePerGas: maxFee === undefined ? undefined : maxFee * GWEI, maxCost },
  });
  /** The signed transactions of the last row, oldest first. */
  const attempts = () => session.mailbox.anchors.attemptLog(session.mailbox.anchors.open().at(-1)!).attempts();
  const base = (gwei: bigint) => operator.dev("anvil_setNextBlockBaseFeePerGas", `0x${(gwei * GWEI).toString(16)}`);

  it("is a tip of at least 25 gwei on Polygon, whatever the node suggests", async () => {
    const { anchored } = await run();
    const transaction = await operator.deployed.provider.getTransaction(anchored[0]!.transaction.hash);
    expect(transaction?.maxPriorityFeePerGas).to.equal(25n * GWEI);
    expect(transaction?.type).to.equal(2);
  });

  it("is nothing while fees are above the caps: the run says so, and sends nothing", async () => {
    await base(300n);
    await operator.mine();
    expect(await codeOfAsync(() => run(limits(200n)))).to.equal("FEE_TOO_HIGH");
    expect(await codeOfAsync(() => run(limits(undefined, 10n ** 16n)))).to.equal("FEE_TOO_HIGH");
    expect(session.faulty.count("eth_sendRawTransaction")).to.equal(0);
    expect(session.mailbox.counts().unanchored).to.equal(1);
    expect((await run(limits(400n))).anchored).to.have.length(1);
  });

  it("of a transaction that waits is raised by an eighth with the same nonce, up to the cap, and only one is mined", async () => {
    const nonce = await operator.anchorerNonce();
    // The base fee rises far above what was offered, and comes down again after a long time.
    whileWaiting = async (turn) => {
      await base(turn < 50 ? 1_000n : 20n);
      await operator.mine();
    };
    const { anchored } = await run(limits(100n));
    const sent = attempts();
    expect(sent.length).to.be.greaterThan(1);
    sent.slice(1).forEach(({ fees }, i) => {
      expect(fees.maxFeePerGas * 8n >= sent[i]!.fees.maxFeePerGas * 9n).to.equal(true);
      expect(fees.maxPriorityFeePerGas * 8n >= sent[i]!.fees.maxPriorityFeePerGas * 9n).to.equal(true);
    });
    expect(new Set(sent.map((attempt) => attempt.nonce))).to.deep.equal(new Set([nonce]));
    expect(sent.every(({ fees }) => fees.maxFeePerGas <= 100n * GWEI)).to.equal(true);
    expect(anchored[0]?.transaction.hash).to.equal(sent.at(-1)?.hash);
    expect(await operator.anchorerNonce()).to.equal(nonce + 1);
    expect(operator.notes.join("\n")).to.contain("the transaction waits as it is");
  });

  it("is found when an older, cheaper transaction is mined after it was replaced", async () => {
    let isDropped = false;
    whileWaiting = async () => {
      const sent = attempts();
      if (sent.length === 2 && !isDropped) {
        isDropped = true;
        // A block builder that never saw the replacement.
        await operator.dev("anvil_dropTransaction", sent[1]!.hash);
        await base(10n);
        await operator.mine();
        await operator.dev("eth_sendRawTransaction", sent[0]!.raw);
      } else if (sent.length === 1) await base(1_000n);
      await operator.mine();
    };
    const { anchored } = await run();
    expect(anchored[0]?.transaction.hash).to.equal(attempts()[0]?.hash);
    expect(await operator.anchoredCids()).to.have.length(1);
  });

  it("goes on after the node has lost the transaction", async () => {
    let isLost = false;
    whileWaiting = async () => {
      if (!isLost) await operator.dev("anvil_dropTransaction", attempts()[0]!.hash);
      isLost = true;
      await operator.mine();
    };
    const { anchored } = await run();
    expect(anchored).to.have.length(1);
    expect(attempts()).to.have.length(1);
    expect(session.faulty.count("eth_sendRawTransaction")).to.equal(2);
  });

  it("is not paid a second time by the run after one whose time was up: it goes on with the same nonce", async () => {
    let elapsed = 0;
    session.close().catch(() => undefined);
    session = await operator.open("first", { pause: () => Promise.resolve(), elapsedMs: () => (elapsed += 1_000) });
    const nonce = await operator.anchorerNonce();
    expect(await codeOfAsync(() => run({ timeoutMs: 20_000 }))).to.equal("TRANSACTION_PENDING");
    const [first] = attempts();
    await operator.mine(20);
    expect(await operator.anchorerNonce()).to.equal(nonce + 1);
    const { anchored } = await run();
    expect(anchored).to.deep.equal([]);
    expect(session.mailbox.anchors.open().map(({ state }) => state)).to.deep.equal(["mined"]);
    expect(first?.nonce).to.equal(nonce);
  });

  it("is offered after a while in the place of another transaction of the account that waits for ever", async () => {
    const { anchorer, provider } = operator.deployed;
    await base(100n);
    await operator.mine();
    // From before a backup was restored: this mailbox knows nothing of it, and nobody will mine it.
    await anchorer.sendTransaction({
      to: anchorer.address,
      maxFeePerGas: 101n * GWEI,
      maxPriorityFeePerGas: 50n * GWEI,
    });
    whileWaiting = async (turn) => {
      await base(turn < 40 ? 1_000n : 100n);
      await operator.mine();
    };
    const nonce = await operator.anchorerNonce();
    const { anchored } = await run();
    expect(anchored).to.have.length(1);
    expect(await operator.anchorerNonce()).to.equal(nonce + 1);
    expect(await provider.getTransactionCount(anchorer.address, "pending")).to.equal(nonce + 1);
  });

  it("is refused before anything is signed when the account cannot pay, with both amounts", async () => {
    await operator.dev("anvil_setBalance", operator.deployed.anchorer.address, "0x1000");
    let message = "";
    await run().catch((error: unknown) => (message = (error as Error).message));
    expect(message).to.match(/has .* POL, this may take .* POL$/);
    expect(session.faulty.count("eth_sendRawTransaction")).to.equal(0);
    expect(session.mailbox.counts().unanchored).to.equal(1);
  });

  for (const [what, fault] of [
    ["a limit of requests (429)", { fault: "status", code: 429, message: "HTTP status 429" }],
    ["a time-out", { fault: "timeout", code: 0, message: "no answer within 30000 ms" }],
    ["a gateway's 502", { fault: "status", code: 502, message: "HTTP status 502" }],
    ["already known", { fault: "answer", code: -32_000, message: "already known" }],
  ] as const) {
    it(`is paid once when the node answers the transaction with ${what}`, async () => {
      for (const when of ["before", "after"] as const) {
        const nonce = await operator.anchorerNonce();
        session.faulty.lose("eth_sendRawTransaction", when, 1, fault);
        expect((await run()).anchored).to.have.length(1);
        expect(await operator.anchorerNonce()).to.equal(nonce + 1);
        await operator.dev("evm_setAutomine", true);
        await operator.send(session, 1);
        await operator.dev("evm_setAutomine", false);
      }
    });
  }

  it("is by another nonce when the account was used for something else in between", async () => {
    const { anchorer } = operator.deployed;
    const wallet = new LocalAccount(anchorer.privateKey);
    expect(wallet.address).to.equal(anchorer.address.toLowerCase());
    const nonce = await operator.anchorerNonce();
    session.faulty.answer("eth_sendRawTransaction", async (call, inner) => {
      session.faulty.mend();
      await anchorer.sendTransaction({
        to: anchorer.address,
        maxPriorityFeePerGas: 90n * GWEI,
        maxFeePerGas: 200n * GWEI,
      });
      await operator.mine();
      return inner.request(call);
    });
    const { anchored } = await run();
    expect(anchored).to.have.length(1);
    expect(await operator.anchorerNonce()).to.equal(nonce + 2);
  });
});
