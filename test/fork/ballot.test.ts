import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { expect } from "chai";
import type { Contract } from "ethers";
import hre from "hardhat";

import type { Cid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { TestCountReader } from "../../scripts/test-counts.ts";
import { findTool, ROOT } from "../../scripts/tool.ts";
import { anchor } from "../../tasks/anchor.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { anchorsOf } from "../fixtures/anchor.ts";
import type { Chain } from "../fixtures/chain.ts";
import type { TestDeployment } from "../fixtures/deployment.ts";
import { deployOnFork, POLYGON, startFork, UPSTREAMS, type Fork } from "../fixtures/fork.ts";

for (const { name, start } of UPSTREAMS) {
  describe(`a contract that reads KeyRegistry and CIDStore on a fork of ${name}`, function () {
    this.timeout(60_000);
    let upstream: Chain;
    let fork: Fork;
    let chain: TestDeployment;
    let session: Session;
    let anchored: { readonly index: number; readonly manifest: Cid };

    before(async () => {
      upstream = await start();
      fork = await startFork(upstream);
      chain = await deployOnFork(fork);
      session = chain.open();
      await register(session, chain.alice);
      await register(session, chain.bob);
      await send(session, chain.alice, [{ to: chain.bob, content: contentOfText("Shall we?") }]);
      anchored = anchorsOf(await anchor(session))[0]!;
    });

    after(async () => {
      await session.close();
      await chain.close();
      await fork.stop();
      await upstream.stop();
    });

    /** On a chain that has the contracts; or on a fork of it. */
    async function deployBallot({ ethers }: TestDeployment["connection"]): Promise<Contract> {
      const { keyRegistry, cidStore } = session.deployment;
      const closesAt = 10n ** 10n;
      return ethers.deployContract("Ballot", [keyRegistry, cidStore, anchored.index, closesAt]);
    }

    it("lets wallets vote that had a key, about what was anchored", async () => {
      const { ethers } = chain.connection;
      const ballot = await deployBallot(chain.connection);
      const vote = async (wallet: string, yes: boolean): Promise<unknown> =>
        ballot.connect(await ethers.getSigner(wallet)).getFunction("vote")(yes);
      await expect(vote(chain.alice, true)).to.emit(ballot, "Voted").withArgs(ethers.getAddress(chain.alice), true, 1n);
      await vote(chain.bob, false);
      await register(session, chain.carol);
      await expect(vote(chain.carol, true))
        .to.be.revertedWithCustomError(ballot, "NoKeyAtSnapshot")
        .withArgs(ethers.getAddress(chain.carol), await ballot.getFunction("snapshotBlock")());
      expect(await ballot.getFunction("yes")()).to.equal(1n);

      const manifest = await session.content.get(anchored.manifest);
      const changed = Uint8Array.from(manifest!);
      changed[0]! ^= 1;
      expect(await ballot.getFunction("discussionCID")()).to.equal(anchored.manifest);
      expect(await ballot.getFunction("isDiscussion")(manifest)).to.equal(true);
      expect(await ballot.getFunction("isDiscussion")(changed)).to.equal(false);
    });

    it("works the same on Hardhat's own fork of that, where a test may speak for anyone", async () => {
      const override = { chainId: POLYGON, forking: { url: fork.url } };
      const connection = await hre.network.create({ network: "default", override });
      try {
        const ballot = await deployBallot(connection);
        const alice = await connection.ethers.getImpersonatedSigner(chain.alice);
        await ballot.connect(alice).getFunction("vote")(true);
        expect(await ballot.getFunction("yes")()).to.equal(1n);
        expect(await ballot.getFunction("discussionCID")()).to.equal(anchored.manifest);
      } finally {
        await connection.close();
      }
    });

    it("passes its Solidity tests there, on the contracts that are deployed", async () => {
      const { keyRegistry, cidStore } = session.deployment;
      const variables = { POLYGON_RPC_URL: fork.url, KEY_REGISTRY_ADDRESS: keyRegistry, CID_STORE_ADDRESS: cidStore };
      const { calls } = fork.bor;
      calls.length = 0;
      expect(await runSolidityTests("test/contracts/examples/Ballot.t.sol", variables)).to.deep.equal({
        passed: 8,
        failed: 0,
        skipped: 0,
      });
      // Tests that deployed contracts of their own would have asked for nothing of these.
      const read = new Set(calls.flatMap(({ params }) => params.map((param) => String(param).toLowerCase())));
      expect(read).to.include.all.keys(keyRegistry, cidStore);
    });
  });
}

async function runSolidityTests(file: string, variables: Record<string, string>): Promise<TestCountReader["counts"]> {
  const child = spawn(process.execPath, [findTool("hardhat"), "test", "solidity", "--no-compile", file], {
    cwd: ROOT,
    env: { ...process.env, ...variables, FORCE_COLOR: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const reader = new TestCountReader();
  for await (const line of createInterface({ input: child.stdout })) reader.readLine(line);
  return reader.counts;
}
