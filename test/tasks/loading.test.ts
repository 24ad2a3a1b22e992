import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { expect } from "chai";

/** Prints the packages that a command's file loads, one a line. */
const LIST_PACKAGES = `
  import { registerHooks } from "node:module";
  const packages = new Set();
  registerHooks({
    load(url, context, next) {
      const [, name] = /.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url) ?? [];
      if (name !== undefined) packages.add(url.includes("/ethers/lib.esm/wallet/") ? "ethers/wallet" : name);
      return next(url, context);
    },
  });
  await import(process.argv[1]);
  process.stdout.write([...packages].join("\\n"));`;

/** Each of these takes longer to load than the rest of a command takes to run. */
const SLOW = ["kubo-rpc-client", "ethers/wallet", "ws", "express", "hardhat"];

describe("What a command loads before it runs", function () {
  this.timeout(60_000);
  for (const name of ["status", "history", "keys-show", "pin", "audit"]) {
    it(`is nothing for ${name} that only some runs need`, () => {
      const file = fileURLToPath(new URL(`../../tasks/${name}.ts`, import.meta.url));
      const output = execFileSync(process.execPath, ["--input-type=module", "--eval", LIST_PACKAGES, file], {
        encoding: "utf8",
        env: { ...process.env, NODE_OPTIONS: "" },
      });
      const packages = output.split("\n");
      expect(packages).to.include("@noble/hashes");
      expect(packages.filter((each) => SLOW.includes(each))).to.deep.equal([]);
    });
  }
});
