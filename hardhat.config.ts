import { fileURLToPath } from "node:url";

import hardhatToolboxMochaEthers from "@nomicfoundation/hardhat-toolbox-mocha-ethers";
import { configVariable, defineConfig, overrideTask } from "hardhat/config";

import { tasks } from "./tasks/tasks.ts";

/** The compiler is the pinned npm package, so a build downloads nothing. */
const solc = fileURLToPath(import.meta.resolve("solc/soljson.js"));

export default defineConfig({
  plugins: [hardhatToolboxMochaEthers],
  tasks: [
    ...tasks,
    overrideTask(["test", "mocha"])
      .setAction(() => import("./scripts/test-files.ts"))
      .build(),
  ],
  solidity: {
    version: "0.8.37",
    path: solc,
    settings: { optimizer: { enabled: true, runs: 1_000_000 }, evmVersion: "cancun" },
  },
  paths: { tests: { mocha: "test", solidity: "test/contracts" } },
  test: { mocha: { timeout: 120_000 } },
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
