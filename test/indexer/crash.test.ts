/** The real process on a real disk, killed and lied to; a scripted node and a block folder stand outside of it. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { expect } from "chai";

import { dataFolder } from "../../io/data-folder.ts";
import { EmbeddedStore } from "../../io/content/embedded.ts";
import { useFolder } from "../fixtures/folder.ts";
import { DEPLOYMENT } from "../fixtures/history.ts";
import { exportHistory, waitUntilReady } from "../fixtures/indexer-client.ts";
import { LedgerNode } from "../fixtures/ledger-node.ts";
import { SeededRandom } from "../fixtures/random.ts";
import { SimulatedWorld } from "../fixtures/simulated-world.ts";

const MAIN = fileURLToPath(new URL("../../indexer/main.ts", import.meta.url));
const KILLS = 100;
const hasStrace = spawnSync("strace", ["-V"]).status === 0;

describe("The indexer's process and a disk that keeps only what it was told to", function () {
  this.timeout(600_000);
  const folder = useFolder();
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = new SeededRandom(seed);
  const world = new SimulatedWorld(random);
  const node = new LedgerNode(world.ledger);
  const children = new Set<ChildProcess>();
  let server: Server;
  let rpcUrl: string;

  before(async () => {
    for (let i = 0; i < 40; i++) world.grow();
    // Small steps: many transactions to be killed in.
    node.maxRange = 3;
    server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        void node.fetch("", { body: Buffer.concat(chunks).toString() }).then(async (answer) => {
          response.writeHead(answer.status, { "content-type": "application/json" }).end(await answer.text());
        });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    rpcUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  afterEach(() => {
    for (const child of children) child.kill("SIGKILL");
  });

  /** A data folder with every block that the world has. */
  async function prepare(name: string): Promise<string> {
    const dataDir = join(folder(), name);
    mkdirSync(dataDir);
    const content = new EmbeddedStore(join(dataFolder(DEPLOYMENT, { dataDir }), "blocks"));
    await content.put([...world.blocks].map(([cid, bytes]) => ({ cid, bytes })));
    await content.close();
    return dataDir;
  }

  function start(
    dataDir: string,
    wrapper: readonly string[] = [],
  ): { child: ChildProcess; url: Promise<string>; ended: Promise<void>; said: { stderr: string } } {
    const command = [...wrapper, process.execPath, MAIN];
    const child = spawn(command[0]!, command.slice(1), {
      env: {
        PATH: process.env["PATH"],
        RPC_URL: rpcUrl,
        CID_STORE_ADDRESS: DEPLOYMENT.cidStore,
        KEY_REGISTRY_ADDRESS: DEPLOYMENT.keyRegistry,
        DMTP_DATA_DIR: dataDir,
        PORT: "0",
        POLL_INTERVAL_MS: "50",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.add(child);
    const said = { stderr: "" };
    child.stderr.on("data", (chunk: Buffer) => (said.stderr += chunk.toString()));
    const url = new Promise<string>((resolve) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        const found = /http:\/\/\S+/.exec(line)?.[0];
        if (found !== undefined) resolve(found);
      });
    });
    const ended = new Promise<void>((resolve) =>
      child.once("close", () => {
        children.delete(child);
        resolve();
      }),
    );
    return { child, url, ended, said };
  }

  async function exportOf(dataDir: string): Promise<unknown> {
    const { child, url, ended } = start(dataDir);
    await waitUntilReady(await url);
    const exported = await exportHistory(await url);
    child.kill("SIGTERM");
    await ended;
    return exported;
  }

  it(`is killed at ${KILLS} moments, and its index equals one that was not`, async () => {
    const expected = await exportOf(await prepare("calm"));
    const dataDir = await prepare("killed");
    for (let i = 0; i < KILLS; i++) {
      const { child, url, ended, said } = start(dataDir);
      // From its first statement on; a start takes as long as the machine takes.
      await Promise.race([url, ended]);
      await new Promise((resolve) => setTimeout(resolve, random.integer(0, 60)));
      child.kill(random.chance(0.9) ? "SIGKILL" : "SIGTERM");
      await ended;
      expect(said.stderr, `seed ${seed}, kill ${i}`).to.equal("");
    }
    expect(await exportOf(dataDir)).to.deep.equal(expected);
  });

  it(`comes through failing syncs of the disk${hasStrace ? "" : " (skipped: there is no strace)"}`, async function () {
    if (!hasStrace) this.skip();
    const expected = await exportOf(await prepare("sound"));
    const dataDir = await prepare("failing");
    for (const when of ["1+7", "3+11", "2+2"]) {
      const inject = `inject=fsync,fdatasync:error=EIO:when=${when}`;
      const { child, ended } = start(dataDir, [
        "strace",
        "-f",
        "-qqq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync,fdatasync",
        "-e",
        inject,
      ]);
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 4_000))]);
      child.kill("SIGTERM");
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 3_000))]);
      // strace passes the signal on; what is left ends with the pipe.
      child.kill("SIGKILL");
      await ended;
    }
    expect(await exportOf(dataDir)).to.deep.equal(expected);
  });
});
