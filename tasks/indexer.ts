import { spawn } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { parseEnvironment } from "../io/environment.ts";
import { DmtpError } from "../protocol/error.ts";
import { asDmtpError, reportError } from "./command.ts";
import { openSession } from "./session.ts";
import { terminal } from "./terminal.ts";

const MAIN = fileURLToPath(new URL("../indexer/main.ts", import.meta.url));

/** Starts the indexer for the chosen network as a process of its own: the service has nothing of Hardhat in it. */
export default async function startIndexer(_args: object, hre: HardhatRuntimeEnvironment): Promise<void> {
  try {
    const variables = await indexerEnvironment(hre, process.env);
    process.exitCode = await runToEnd(variables);
  } catch (error) {
    reportError(asDmtpError(error), false);
  }
}

/** What `npm run indexer` would need in its environment to follow the chosen network. */
async function indexerEnvironment(
  hre: HardhatRuntimeEnvironment,
  variables: NodeJS.ProcessEnv,
): Promise<NodeJS.ProcessEnv> {
  const session = await openSession(hre, variables, terminal);
  const { chainId, cidStore, keyRegistry } = session.deployment;
  await session.close();
  return {
    ...withoutSecrets(variables),
    RPC_URL: parseEnvironment(variables).rpcUrls[0] === undefined ? await networkUrl(hre) : variables["RPC_URL"],
    CHAIN_ID: String(chainId),
    CID_STORE_ADDRESS: cidStore,
    KEY_REGISTRY_ADDRESS: keyRegistry,
  };
}

/** Names of variables that hold what signs, pays, opens or logs in. The indexer faces the network, and needs none of them. */
const SECRET = /PRIVATE_?KEY|PASSPHRASE|PASSWORD|MNEMONIC|SECRET|TOKEN|API_?KEY|CREDENTIAL/i;

export function withoutSecrets(variables: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !SECRET.test(name)));
}

async function networkUrl(hre: HardhatRuntimeEnvironment): Promise<string> {
  const { networkConfig, networkName } = await hre.network.getOrCreate();
  if (networkConfig.type !== "http") {
    throw new DmtpError("CONFIGURATION_INVALID", `the network ${networkName} lives in this process only`, {
      hint: "Start a chain with npx hardhat node, and use --network localhost.",
    });
  }
  return networkConfig.url.getUrl();
}

/** Ends when the indexer ends; it gets the signals that this process gets. */
async function runToEnd(variables: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(process.execPath, [MAIN], { env: variables, stdio: "inherit" });
  const forward = (signal: NodeJS.Signals): void => {
    child.kill(signal);
  };
  process.on("SIGTERM", forward);
  // A terminal sends Ctrl-C to the whole group; without a listener this process would end before its child.
  process.on("SIGINT", forward);
  try {
    return await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => {
        // A shell's number for a signal, so that a supervisor starts it again after a kill.
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
      });
    });
  } finally {
    process.off("SIGTERM", forward);
    process.off("SIGINT", forward);
  }
}
