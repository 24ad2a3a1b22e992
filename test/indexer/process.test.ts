import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { expect } from "chai";

import { bareEnvironment } from "../fixtures/bare-environment.ts";
import { startChain, deploy, type Chain, type Deployed } from "../fixtures/chain.ts";
import { useFolder } from "../fixtures/folder.ts";
import { pause } from "../../io/pause.ts";
import { listen, shut } from "../fixtures/loopback.ts";
import { getOk, waitUntilReady } from "../fixtures/indexer-client.ts";

const MAIN = fileURLToPath(new URL("../../indexer/main.ts", import.meta.url));

interface Process {
  readonly child: ChildProcess;
  /** Of the service, once it says so on stdout. */
  readonly url: Promise<string>;
  readonly ended: Promise<number | null>;
  readonly said: { stdout: string; stderr: string };
}

describe("npm run indexer", function () {
  this.timeout(60_000);
  const folder = useFolder();
  const children = new Set<ChildProcess>();
  let chain: Chain;
  let deployed: Deployed;

  before(async () => {
    chain = await startChain();
    deployed = await deploy(chain.url);
  });
  after(async () => {
    deployed.close();
    await chain.stop();
  });
  afterEach(() => {
    for (const child of children) child.kill("SIGKILL");
  });

  /** @param maxFileBlocks the most blocks of 512 bytes that a file of the process may have */
  function run(change: Record<string, string | undefined> = {}, maxFileBlocks?: number): Process {
    const { cidStore, keyRegistry } = deployed.deployment;
    const env = {
      ...bareEnvironment(),
      RPC_URL: chain.url,
      CID_STORE_ADDRESS: cidStore,
      KEY_REGISTRY_ADDRESS: keyRegistry,
      DMTP_DATA_DIR: folder(),
      PORT: "0",
      ...change,
    };
    const command = [process.execPath, MAIN];
    if (maxFileBlocks !== undefined) command.unshift("sh", "-c", `ulimit -f ${maxFileBlocks} && exec "$0" "$@"`);
    const [program = "", ...args] = command;
    const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    children.add(child);
    const said = { stdout: "", stderr: "" };
    child.stderr.on("data", (chunk: Buffer) => (said.stderr += chunk.toString()));
    const url = new Promise<string>((resolve) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        said.stdout += `${line}\n`;
        const found = /http:\/\/\S+/.exec(line)?.[0];
        if (found !== undefined) resolve(found);
      });
    });
    const ended = new Promise<number | null>((resolve) =>
      child.once("close", (code) => {
        children.delete(child);
        resolve(code);
      }),
    );
    return { child, url, ended, said };
  }

  async function indexFile(): Promise<string> {
    const [name] = await readdir(folder());
    return join(folder(), name!, "index.sqlite");
  }

  it("becomes ready on an empty index, and ends by itself at SIGTERM or SIGINT", async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const { child, url, ended, said } = run();
      // How soon is measured by npm run bench: a test machine does other things, too.
      await waitUntilReady(await url);
      expect(said.stdout).to.match(/^DMTP indexer for chain 31337: http:\/\/127\.0\.0\.1:\d+\n$/);
      child.kill(signal);
      expect(await ended).to.equal(0);
      expect(said.stderr).to.equal("");
    }
  });

  it("is refused while another process has the same index, and not after that one was killed", async () => {
    const first = run();
    await first.url;
    const second = run();
    expect(await second.ended).to.equal(75);
    expect(second.said.stderr).to.match(/^error\[DATABASE_BUSY\]: .*\nhint: /);
    first.child.kill("SIGKILL");
    await first.ended;
    await waitUntilReady(await run().url);
  });

  it("makes an index anew that is damaged, or of another version, and says so", async () => {
    const first = run();
    await waitUntilReady(await first.url);
    first.child.kill("SIGTERM");
    await first.ended;
    writeFileSync(await indexFile(), "not a database, but long enough to look like one".repeat(100));
    const second = run();
    await waitUntilReady(await second.url);
    expect(second.said.stderr).to.match(/damaged/);
    expect((await getOk(await second.url, "/status")).counts.rooms).to.equal(0);
    second.child.kill("SIGTERM");
    await second.ended;

    const { default: Database } = await import("better-sqlite3");
    const database = new Database(await indexFile());
    database.pragma("user_version = 99");
    database.close();
    const third = run();
    await waitUntilReady(await third.url);
    expect(third.said.stderr).to.match(/schema version 99/);
  });

  it("says that the index cannot be written, and that trying again can help", async () => {
    const first = run();
    await waitUntilReady(await first.url);
    first.child.kill("SIGTERM");
    await first.ended;
    const path = await indexFile();
    const aFile = join(folder(), "a file");
    writeFileSync(aFile, "");
    const cases: [what: () => void, change: Record<string, string>][] = [
      [() => undefined, { DMTP_DATA_DIR: aFile }],
      // Whatever the user may do, a folder is no file.
      [() => replaceByFolder(path), {}],
      [() => replaceByFolder(`${path}.lock`), {}],
    ];
    for (const [prepare, change] of cases) {
      prepare();
      const { ended, said } = run(change);
      expect(await ended, said.stderr).to.equal(75);
      expect(said.stderr).to.match(/^error\[DATABASE_WRITE_FAILED\]: /);
      expect(said.stderr).not.to.match(/\n {4}at /);
      expect(said.stdout).to.equal("");
    }
  });

  it("is not ready from the moment at which its disk is full, and says so", async () => {
    const first = run();
    await waitUntilReady(await first.url);
    first.child.kill("SIGTERM");
    await first.ended;
    // Room for a few blocks of the chain in SQLite's log, and for the file that says what is in it.
    const { url: started, said, child } = run({ POLL_INTERVAL_MS: "50" }, 128);
    const url = await started;
    await waitUntilReady(url);
    for (let mined = 0; mined < 100 && !said.stderr.includes("error["); mined++) {
      await deployed.provider.send("evm_mine", []);
      await pause(100);
    }
    expect(said.stderr).to.match(/^error\[DATABASE_WRITE_FAILED\]: the index: /);
    const answer = await fetch(`${url}/ready`);
    expect(answer.status).to.equal(503);
    expect(await answer.json()).to.include({
      code: "DATABASE_WRITE_FAILED",
      detail: "the index cannot be written now; the indexer's log says why",
    });
    expect((await fetch(`${url}/health`)).status).to.equal(200);
    child.kill("SIGTERM");
  });

  it("says what is wrong with its configuration, and never a value", async () => {
    const cases: [Record<string, string | undefined>, number, RegExp][] = [
      [{ CID_STORE_ADDRESS: undefined }, 1, /CONFIGURATION_INVALID\]: CID_STORE_ADDRESS/],
      [{ RPC_URL: "secret" }, 1, /CONFIGURATION_INVALID\]: RPC_URL/],
      [{ RPC_URL: "http://127.0.0.1:9/secret" }, 75, /CHAIN_UNREACHABLE/],
      [{ CHAIN_ID: "137" }, 1, /CHAIN_ID_WRONG/],
      [{ CID_STORE_ADDRESS: `0x${"1".repeat(40)}` }, 1, /CONTRACT_MISSING/],
      [{ CID_STORE_ADDRESS: deployed.deployment.keyRegistry }, 1, /CONTRACT_WRONG/],
      [{ PORT: new URL(chain.url).port }, 1, /ADDRESS_IN_USE/],
    ];
    for (const [change, code, message] of cases) {
      const { ended, said } = run(change);
      expect(await ended, said.stderr).to.equal(code);
      expect(said.stderr).to.match(message);
      expect(said.stderr).not.to.match(/secret|\n {4}at /);
      expect(said.stdout).to.equal("");
    }
  });

  it("writes one short line for whatever a node says", async () => {
    const message = `no\nerror[INTERNAL]: forged\r\n\u001b[2J${"A".repeat(5_000_000)}`;
    const node = createServer((_, response) => {
      response.end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32_000, message } }));
    });
    const { href } = await listen(node);
    try {
      const { ended, said } = run({ RPC_URL: href });
      expect(await ended).to.equal(75);
      expect(said.stderr).to.match(
        /^error\[CHAIN_UNREACHABLE\]: .*no\\u\{a\}error\[INTERNAL\]: forged\\u\{d\}.*…?\nhint: .*\n$/,
      );
      expect(said.stderr.length).to.be.lessThan(2_000);
    } finally {
      await shut(node);
    }
  });
});

function replaceByFolder(path: string): void {
  rmSync(path);
  mkdirSync(path);
}
