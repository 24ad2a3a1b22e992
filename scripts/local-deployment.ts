/** DMTP on a chain of this machine, deployed by Ignition from within this process. */
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { ChainClient } from "../io/chain/client.ts";
import { httpRpc } from "../io/chain/rpc/http-rpc.ts";
import type { Rpc } from "../io/chain/rpc/rpc.ts";
import { parseEnvironment } from "../io/environment.ts";
import { parseAddress, type Address } from "../protocol/address.ts";
import { accountsOf } from "../tasks/accounts.ts";
import { Session, type SessionParts } from "../tasks/session.ts";

export interface LocalDeployment {
  /** A new session each time; the caller closes it. */
  readonly open: (parts?: Partial<SessionParts>) => Session;
  /** The chain's funded accounts; the first is owner and anchorer. */
  readonly accounts: readonly Address[];
}

type Connection = Awaited<ReturnType<HardhatRuntimeEnvironment["network"]["create"]>>;

/** Deploys on the chain at `url`. @param note takes what a person should know on the way */
export async function deployLocally(
  url: string,
  dataDir: string,
  note: (text: string) => void,
): Promise<LocalDeployment> {
  const { default: hre } = await import("hardhat");
  await hre.tasks.getTask("build").run({ quiet: true, noTests: true });
  return deployOver(await hre.network.create({ network: "localhost", override: { url } }), httpRpc(url), dataDir, note);
}

/** Deploys over a connection of Hardhat's; `rpc` goes to the same chain. */
export async function deployOver(
  connection: Connection,
  rpc: Rpc,
  dataDir: string,
  note: (text: string) => void,
): Promise<LocalDeployment> {
  const { default: DMTP } = await import("../ignition/modules/DMTP.ts");
  // Ignition keeps a journal for every chain that is not in this process; this chain will not live to use it.
  const deploymentId = `local-${randomUUID()}`;
  const deployed = await connection.ignition.deploy(DMTP, { deploymentId });
  await rm(fileURLToPath(new URL(`../ignition/deployments/${deploymentId}`, import.meta.url)), {
    recursive: true,
    force: true,
  });
  const cidStore = parseAddress(await deployed.cidStore.getAddress());
  const keyRegistry = parseAddress(await deployed.keyRegistry.getAddress());
  const environment = parseEnvironment({
    DMTP_DATA_DIR: dataDir,
    CID_STORE_ADDRESS: cidStore,
    KEY_REGISTRY_ADDRESS: keyRegistry,
  });
  const reader = await ChainClient.open([rpc], { cidStore, keyRegistry });
  const signers = await connection.ethers.getSigners();
  const quiet = (): void => {
    // Whoever deploys here says itself what is going on.
  };
  const terminal = { result: quiet, note, progress: quiet };
  const accounts = await accountsOf(connection.networkConfig, rpc);
  const parts = {
    reader,
    rpc,
    environment,
    terminal,
    signers: () => Promise.resolve(signers),
    accounts: () => Promise.resolve(accounts),
  };
  return {
    open: (other = {}) => new Session({ ...parts, ...other }),
    accounts: signers.map((signer) => parseAddress(signer.address)),
  };
}
