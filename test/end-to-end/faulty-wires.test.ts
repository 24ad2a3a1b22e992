import { expect } from "chai";

import { BATCH_FAULTS, WIRE_FAULTS } from "../fixtures/fault-proxy.ts";
import { useFolder } from "../fixtures/folder.ts";
import { FaultyWires } from "../fixtures/faulty-wires.ts";

/** The long form: `npm run chaos`. */
describe("pin, anchor and the indexer, over wires that fail in every way", function () {
  this.timeout(120_000);
  const folder = useFolder();
  for (const [seed, what] of [
    [1, "seed 1"],
    [20_261_188, "seed 20261188: logs block by block, from before the second contract was deployed"],
  ] as const) {
    it(`lose nothing, do nothing twice and believe nothing that is wrong, ${what}`, async () => {
      const { messages, anchors, faults, codes } = await new FaultyWires(seed, folder()).run(6);
      expect(messages).to.be.greaterThan(6);
      expect(anchors).to.be.within(1, 7);
      if (seed !== 1) return;
      expect([...WIRE_FAULTS, ...BATCH_FAULTS].filter((fault) => !faults.has(fault))).to.deep.equal([]);
      expect(codes.size).to.be.greaterThan(0);
    });
  }
});
