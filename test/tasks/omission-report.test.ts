import { expect } from "chai";

import { checksummed } from "../../protocol/address.ts";
import { toHex } from "../../protocol/bytes.ts";
import type { Omissions } from "../../protocol/omissions.ts";
import { describeOmissions, formatOmissions } from "../../tasks/omission-report.ts";
import { short } from "../../tasks/terminal.ts";
import { ALICE, BOB } from "../fixtures/history.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

describe("What a command says of omissions", () => {
  const gap = { sender: ALICE.address, senderKeyVersion: 1, seq: 2 };
  const fork = { sender: BOB.address, senderKeyVersion: 2, seq: 5 };
  const unseen = fixedBytes("unseen");
  const omissions: Omissions = {
    gaps: [gap, { ...gap, seq: 4 }, { ...gap, senderKeyVersion: 3 }],
    forks: [fork],
    unseen: [unseen],
  };

  it("is nothing for a room without any", () => {
    expect(formatOmissions({ gaps: [], forks: [], unseen: [] })).to.deep.equal([]);
  });

  it("names sender, key version and numbers to a person, a line for each key version", () => {
    const [alice, bob] = [ALICE, BOB].map(({ address }) => short(checksummed(address)));
    expect(formatOmissions(omissions)).to.deep.equal([
      `  missing by their numbers: ${alice} under key 1: 2, 4`,
      `  missing by their numbers: ${alice} under key 3: 2`,
      `  numbers given to more than one message: ${bob} under key 2: 5`,
      `  seen by a sender and not here: ${toHex(unseen)}`,
    ]);
  });

  it("has the same in JSON, with checksummed addresses", () => {
    expect(describeOmissions({ ...omissions, gaps: [gap] })).to.deep.equal({
      gaps: [{ ...gap, sender: checksummed(ALICE.address) }],
      forks: [{ ...fork, sender: checksummed(BOB.address) }],
      unseen: [toHex(unseen)],
    });
  });
});
