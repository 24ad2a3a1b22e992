/** A process that a script starts and must not leave behind. */
import { spawn, type ChildProcess } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";

import type { Session } from "../tasks/session.ts";
import { findAnvil } from "./anvil.ts";
import { ROOT } from "./tool.ts";

const KILL_AFTER_MS = 3_000;

export class Service {
  readonly name: string;
  private readonly child: ChildProcess;
  private output = "";

  /** Starts `node args…`, or another program, in the project's folder, quietly: what it prints is only shown when it fails. */
  constructor(
    name: string,
    args: readonly string[],
    variables: NodeJS.ProcessEnv = {},
    program: string = process.execPath,
  ) {
    this.name = name;
    this.child = spawn(program, args, {
      cwd: ROOT,
      env: { ...process.env, ...variables },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.output = (this.output + chunk.toString()).slice(-4_000);
      });
    }
    // A last resort: even a crash of this process ends its services.
    process.on("exit", this.kill);
  }

  /** Asks until `isReady` says so. @throws when the process ended, or time is up; the error holds what it printed */
  async ready(isReady: () => Promise<boolean>, timeoutMs = 30_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`${this.name} ended before it was ready:\n${this.output}`);
      }
      if (await isReady().catch(() => false)) return;
      if (Date.now() > deadline)
        throw new Error(`${this.name} was not ready in ${timeoutMs / 1_000} s:\n${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Ends the process, by force if it does not end by itself. */
  async stop(): Promise<void> {
    process.off("exit", this.kill);
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGTERM");
    const timer = setTimeout(this.kill, KILL_AFTER_MS);
    await ended;
    clearTimeout(timer);
  }

  private readonly kill = (): void => {
    this.child.kill("SIGKILL");
  };
}

/** A TCP port on 127.0.0.1 that nothing listens on at this moment. */
export function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => {
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  });
}

export interface LocalChain {
  readonly url: string;
  readonly service: Service;
}

/** Starts Hardhat's node, a chain with funded accounts, and waits until it answers. */
export async function startLocalChain(hardhat: string): Promise<LocalChain> {
  const port = await findFreePort();
  const args = [hardhat, "node", "--hostname", "127.0.0.1", "--port", String(port)];
  return whenItAnswers(port, new Service("local chain", args));
}

/** The same chain with the same accounts by anvil, which is there in a tenth of the time. */
export async function startAnvil(): Promise<LocalChain> {
  const port = await findFreePort();
  const args = ["--host", "127.0.0.1", "--port", String(port), "--chain-id", "31337"];
  return whenItAnswers(port, new Service("local chain", args, {}, findAnvil()));
}

async function whenItAnswers(port: number, service: Service): Promise<LocalChain> {
  const url = `http://127.0.0.1:${port}`;
  try {
    await service.ready(async () => {
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] });
      return (await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body })).ok;
    });
  } catch (error) {
    await service.stop();
    throw error;
  }
  return { url, service };
}

/** Starts the indexer for a session's deployment, and waits until it is ready. */
export async function startIndexer(
  session: Session,
  rpcUrl: string,
  pollIntervalMs = 200,
): Promise<{ readonly url: string; readonly service: Service }> {
  const port = await findFreePort();
  const { chainId, cidStore, keyRegistry } = session.deployment;
  const service = new Service("indexer", [join(ROOT, "indexer", "main.ts")], {
    RPC_URL: rpcUrl,
    CHAIN_ID: String(chainId),
    CID_STORE_ADDRESS: cidStore,
    KEY_REGISTRY_ADDRESS: keyRegistry,
    DMTP_DATA_DIR: session.environment.dataDir,
    PORT: String(port),
    POLL_INTERVAL_MS: String(pollIntervalMs),
  });
  const url = `http://127.0.0.1:${port}`;
  await service.ready(async () => (await fetch(`${url}/ready`)).ok);
  return { url, service };
}
