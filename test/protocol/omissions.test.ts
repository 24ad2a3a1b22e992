import { expect } from "chai";

import { cidOfDigest, digestOfCid, type Cid } from "../../protocol/cid.ts";
import { findOmissions } from "../../protocol/omissions.ts";
import { ALICE, BOB, deltaOf, History } from "../fixtures/history.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

describe("What a room's messages say is missing", () => {
  function omissions(build: (history: History) => Cid[]) {
    const history = new History();
    for (const person of [ALICE, BOB]) history.register(person);
    const room = history.room(ALICE, BOB);
    history.anchor(deltaOf([room, build(history)]));
    return findOmissions(history.replay().entries(room));
  }

  it("is nothing in a complete room", () => {
    const found = omissions((history) => {
      const first = history.message(ALICE, BOB);
      return [first, history.message(BOB, ALICE, { seen: [first] }), history.message(ALICE, BOB, { seq: 2 })];
    });
    expect(found).to.deep.equal({ gaps: [], forks: [], unseen: [] });
  });

  it("is a gap for a number left out, a fork for one used twice, and what somebody had seen that is not there", () => {
    const dropped = cidOfDigest(fixedBytes("dropped"));
    const found = omissions((history) => [
      history.message(ALICE, BOB, { seq: 2 }),
      history.message(ALICE, BOB, { seq: 5, seen: [dropped] }),
      history.message(BOB, ALICE, { seq: 1 }),
      history.message(BOB, ALICE, { seq: 1 }),
    ]);
    expect(found).to.deep.equal({
      gaps: [1, 3, 4].map((seq) => ({ sender: ALICE.address, senderKeyVersion: 1, seq })),
      forks: [{ sender: BOB.address, senderKeyVersion: 1, seq: 1 }],
      unseen: [digestOfCid(dropped)],
    });
  });

  it("is counted for each key version of a sender by itself, so that a new key leaves a closed count behind", () => {
    const found = omissions((history) => {
      history.register(ALICE);
      return [
        history.message(ALICE, BOB, { seq: 1 }),
        history.message(ALICE, BOB, { seq: 3 }),
        history.message(ALICE, BOB, { seq: 1, senderKeyVersion: 2 }),
        history.message(ALICE, BOB, { seq: 3, senderKeyVersion: 2 }),
        history.message(ALICE, BOB, { seq: 3, senderKeyVersion: 2 }),
      ];
    });
    expect(found).to.deep.equal({
      gaps: [1, 2].map((senderKeyVersion) => ({ sender: ALICE.address, senderKeyVersion, seq: 2 })),
      forks: [{ sender: ALICE.address, senderKeyVersion: 2, seq: 3 }],
      unseen: [],
    });
  });

  it("counts verified messages only", () => {
    const found = omissions((history) => {
      const forged = history.message(ALICE, BOB, { seq: 1, signer: BOB.identity() });
      return [forged, history.message(BOB, ALICE, { seen: [forged] }), forged];
    });
    expect(found.gaps).to.deep.equal([]);
    expect(found.unseen).to.have.length(1);
  });

  it("names at most 100, however many there are", () => {
    const found = omissions((history) => [history.message(ALICE, BOB, { seq: Number.MAX_SAFE_INTEGER })]);
    expect(found.gaps).to.have.length(100);
    expect(found.gaps.at(-1)).to.deep.equal({ sender: ALICE.address, senderKeyVersion: 1, seq: 100 });
  });
});
