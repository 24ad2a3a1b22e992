import { expect } from "chai";

import { parseLogs, type Log } from "../../io/chain/rpc/parsed-answer.ts";
import { decodeLog } from "../../io/chain/events/event-decoder.ts";
import { ALICE, BOB, DEPLOYMENT, deltaOf, History } from "../fixtures/history.ts";
import { Ledger } from "../fixtures/ledger.ts";
import { codeOf } from "../fixtures/refusal.ts";

describe("A log of either contract", () => {
  const history = new History();
  history.register(ALICE);
  history.revoke(ALICE);
  history.anchor(deltaOf([history.room(ALICE, BOB), [history.message(ALICE, BOB)]]));
  history.anchorText("not a CID");
  const { events, logs: made } = new Ledger().mine(history.events);
  const logs = parseLogs(made);

  const refusal = (log: Log): string | null => codeOf(() => decodeLog(DEPLOYMENT, log));

  it("is the event that was written", () => {
    expect(logs.map((log) => decodeLog(DEPLOYMENT, log))).to.deep.equal(events);
  });

  it("is refused with a topic less or more, or another contract's", () => {
    for (const log of logs) {
      for (let length = 0; length < log.topics.length; length++)
        expect(refusal({ ...log, topics: log.topics.slice(0, length) }), `${length} topics`).to.equal(
          "CHAIN_DISAGREES",
        );
      const [kind] = log.topics;
      expect(refusal({ ...log, topics: [...log.topics, kind!] }), "one more").to.equal("CHAIN_DISAGREES");
      const address = log.address === DEPLOYMENT.cidStore ? DEPLOYMENT.keyRegistry : DEPLOYMENT.cidStore;
      expect(refusal({ ...log, address })).to.equal("CHAIN_DISAGREES");
    }
  });

  it("is refused with an index that no count reaches, and with half its data", () => {
    for (const log of logs) {
      const [kind, , ...others] = log.topics;
      expect(refusal({ ...log, topics: [kind!, `0x${"ff".repeat(32)}`, ...others] })).to.equal("CHAIN_DISAGREES");
      const cut = log.data.slice(0, 2 + (log.data.length - 2) / 2) as Log["data"];
      if (log.data !== "0x") expect(refusal({ ...log, data: cut })).to.equal("CHAIN_DISAGREES");
    }
  });
});
