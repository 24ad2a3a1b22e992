import { expect } from "chai";
import type { JsonRpcProvider } from "ethers";

import { contentOfText } from "../../protocol/content.ts";
import { anchor } from "../../tasks/anchor.ts";
import type { Outcome } from "../../tasks/command.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { TIP_FLOOR_WEI } from "../fixtures/bor.ts";
import { anchorsOf } from "../fixtures/anchor.ts";
import type { Chain } from "../fixtures/chain.ts";
import type { TestDeployment } from "../fixtures/deployment.ts";
import { accountOf, deployOnFork, providerOf, startFork, UPSTREAMS, type Fork } from "../fixtures/fork.ts";

for (const { name, start } of UPSTREAMS) {
  describe(`Polygon's fees and blocks on a fork of ${name}`, function () {
    this.timeout(60_000);
    let upstream: Chain;
    let fork: Fork;
    let chain: TestDeployment;
    let session: Session;
    let provider: JsonRpcProvider;

    before(async () => {
      upstream = await start();
      fork = await startFork(upstream);
      provider = providerOf(fork);
      chain = await deployOnFork(fork);
      session = chain.open();
      await register(session, chain.bob);
      await register(session, chain.alice);
    });

    after(async () => {
      await session.close();
      await chain.close();
      provider.destroy();
      await fork.stop();
      await upstream.stop();
    });

    const write = (): Promise<Outcome> =>
      send(session, chain.alice, [{ to: chain.bob, content: contentOfText("what a message costs") }]);

    /** Of the transaction that a task tells of, in wei for each unit of gas. */
    async function tipsOf(data?: object): Promise<{ readonly offered: bigint; readonly paid: bigint }> {
      const { transactionHash } = data as { readonly transactionHash: string };
      const transaction = await provider.getTransaction(transactionHash);
      const receipt = await provider.getTransactionReceipt(transactionHash);
      const block = await provider.getBlock(receipt!.blockNumber);
      return { offered: transaction!.maxPriorityFeePerGas!, paid: receipt!.gasPrice - block!.baseFeePerGas! };
    }

    it("stands for Bor: it refuses a tip that is a wei too small, and takes the floor", async () => {
      const operator = accountOf("operator").connect(provider);
      const to = chain.carol;
      const maxFeePerGas = 100_000_000_000n;
      const refusal = /transaction gas price below minimum: gas tip cap \d+, minimum needed 25000000000/;
      for (const fees of [
        { maxFeePerGas, maxPriorityFeePerGas: TIP_FLOOR_WEI - 1n },
        { type: 0, gasPrice: TIP_FLOOR_WEI - 1n },
      ]) {
        const error: unknown = await operator.sendTransaction({ to, ...fees }).then(
          () => null,
          (thrown: unknown) => thrown,
        );
        expect(String(error)).to.match(refusal);
      }
      expect(fork.bor.refused.splice(0)).to.deep.equal([TIP_FLOOR_WEI - 1n, TIP_FLOOR_WEI - 1n]);
      const taken = await operator.sendTransaction({ to, maxFeePerGas, maxPriorityFeePerGas: TIP_FLOOR_WEI });
      expect((await taken.wait())?.status).to.equal(1);
    });

    it("offers the floor or more with what a task sends", async () => {
      const registered = await tipsOf((await register(session, chain.alice)).data);
      await write();
      const anchored = await tipsOf(...anchorsOf(await anchor(session)));
      for (const { offered } of [registered, anchored]) expect(offered >= TIP_FLOOR_WEI).to.equal(true);
      expect(fork.bor.refused).to.deep.equal([]);
    });

    it("pays it too: the price leaves room for the floor above the base fee", async () => {
      const registered = await tipsOf((await register(session, chain.alice)).data);
      await write();
      const anchored = await tipsOf(...anchorsOf(await anchor(session)));
      // Bor's pool takes what offers the floor; its miner takes only what pays it.
      for (const { paid } of [registered, anchored]) expect(paid >= TIP_FLOOR_WEI).to.equal(true);
    });

    it("pays the floor where the node suggests less than it takes itself", async () => {
      fork.bor.suggestedTipWei = 1_000_000_000n;
      try {
        const registered = await tipsOf((await register(session, chain.alice)).data);
        await write();
        const anchored = await tipsOf(...anchorsOf(await anchor(session)));
        for (const { paid } of [registered, anchored]) expect(paid >= TIP_FLOOR_WEI).to.equal(true);
        expect(fork.bor.refused).to.deep.equal([]);
      } finally {
        fork.bor.suggestedTipWei = TIP_FLOOR_WEI;
        fork.bor.refused.length = 0;
      }
    });

    it("waits for its block where blocks come every two seconds, and anchors once", async () => {
      const { count } = await session.reader.entryHead();
      const before = await fork.height();
      await write();
      await fork.request("evm_setAutomine", false);
      await fork.request("evm_setIntervalMining", 2);
      try {
        const anchors = anchorsOf(await anchor(session));
        expect(anchors).to.have.length(1);
        expect(anchors[0]).to.include({ index: count, messages: 1 });
        expect(anchors[0]?.blockNumber).to.be.greaterThan(before);
        expect(anchorsOf(await anchor(session))).to.deep.equal([]);
      } finally {
        await fork.request("evm_setIntervalMining", 0);
        await fork.request("evm_setAutomine", true);
      }
    });
  });
}
