/** Services that a task starts: each is a process of its own, without Hardhat and without what signs and pays. */
import { spawn } from "node:child_process";
import { constants } from "node:os";

import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { DmtpError } from "../protocol/error.ts";
import type { Session } from "./session.ts";

/** What a service needs in its environment to follow the chosen network. */
export async function serviceEnvironment(
  { deployment, environment }: Session,
  hre: HardhatRuntimeEnvironment,
  variables: NodeJS.ProcessEnv,
): Promise<NodeJS.ProcessEnv> {
  const { chainId, cidStore, keyRegistry } = deployment;
  return {
    ...withoutSecrets(variables),
    RPC_URL: environment.rpcUrls[0] === undefined ? await networkUrl(hre) : variables["RPC_URL"],
    CHAIN_ID: String(chainId),
    CID_STORE_ADDRESS: cidStore,
    KEY_REGISTRY_ADDRESS: keyRegistry,
  };
}

/** Names of variables that hold what signs, pays, opens or logs in. A service faces the network, and needs none of them. */
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

/**
 * Runs a service until it ends; it gets the signals that this process gets.
 * @param main the service's module
 * @returns its exit status
 */
export async function runToEnd(main: string, variables: NodeJS.ProcessEnv): Promise<number> {
  // The channel carries nothing: it breaks when this process is killed, and the service ends then.
  const child = spawn(process.execPath, [main], { env: variables, stdio: ["inherit", "inherit", "inherit", "ipc"] });
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
