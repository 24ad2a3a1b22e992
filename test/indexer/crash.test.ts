/** The real process on a real disk, killed and lied to; a scripted node and a block folder stand outside of it. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import Database from "better-sqlite3";
import { expect } from "chai";

import { dataFolder } from "../../io/data-folder.ts";
import { EmbeddedStore } from "../../io/content/embedded.ts";
import { bareEnvironment } from "../fixtures/bare-environment.ts";
import { useFolder } from "../fixtures/folder.ts";
import { DEPLOYMENT } from "../fixtures/history.ts";
import { exportHistory, waitFor, waitUntilReady } from "../fixtures/indexer-client.ts";
import { LedgerNode } from "../fixtures/ledger-node.ts";
import { chooseSize } from "../fixtures/long-form.ts";
import { listen, shut } from "../fixtures/loopback.ts";
import { SeededRandom } from "../fixtures/random.ts";
import { SimulatedWorld } from "../fixtures/simulated-world.ts";

const MAIN = fileURLToPath(new URL("../../indexer/main.ts", import.meta.url));
const KILLS = chooseSize(25, 100);
const hasStrace = spawnSync("strace", ["-V"]).status === 0;

describe("The indexer's process and a disk that keeps only what it was told to", function () {
  this.timeout(900_000);
  const folder = useFolder();
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = new SeededRandom(seed);
  const world = new SimulatedWorld(random);
  const node = new LedgerNode(world.ledger);
  const children = new Set<ChildProcess>();
  let server: Server;
  let rpcUrl: string;
  let onRequest: () => void = () => undefined;

  before(async () => {
    for (let i = 0; i < 40; i++) world.grow();
    // Small steps: many transactions to be killed in.
    node.maxRange = 3;
    server = createServer((request, response) => {
      onRequest();
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        void node.fetch("", { body: Buffer.concat(chunks).toString() }).then(async (answer) => {
          response.writeHead(answer.status, { "content-type": "application/json" }).end(await answer.text());
        });
      });
    });
    rpcUrl = (await listen(server)).origin;
  });
  after(() => shut(server));
  afterEach(() => {
    for (const child of children) killGroup(child);
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
        ...bareEnvironment(),
        RPC_URL: rpcUrl,
        CID_STORE_ADDRESS: DEPLOYMENT.cidStore,
        KEY_REGISTRY_ADDRESS: DEPLOYMENT.keyRegistry,
        DMTP_DATA_DIR: dataDir,
        PORT: "0",
        POLL_INTERVAL_MS: "50",
      },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
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

  /** The block that the index of a process that has ended stands at; −1 before the first. */
  function cursorOf(dataDir: string): number {
    const database = new Database(join(dataFolder(DEPLOYMENT, { dataDir }), "index.sqlite"), { fileMustExist: true });
    try {
      const row = database.prepare("SELECT value ->> 'number' FROM meta WHERE name = 'cursor'").pluck().get();
      return typeof row === "number" ? row : -1;
    } finally {
      database.close();
    }
  }

  async function growBy(blocks: number, dataDir: string): Promise<void> {
    const known = new Set(world.blocks.keys());
    for (let i = 0; i < blocks; i++) world.grow();
    const content = new EmbeddedStore(join(dataFolder(DEPLOYMENT, { dataDir }), "blocks"));
    const added = [...world.blocks].filter(([cid]) => !known.has(cid));
    await content.put(added.map(([cid, bytes]) => ({ cid, bytes })));
    await content.close();
  }

  it(`is killed at ${KILLS} moments of its work, and its index equals one that was not`, async () => {
    const dataDir = await prepare("killed");
    const cursors = new Set<number>();
    let behind = 0;
    for (let i = 0; i < KILLS; i++) {
      await growBy(random.integer(1, 2), dataDir);
      const { child, ended, said } = start(dataDir);
      // Counted in what it asks of the node, not in time: a slow machine kills it at the same places.
      const due = random.integer(1, 12);
      let asked = 0;
      const reached = new Promise<void>((resolve) => {
        onRequest = () => {
          asked += 1;
          if (asked >= due) resolve();
        };
      });
      await Promise.race([reached, ended]);
      await new Promise((resolve) => setTimeout(resolve, random.integer(0, 20)));
      child.kill(random.chance(0.9) ? "SIGKILL" : "SIGTERM");
      await ended;
      onRequest = () => undefined;
      expect(said.stderr, `seed ${seed}, kill ${i}`).to.equal("");
      const cursor = existsSync(join(dataFolder(DEPLOYMENT, { dataDir }), "index.sqlite")) ? cursorOf(dataDir) : -1;
      cursors.add(cursor);
      if (cursor < world.ledger.head.number) behind += 1;
    }
    // Else it was only ever killed before it began, or after it was done.
    expect(cursors.size, `seed ${seed}: different heights at a kill`).to.be.greaterThan(KILLS / 10);
    expect(behind, `seed ${seed}: kills of an index that was not done`).to.be.greaterThan(KILLS / 10);
    expect(await exportOf(dataDir)).to.deep.equal(await exportOf(await prepare("calm")));
  });

  it(`comes through failing syncs of the disk${hasStrace ? "" : " (skipped: there is no strace)"}`, async function () {
    if (!hasStrace) this.skip();
    const dataDir = await prepare("failing");
    // Its index is made in peace, so that what fails is not its making but its work.
    await exportOf(dataDir);
    // The first two are of its start, then comes one for what it reads of the chain, then one for the blocks that belong to it.
    for (const when of ["1+7", "3+2", "4+5", "3+1"]) {
      await growBy(12, dataDir);
      const trace = join(folder(), `strace ${when}`);
      const inject = `inject=fsync,fdatasync:error=EIO:when=${when}`;
      const { child, ended } = start(dataDir, [
        "strace",
        "-f",
        "-qqq",
        "-o",
        trace,
        "-e",
        "trace=fsync,fdatasync",
        "-e",
        inject,
      ]);
      const isHit = (): boolean => existsSync(trace) && readFileSync(trace, "utf8").includes("INJECTED");
      const isEnded = { value: false };
      void ended.then(() => (isEnded.value = true));
      await waitFor("a sync that fails", () => Promise.resolve(isHit() || isEnded.value), 60_000);
      // Some more of its work, after it was told that the disk did not keep what it wrote.
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 1_500))]);
      // strace keeps signals to itself, and what it traces outlives it: both are of one group.
      killGroup(child);
      await ended;
      expect(isHit(), when).to.equal(true);
    }
    expect(await exportOf(dataDir)).to.deep.equal(await exportOf(await prepare("sound")));
  });
});

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
