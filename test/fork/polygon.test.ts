import { expect } from "chai";
import hre from "hardhat";

import { contentOfText } from "../../protocol/content.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Chain } from "../fixtures/chain.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { POLYGON, UPSTREAMS } from "../fixtures/fork.ts";

for (const { name, start } of UPSTREAMS) {
  describe(`on Hardhat's own fork of ${name}`, () => {
    let upstream: Chain;
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
      expect(anchored.data).to.deep.include({ anchored: 1 });
      const { data, error } = await audit(session);
      await session.close();
      expect(error).to.equal(undefined);
      expect(data).to.deep.include({ messages: { verified: 1, rejected: 0, missing: 0 } });
    });
  });
}

if (UPSTREAMS.length < 2) {
  it.skip("all of test/fork again on Polygon itself (skipped: POLYGON_RPC_URL is not set)");
}
