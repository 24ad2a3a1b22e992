import { expect } from "chai";

import { addJitter, computeBackoffMs } from "../../protocol/backoff.ts";

describe("A backoff", () => {
  it("doubles with every failure in a row, from the first delay to the longest", () => {
    expect([1, 2, 3, 4, 5].map((failures) => computeBackoffMs(failures, 500, 3_000))).to.deep.equal([
      500, 1_000, 2_000, 3_000, 3_000,
    ]);
    expect(computeBackoffMs(0, 500, 3_000), "nothing has failed").to.equal(500);
    expect(computeBackoffMs(1_000_000, 1, 60_000)).to.equal(60_000);
    expect(computeBackoffMs(1, 5_000, 3_000)).to.equal(3_000);
  });

  it("is spread by a quarter to either side", () => {
    expect([0, 0.5, 1].map((random) => addJitter(1_000, random))).to.deep.equal([750, 1_000, 1_250]);
  });
});
