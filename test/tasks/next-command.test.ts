import { expect } from "chai";

import { quoteForShell, repeatNetwork } from "../../tasks/next-command.ts";

describe("a command that a person is told to run", () => {
  const args = (...given: string[]): string[] => ["node", "hardhat", ...given];

  it("has the network that they gave, behind the command's own words", () => {
    const text = "Register: npx hardhat keys register --from 0x01, then npx hardhat send --to 0x02.";
    const expected =
      "Register: npx hardhat keys register --network amoy --from 0x01, then npx hardhat send --network amoy --to 0x02.";
    expect(repeatNetwork(text, args("status", "--network", "amoy"))).to.equal(expected);
    expect(repeatNetwork(text, args("--network=amoy", "status"))).to.equal(expected);
    expect(repeatNetwork("npx hardhat ignition deploy ignition/modules/DMTP.ts", args("--network", "amoy"))).to.equal(
      "npx hardhat ignition deploy ignition/modules/DMTP.ts --network amoy",
    );
  });

  it("is left alone where they gave none, where none is needed, and where it is no command of ours", () => {
    for (const given of [[], ["--network"], ["--network", "a b"], ["--network=$(id)"]]) {
      expect(repeatNetwork("npx hardhat anchor", args(...given)), given.join(" ")).to.equal("npx hardhat anchor");
    }
    for (const text of ["npx hardhat audit --car x --offline", "npx hardhat keystore set X", "npx hardhat node"]) {
      expect(repeatNetwork(text, args("--network", "amoy"))).to.equal(text);
    }
  });

  it("has a path that a shell takes as one word", () => {
    expect(quoteForShell("/tmp/a.car")).to.equal("/tmp/a.car");
    expect(quoteForShell("/tmp/it's $HOME")).to.equal(`'/tmp/it'\\''s $HOME'`);
  });
});
