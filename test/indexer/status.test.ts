import { expect } from "chai";

import { illness } from "../../indexer/read/status.ts";

describe("Whether a supervisor should start the service again", () => {
  const MINUTES = 60_000;

  it("is not said of a loop that rests for as long as it was told to", () => {
    for (const pollIntervalMs of [50, 2_000, 10 * MINUTES, 60 * MINUTES]) {
      const follower = { turnedAtMs: 1_000, pollIntervalMs };
      expect(illness(follower, 1_000 + pollIntervalMs + 2 * MINUTES), String(pollIntervalMs)).to.equal(null);
      expect(illness(follower, 1_000 + pollIntervalMs + 3 * MINUTES)?.code).to.equal("INDEX_BEHIND");
    }
  });
});
