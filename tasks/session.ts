/** What a command works with: the chain of the chosen network, its deployment, and what is kept on this machine. */
import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import type { Signer } from "ethers";
import type { NetworkConfig } from "hardhat/types/config";
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import { z } from "zod";

import { AbsenceLog } from "../io/absence-log.ts";
import { BlockFinder, type FinderTimes } from "../io/block-finder.ts";
import type { Account } from "../io/chain/transactions/account.ts";
import { ChainClient } from "../io/chain/client.ts";
import type { Rpc } from "../io/chain/rpc/rpc.ts";
import { httpRpc } from "../io/chain/rpc/http-rpc.ts";
import { providerRpc } from "../io/chain/rpc/provider-rpc.ts";
import { openContent } from "../io/content/open.ts";
import type { ContentStore } from "../io/content/store.ts";
import { dataFolder } from "../io/data-folder.ts";
import { parseEnvironment, type Environment } from "../io/environment.ts";
import { Mailbox } from "../io/mailbox/mailbox.ts";
import { pause } from "../io/pause.ts";
import { checksummed, parseAddress, type Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { KeyDirectory } from "../protocol/keys.ts";
import type { Deployment } from "../protocol/room.ts";
import type { Terminal } from "./terminal.ts";

/** The contracts' addresses on one network. */
type Addresses = Pick<Deployment, "cidStore" | "keyRegistry">;

/** Everything that reaches out of a command is given to it here, so that a test can give something else. */
export interface SessionParts {
  readonly reader: ChainClient;
  readonly environment: Environment;
  readonly terminal: Terminal;
  /** Where transactions go; what is read through `reader` comes from the same node, and all others that are configured say the same. */
  readonly rpc: Rpc;
  /** The accounts that the network signs for: as wallets, and as payers. */
  readonly signers: () => Promise<readonly Signer[]>;
  readonly accounts: () => Promise<readonly Account[]>;
  /** The content store; by default the one that the environment names, opened when it is needed and closed with the session. */
  readonly content?: ContentStore;
  /** How long blocks are waited for that are likely to be absent. */
  readonly finderTimes?: Partial<FinderTimes>;
  readonly now?: () => number;
  /** Milliseconds of a clock that never jumps. */
  readonly elapsedMs?: () => number;
  readonly pause?: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly random?: (sizeBytes: number) => Uint8Array;
}

export class Session {
  readonly reader: ChainClient;
  readonly environment: Environment;
  readonly terminal: Terminal;
  readonly rpc: Rpc;
  readonly now: () => number;
  readonly elapsedMs: () => number;
  readonly pause: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly random: (sizeBytes: number) => Uint8Array;
  private readonly accounts: () => Promise<readonly Account[]>;
  private readonly signers: () => Promise<readonly Signer[]>;
  private readonly givenStore: ContentStore | undefined;
  private readonly finderTimes: Partial<FinderTimes> | undefined;
  private openAbsences: AbsenceLog | undefined;
  private openMailbox: Mailbox | undefined;
  private openStore: ContentStore | undefined;

  constructor(parts: SessionParts) {
    this.reader = parts.reader;
    this.environment = parts.environment;
    this.terminal = parts.terminal;
    this.rpc = parts.rpc;
    this.givenStore = parts.content;
    this.finderTimes = parts.finderTimes;
    this.signers = parts.signers;
    this.accounts = parts.accounts;
    this.now = parts.now ?? Date.now;
    this.elapsedMs = parts.elapsedMs ?? (() => performance.now());
    this.pause = parts.pause ?? pause;
    this.random = parts.random ?? ((sizeBytes) => new Uint8Array(randomBytes(sizeBytes)));
  }

  get deployment(): Deployment {
    return this.reader.deployment;
  }

  /** `.dmtp/<chain id>/…`, where this deployment's mailbox and blocks are. */
  get folder(): string {
    return dataFolder(this.deployment, this.environment);
  }

  get mailbox(): Mailbox {
    return (this.openMailbox ??= Mailbox.open(this.folder, this.reader.identity));
  }

  get content(): ContentStore {
    return (
      this.givenStore ??
      (this.openStore ??= openContent(this.environment, this.folder, {
        warn: ({ code, message }) => {
          this.terminal.note(`warning[${code}]: ${message}; the other stores have it, later: npx hardhat pin --repair`);
        },
        onFault: ({ code, message }) => {
          this.terminal.note(`warning[${code}]: ${message}; what only this source has shows as missing`);
        },
      }))
    );
  }

  /**
   * The content store, for a run that does not wait for what was absent in earlier ones.
   * @param retryMissing whether to wait for that too
   */
  finder(retryMissing = false): BlockFinder {
    const { content, now, finderTimes: times } = this;
    // What lies on this machine is asked for each time.
    const isLocal = "getAll" in content;
    if (!isLocal) this.openAbsences ??= new AbsenceLog(this.folder, fingerprintOf(this.environment));
    return new BlockFinder(content, { absences: this.openAbsences ?? null, retryMissing, now, times });
  }

  /**
   * The account with this address, or the network's first.
   * @throws ACCOUNT_UNKNOWN
   */
  async signer(address?: Address): Promise<{ readonly signer: Signer; readonly address: Address }> {
    for (const signer of await this.signers()) {
      const own = parseAddress(await signer.getAddress());
      if (address === undefined || own === address) return { signer, address: own };
    }
    throw accountUnknown(address);
  }

  /**
   * The same, as one that pays for transactions.
   * @throws ACCOUNT_UNKNOWN
   */
  async account(address?: Address): Promise<Account> {
    const accounts = await this.accounts();
    const account = address === undefined ? accounts[0] : accounts.find((own) => own.address === address);
    if (account === undefined) throw accountUnknown(address);
    return account;
  }

  /** The key histories of these wallets, straight from the registry. */
  async readKeys(...wallets: readonly Address[]): Promise<KeyDirectory> {
    const keys = new KeyDirectory(this.deployment);
    for (const wallet of new Set(wallets)) for (const event of await this.reader.walletEvents(wallet)) keys.add(event);
    return keys;
  }

  async close(): Promise<void> {
    this.openMailbox?.close();
    this.openAbsences?.close();
    await this.openStore?.close();
  }
}

function accountUnknown(address: Address | undefined): DmtpError {
  const what =
    address === undefined ? "the network has no accounts" : `${checksummed(address)} is not an account of this network`;
  return new DmtpError("ACCOUNT_UNKNOWN", what);
}

/** Of the places where blocks are asked for. A hash, since a URL may hold a key. */
function fingerprintOf({ ipfsApis, contentSources }: Environment): string {
  const sources = JSON.stringify([ipfsApis.map(({ url }) => url.href), contentSources]);
  return createHash("sha256").update(sources).digest("hex");
}

/** @throws DEPLOYMENT_UNKNOWN, CONFIGURATION_INVALID and what ChainClient.open throws */
export async function openSession(
  hre: HardhatRuntimeEnvironment,
  variables: NodeJS.ProcessEnv,
  terminal: Terminal,
): Promise<Session> {
  try {
    return await openOnNetwork(hre, variables, terminal);
  } catch (error) {
    // A chain within this process is new, and has no contracts.
    if (!(error instanceof DmtpError) || !["CONTRACT_MISSING", "DEPLOYMENT_UNKNOWN"].includes(error.code)) throw error;
    if (hre.config.networks[hre.globalOptions.network]?.type === "http") throw error;
    throw new DmtpError(error.code, `${error.message}, which lives in this process and ends with it`, {
      cause: error,
      hint: "Give --network: localhost for a chain that npx hardhat node runs, amoy or polygon.",
    });
  }
}

async function openOnNetwork(
  hre: HardhatRuntimeEnvironment,
  variables: NodeJS.ProcessEnv,
  terminal: Terminal,
): Promise<Session> {
  const environment = parseEnvironment(variables);
  const { rpc, expectedChainId, url } = await openRpc(hre);
  const chainId = parseChainId(await rpc.request({ method: "eth_chainId", params: [] }));
  const addresses = await findAddresses(environment, join(hre.config.paths.ignition, "deployments"), chainId);
  // A chain that lives in this process has no other node.
  const others = url === null ? [] : openOthers(environment, url, terminal);
  const reader = await ChainClient.open([rpc, ...others], addresses, {
    policy: "all",
    chainId: environment.chainId ?? expectedChainId ?? chainId,
    finalityDepth: environment.finalityDepth,
  });
  return new Session({
    reader,
    rpc,
    environment,
    terminal,
    accounts: async () => {
      const { networkConfig } = await hre.network.getOrCreate();
      return readAccounts(networkConfig, rpc);
    },
    signers: async () => {
      const { ethers, networkConfig } = await hre.network.getOrCreate();
      // Hardhat's own words for a key that is none would be those of a defect.
      if (networkConfig.accounts !== "remote") await readAccounts(networkConfig, rpc);
      return ethers.getSigners();
    },
  });
}

/** What signs takes long to load, and most commands pay for nothing. */
async function readAccounts(config: NetworkConfig, rpc: Rpc): Promise<Account[]> {
  const { accountsOf } = await import("./accounts.ts");
  return accountsOf(config, rpc);
}

/** A command waits about a minute for a node that was asked too much. */
const PATIENT = { maxPauses: 7, maxPauseMs: 30_000 } as const;

interface NetworkRpc {
  readonly rpc: Rpc;
  readonly expectedChainId: number | undefined;
  /** Null for a chain that lives in this process. */
  readonly url: string | null;
}

/**
 * Where the chosen network is read from. An http network is asked directly: reading needs no wallet, so an auditor is asked for
 * no key, and nothing of what Hardhat loads to sign is waited for.
 */
async function openRpc(hre: HardhatRuntimeEnvironment): Promise<NetworkRpc> {
  const config = hre.config.networks[hre.globalOptions.network];
  if (config?.type !== "http") {
    const { provider, networkName, networkConfig } = await hre.network.getOrCreate();
    return { rpc: providerRpc(provider, networkName), expectedChainId: networkConfig.chainId, url: null };
  }
  const fetchWithHeaders: typeof fetch = (input, init = {}) => {
    const headers = new Headers(init.headers);
    for (const [name, value] of Object.entries(config.httpHeaders)) headers.set(name, value);
    return fetch(input, { ...init, headers });
  };
  const url = await config.url.getUrl();
  return { rpc: httpRpc(url, { fetch: fetchWithHeaders, ...PATIENT }), expectedChainId: config.chainId, url };
}

/** The other nodes of RPC_URL. A command asks what it has to and ends, so it holds no socket open. */
function openOthers({ rpcUrls }: Environment, own: string, terminal: Terminal): Rpc[] {
  const others = rpcUrls.filter((url) => url !== own);
  const byHttp = others.filter((url) => /^https?:/i.test(url));
  if (byHttp.length < others.length) terminal.note("note: commands do not ask the ws endpoints of RPC_URL");
  return byHttp.map((url) => httpRpc(url, PATIENT));
}

const deployedAddresses = z.object({ "DMTP#CIDStore": z.string(), "DMTP#KeyRegistry": z.string() });

function parseChainId(answer: unknown): number {
  if (typeof answer !== "string" || !/^0x[0-9a-f]{1,13}$/i.test(answer)) {
    throw new DmtpError("CHAIN_UNREACHABLE", "the RPC gave no chain id");
  }
  return Number(answer);
}

/**
 * The environment's addresses, or those of the network's Ignition deployment.
 * @throws DEPLOYMENT_UNKNOWN
 */
async function findAddresses(environment: Environment, deploymentsFolder: string, chainId: number): Promise<Addresses> {
  const { cidStore, keyRegistry } = environment;
  if (cidStore !== undefined && keyRegistry !== undefined) return { cidStore, keyRegistry };
  const file = join(deploymentsFolder, `chain-${chainId}`, "deployed_addresses.json");
  try {
    const deployed = deployedAddresses.parse(JSON.parse(await readFile(file, "utf8")));
    return {
      cidStore: cidStore ?? parseAddress(deployed["DMTP#CIDStore"]),
      keyRegistry: keyRegistry ?? parseAddress(deployed["DMTP#KeyRegistry"]),
    };
  } catch (cause) {
    throw new DmtpError("DEPLOYMENT_UNKNOWN", `no deployment is known for chain ${chainId}`, { cause });
  }
}
