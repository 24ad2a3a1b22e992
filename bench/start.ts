/** How long a person waits: for the indexer to be ready, and for a command besides Hardhat's own start. */
import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { deployLocally } from "../scripts/local-deployment.ts";
import { startIndexer, startLocalChain } from "../scripts/service.ts";
import { findTool, ROOT } from "../scripts/tool.ts";
import { median, time, type Duration } from "./measure.ts";

const ROUNDS = 5;

/** Both start-up times, on one local chain. */
export async function benchStarts(): Promise<Duration[]> {
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  const chain = await startLocalChain(findTool("hardhat"));
  try {
    const note = (text: string): void => void process.stderr.write(`${text}\n`);
    const session = (await deployLocally(chain.url, folder, note)).open();

    const indexer: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      indexer.push(
        await time(async () => {
          const { service } = await startIndexer(session, chain.url);
          await service.stop();
        }),
      );
      for (const name of await readdir(session.folder)) await rm(join(session.folder, name), { recursive: true });
    }

    const { cidStore, keyRegistry } = session.deployment;
    const variables = {
      LOCALHOST_RPC_URL: chain.url,
      DMTP_DATA_DIR: folder,
      CID_STORE_ADDRESS: cidStore,
      KEY_REGISTRY_ADDRESS: keyRegistry,
    };
    const status: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const whole = await time(() => runHardhat(["status", "--network", "localhost"], variables));
      status.push(whole - (await time(() => runHardhat(["status", "--help"], variables))));
    }
    await session.close();
    return [
      { name: "indexer on an empty index: process start to /ready, and stop", ms: median(indexer), goalMs: 1_000 },
      { name: "`hardhat status`, besides what `hardhat status --help` takes", ms: median(status), goalMs: 500 },
    ];
  } finally {
    await chain.service.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function runHardhat(args: readonly string[], variables: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [findTool("hardhat"), ...args], {
      cwd: ROOT,
      env: { ...process.env, ...variables },
      stdio: "ignore",
    });
    child.once("error", reject);
    child.once("exit", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`hardhat ${args.join(" ")} ended with ${code}`));
    });
  });
}
