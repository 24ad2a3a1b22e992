/** A Kubo daemon of one's own on loopback: its own repository, free ports, and a private swarm that knows nobody else. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { findFreePort } from "./service.ts";

export interface KuboOptions {
  readonly binary: string;
  /** 32 bytes as hexadecimal digits: who has the same key can talk to each other, and to nobody else. */
  readonly swarmKey?: string;
  /** Size of the disk that the repository lies on, in MiB: a file system in memory, which needs root on Linux. */
  readonly diskMiB?: number;
  /** Changes Kubo's configuration before it starts. */
  readonly configure?: (config: KuboConfig) => void;
}

export type KuboConfig = Record<string, Record<string, unknown>>;

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;
const DEFAULT_KEY = "d3".repeat(32);

const running = new Set<ChildProcess>();
const killAll = (): void => {
  for (const child of running) child.kill("SIGKILL");
};
process.on("exit", killAll);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    killAll();
    process.kill(process.pid, signal);
  });
}

export class KuboDaemon {
  /** Of the RPC API and of the gateway; they stay the same over a restart. */
  readonly apiUrl: URL;
  readonly gatewayUrl: URL;
  readonly repository: string;
  private readonly options: KuboOptions;
  private readonly swarmPort: number;
  private child: ChildProcess | undefined;
  private output = "";

  private constructor(options: KuboOptions, repository: string, ports: readonly [number, number, number]) {
    this.options = options;
    this.repository = repository;
    this.apiUrl = new URL(`http://127.0.0.1:${ports[0]}`);
    this.gatewayUrl = new URL(`http://127.0.0.1:${ports[1]}`);
    this.swarmPort = ports[2];
  }

  /** Makes a repository, starts the daemon on it and waits until it answers. */
  static async start(options: KuboOptions): Promise<KuboDaemon> {
    const repository = await mkdtemp(join(tmpdir(), "dmtp-kubo-"));
    const daemon = new KuboDaemon(options, repository, [
      await findFreePort(),
      await findFreePort(),
      await findFreePort(),
    ]);
    try {
      daemon.initialize();
      await daemon.restart();
      return daemon;
    } catch (error) {
      await daemon.remove();
      throw error;
    }
  }

  /** Starts the daemon on the repository that is there. */
  async restart(): Promise<void> {
    const { binary, diskMiB } = this.options;
    this.output = "";
    const child =
      diskMiB === undefined
        ? spawn(binary, ["daemon"], { env: this.environment(), stdio: ["ignore", "pipe", "pipe"] })
        : // In a mount namespace of its own: the small disk is gone when the daemon is.
          spawn("unshare", ["--mount", "sh", "-c", SMALL_DISK, binary, String(diskMiB)], {
            env: this.environment(),
            stdio: ["ignore", "pipe", "pipe"],
          });
    this.child = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    await new Promise<void>((resolve, reject) => {
      const fail = (what: string): void => {
        clearTimeout(timer);
        reject(new Error(`Kubo ${what}:\n${this.output}`));
      };
      const timer = setTimeout(() => {
        child.kill("SIGKILL");
        fail("did not start");
      }, START_TIMEOUT_MS);
      child.once("error", (error) => fail(`cannot be run: ${error.message}`));
      child.once("exit", (code) => fail(`ended with ${code ?? "a signal"}`));
      const read = (chunk: Buffer): void => {
        this.output = (this.output + chunk.toString()).slice(-8_000);
        if (!this.output.includes("Daemon is ready")) return;
        clearTimeout(timer);
        resolve();
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
    });
  }

  /** Ends the daemon as a crash would, or, with SIGTERM, as its operator would. */
  async kill(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const { child } = this;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  }

  /** Ends the daemon and removes its repository. */
  async remove(): Promise<void> {
    await this.kill();
    await rm(this.repository, { recursive: true, force: true, maxRetries: 5 });
  }

  /** What a person would type: `ipfs <args>`, against the daemon while it runs. @throws with what the command said */
  run(args: readonly string[], input?: Uint8Array): string {
    const { status, stdout, stderr, error } = spawnSync(this.options.binary, args, {
      encoding: "utf8",
      env: this.environment(),
      ...(input !== undefined && { input }),
      maxBuffer: 64 * 1024 * 1024,
    });
    if (status !== 0) throw new Error(`ipfs ${args.join(" ")}: ${error?.message ?? stderr}`);
    return stdout;
  }

  /** Where other daemons of the same swarm find this one. */
  address(): string {
    return `/ip4/127.0.0.1/tcp/${this.swarmPort}/p2p/${this.run(["config", "Identity.PeerID"]).trim()}`;
  }

  /** The process, whose root folder has the repository on its small disk. */
  get pid(): number {
    if (this.child?.pid === undefined) throw new Error("Kubo does not run");
    return this.child.pid;
  }

  private initialize(): void {
    const { swarmKey = DEFAULT_KEY, configure } = this.options;
    this.run(["init", "--empty-repo", "--algorithm=ed25519"]);
    writeFileSync(join(this.repository, "swarm.key"), `/key/swarm/psk/1.0.0/\n/base16/\n${swarmKey}\n`);
    const file = join(this.repository, "config");
    const config = JSON.parse(readFileSync(file, "utf8")) as KuboConfig;
    Object.assign(config, ALONE);
    config["Addresses"] = {
      API: `/ip4/127.0.0.1/tcp/${this.apiUrl.port}`,
      Gateway: `/ip4/127.0.0.1/tcp/${this.gatewayUrl.port}`,
      Swarm: [`/ip4/127.0.0.1/tcp/${this.swarmPort}`],
    };
    configure?.(config);
    writeFileSync(file, JSON.stringify(config));
  }

  private environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      IPFS_PATH: this.repository,
      // Without a swarm key it does not start, rather than meet the world.
      LIBP2P_FORCE_PNET: "1",
      IPFS_TELEMETRY: "off",
    };
  }
}

/** Nobody to ask, nothing to announce, nothing to look up outside of this machine. */
const ALONE: object = {
  AutoConf: { Enabled: false },
  AutoNAT: { ServiceMode: "disabled" },
  AutoTLS: { Enabled: false },
  Bootstrap: [],
  DNS: { Resolvers: {} },
  Discovery: { MDNS: { Enabled: false } },
  HTTPRetrieval: { Enabled: false },
  Ipns: { DelegatedPublishers: [] },
  Plugins: { Plugins: { telemetry: { Config: { Mode: "off" } } } },
  Provide: { Enabled: false },
  Routing: { Type: "none", DelegatedRouters: [] },
  Swarm: {
    DisableNatPortMap: true,
    EnableHolePunching: false,
    RelayClient: { Enabled: false },
    RelayService: { Enabled: false },
    ConnMgr: { Type: "none" },
    Transports: { Network: { Websocket: false } },
  },
  Version: { SwarmCheckEnabled: false },
};

/** The repository as it is so far goes onto the small disk. */
const SMALL_DISK = `set -e
copy=$(mktemp -d)
cp -a "$IPFS_PATH/." "$copy"
mount -t tmpfs -o "size=$1m" tmpfs "$IPFS_PATH"
cp -a "$copy/." "$IPFS_PATH"
rm -rf "$copy"
exec "$0" daemon`;
