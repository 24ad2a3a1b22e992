import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";

import { expect } from "chai";

import { checksummed } from "../../protocol/address.ts";
import { contentOfText } from "../../protocol/content.ts";
import { findTool, ROOT } from "../../scripts/tool.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Chain } from "../fixtures/chain.ts";
import type { TestDeployment } from "../fixtures/deployment.ts";
import { accountOf, deployOnFork, startFork, UPSTREAMS, type Fork } from "../fixtures/fork.ts";

for (const { name, start } of UPSTREAMS) {
  describe(`the commands with --network polygon on a fork of ${name}`, function () {
    this.timeout(60_000);
    let upstream: Chain;
    let fork: Fork;
    let chain: TestDeployment;

    before(async () => {
      upstream = await start();
      fork = await startFork(upstream);
      chain = await deployOnFork(fork);
      const session = chain.open();
      await register(session, chain.bob);
      await session.close();
    });

    after(async () => {
      await chain.close();
      await fork.stop();
      await upstream.stop();
    });

    /** What a command says with `--json`; it must succeed. */
    async function run(...args: string[]): Promise<Record<string, unknown>> {
      const { cidStore, keyRegistry } = chain.open().deployment;
      const child = spawn(process.execPath, [findTool("hardhat"), ...args, "--json", "--network", "polygon"], {
        cwd: ROOT,
        env: {
          ...process.env,
          POLYGON_RPC_URL: fork.url,
          POLYGON_PRIVATE_KEY: accountOf("operator").privateKey,
          CID_STORE_ADDRESS: cidStore,
          KEY_REGISTRY_ADDRESS: keyRegistry,
          DMTP_DATA_DIR: chain.dataDir,
          NODE_OPTIONS: "",
        },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
      const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
      expect(await exit, stderr).to.equal(0);
      return JSON.parse(stdout) as Record<string, unknown>;
    }

    it("register, anchor and audit with a private key and a URL, and nothing else", async () => {
      expect(await run("keys", "register")).to.include({ wallet: checksummed(chain.operator), version: 1 });
      const session = chain.open();
      await send(session, chain.operator, [{ to: chain.bob, content: contentOfText("hello on a fork") }]);
      await session.close();
      expect(await run("anchor")).to.nested.include({
        anchored: 1,
        anchorer: checksummed(chain.operator),
        "anchors[0].index": 0,
      });
      expect(await run("audit")).to.deep.include({
        chainId: 137,
        messages: { verified: 1, rejected: 0, missing: 0 },
      });
      expect(fork.bor.refused).to.deep.equal([]);
    });
  });
}
