import { expect } from "chai";
import hre from "hardhat";

import { contentOfText } from "../../protocol/content.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import { startChain } from "../fixtures/chain.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";

const POLYGON = 137;
const url = process.env["POLYGON_RPC_URL"];
const upstreams: {
  readonly name: string;
  readonly start: () => Promise<{ url: string; stop: () => Promise<void> }>;
}[] = [{ name: "an offline anvil with Polygon's chain id", start: () => startChain({ chainId: POLYGON }) }];
if (url !== undefined && url !== "") {
  upstreams.push({
    name: "Polygon itself, by POLYGON_RPC_URL",
    start: () => Promise.resolve({ url, stop: () => Promise.resolve() }),
  });
}

for (const { name, start } of upstreams) {
  describe(`on a fork of ${name}`, () => {
    let upstream: { url: string; stop: () => Promise<void> };
    let chain: TestDeployment;

    before(async () => {
      upstream = await start();
      const connection = await hre.network.create({
        network: "default",
        override: { chainId: POLYGON, forking: { url: upstream.url } },
      });
      chain = await openDeployment(connection);
    });

    after(async () => {
      await chain.close();
      await upstream.stop();
    });

    it("deploys, registers, sends, anchors and audits", async () => {
      const session = chain.open();
      expect(session.deployment.chainId).to.equal(POLYGON);
      await register(session, chain.alice);
      await register(session, chain.bob);
      await send(session, chain.alice, [{ to: chain.bob, content: contentOfText("hello on a fork") }]);
      const anchored = await anchor(session);
      expect(anchored.data).to.include({ anchored: 1 });
      const { data, error } = await audit(session);
      await session.close();
      expect(error).to.equal(undefined);
      expect(data).to.deep.include({ messages: { verified: 1, rejected: 0, missing: 0 } });
    });
  });
}

// Without the variable the test above runs offline only, and says so.
(url === undefined || url === "" ? it.skip : it)("forks Polygon itself (skipped: POLYGON_RPC_URL is not set)", () => {
  expect(upstreams).to.have.length(2);
});
