import { fileURLToPath } from "node:url";

import hardhatToolboxMochaEthers from "@nomicfoundation/hardhat-toolbox-mocha-ethers";
import { configVariable, defineConfig, overrideTask } from "hardhat/config";

import { tasks } from "./tasks/tasks.ts";

/** The compiler is the pinned npm package, so a build downloads nothing. */
const solc = fileURLToPath(import.meta.resolve("solc/soljson.js"));

/** What every build is made with: for tests and tools, and for what is deployed. */
export const compiler = {
  version: "0.8.37",
  path: solc,
  settings: { optimizer: { enabled: true, runs: 1_000_000 }, evmVersion: "cancun" },
};

/** 32 bytes as 0x-hex: `npm test -- --seed` sets it. */
const fuzzSeed = process.env["DMTP_FUZZ_SEED"];

export default defineConfig({
  plugins: [hardhatToolboxMochaEthers],
  tasks: [
    ...tasks,
    overrideTask(["test", "mocha"])
      .setAction(() => import("./scripts/test-files.ts"))
      .build(),
    overrideTask(["ignition", "deploy"])
      .setAction(() => import("./ignition/deploy.ts"))
      .build(),
  ],
  // `ignition deploy` builds with the second one. It inherits nothing: left out, it would be another compiler's settings.
  solidity: { profiles: { default: compiler, production: compiler } },
  paths: { tests: { mocha: "test", solidity: "test/contracts" } },
  // What `--strategy create2` hashes into the addresses: "DMTP", and zeros.
  ignition: { strategyConfig: { create2: { salt: `0x444d5450${"00".repeat(28)}` } } },
  // One key serves Etherscan for all chains, Sourcify takes none. Blockscout has no Amoy.
  verify: { etherscan: { apiKey: configVariable("ETHERSCAN_API_KEY") }, blockscout: { enabled: false } },
  test: {
    mocha: { timeout: 120_000 },
    // Left out, it is Hardhat's own constant: the fuzzers try the same in every run.
    solidity: { fuzz: fuzzSeed === undefined ? {} : { seed: fuzzSeed } },
  },
  networks: {
    localhost: { type: "http", chainType: "l1", url: process.env["LOCALHOST_RPC_URL"] ?? "http://127.0.0.1:8545" },
    polygon: {
      type: "http",
      chainType: "generic",
      chainId: 137,
      url: configVariable("POLYGON_RPC_URL"),
      accounts: [configVariable("POLYGON_PRIVATE_KEY")],
    },
    amoy: {
      type: "http",
      chainType: "generic",
      chainId: 80002,
      url: configVariable("AMOY_RPC_URL"),
      accounts: [configVariable("AMOY_PRIVATE_KEY")],
    },
  },
});
