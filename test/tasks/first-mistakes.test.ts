import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";

import { expect } from "chai";

import { makeFolder } from "../../io/durable-folder.ts";
import { checksummed } from "../../protocol/address.ts";
import { contentOfText } from "../../protocol/content.ts";
import { deployLocally, type LocalDeployment } from "../../scripts/local-deployment.ts";
import { startLocalChain, type Service } from "../../scripts/service.ts";
import { findTool, ROOT } from "../../scripts/tool.ts";
import { anchor } from "../../tasks/anchor.ts";
import { exportHistory } from "../../tasks/export.ts";
import { translateForeignError } from "../../tasks/foreign-error.ts";
import { readLine } from "../../tasks/hardhat-prompts.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import { runLocalCommand, type Ending } from "../fixtures/command.ts";

/** What people do on their first day, each with what they are told. */
describe("a first mistake is told as what it is", function () {
  this.timeout(60_000);
  let folder: string;
  let chain: { readonly url: string; readonly service: Service };
  let local: LocalDeployment;
  let archive: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "dmtp-mistakes-"));
    chain = await startLocalChain(findTool("hardhat"));
    local = await deployLocally(chain.url, join(folder, "data"), () => undefined);
    const [, alice, bob] = local.accounts;
    const session = local.open();
    await register(session, alice);
    await register(session, bob);
    await send(session, alice, [{ to: bob!, content: contentOfText("hello") }]);
    await anchor(session);
    archive = join(folder, "history.car");
    await exportHistory(session, archive, { room: null, wallet: null, since: 0 });
    await session.close();
  });

  after(async () => {
    await chain.service.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = (args: readonly string[], variables: NodeJS.ProcessEnv = {}): Promise<Ending> =>
    runLocalCommand(
      { url: chain.url, deployment: local.open().deployment, dataDir: join(folder, "data") },
      args,
      variables,
    );

  const hardhat = async (args: readonly string[], variables: NodeJS.ProcessEnv) => {
    const child = spawn(process.execPath, [findTool("hardhat"), ...args], {
      cwd: ROOT,
      env: { ...process.env, NODE_OPTIONS: "", CID_STORE_ADDRESS: "", KEY_REGISTRY_ADDRESS: "", ...variables },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const closed = once(child, "close") as Promise<[number | null]>;
    const stderr = await text(child.stderr);
    return { code: (await closed)[0], stderr };
  };

  it("a command without --network, whose chain would live in its process", async () => {
    const { code, stderr } = await hardhat(["status"], { DMTP_DATA_DIR: folder });
    expect(stderr)
      .to.match(/^error\[(?:CONTRACT_MISSING|DEPLOYMENT_UNKNOWN)\].*lives in this process/)
      .and.to.match(/hint: Give --network/);
    expect(code).to.equal(1);
  });

  it("an address in the wrong option, and a room that is none", async () => {
    const [to, from, room] = await Promise.all([
      run(["send", "--to", "bob.eth", "--text", "x"]),
      run(["history", "--from", "0x12", "--with", local.accounts[1]!]),
      run(["audit", "--room", "0x12"]),
    ]);
    expect(to.stderr).to.match(/^error\[ADDRESS_INVALID\]: --to: /);
    expect(from.stderr).to.match(/^error\[ADDRESS_INVALID\]: --from: /);
    expect(room.stderr).to.match(/^error\[ROOM_ID_INVALID\]: --room: /);
  });

  it("a wallet without a key, whose next command can be pasted", async () => {
    const carol = checksummed(local.accounts[3]!);
    const { code, stderr } = await run(["send", "--from", carol, "--to", local.accounts[1]!, "--text", "x"]);
    expect(code).to.equal(1);
    expect(stderr).to.contain(`npx hardhat keys register --network localhost --from ${carol}\n`);
  });

  it("an archive of another chain, of which an audit would ask nothing", async () => {
    const own = await run(["audit", "--car", archive]);
    expect(own.code, own.stderr).to.equal(0);
    const dataDir = join(folder, "other");
    const { deployment } = (await deployLocally(chain.url, dataDir, () => undefined)).open();
    const other = await runLocalCommand({ url: chain.url, deployment, dataDir }, ["audit", "--car", archive]);
    expect(other.code, other.stderr).to.equal(65);
    expect(other.stderr)
      .to.match(/^error\[ARCHIVE_UNTRUE\]: .*history\.car is of chain 31337/)
      .and.to.match(/hint: Choose its --network/);
  });

  it("a folder that can't be made, at once", async function () {
    if (process.platform !== "linux") this.skip();
    const { code, stderr } = await run(["status"], { DMTP_DATA_DIR: "/proc/nope" });
    expect(code, stderr).to.equal(75);
    expect(stderr).to.match(/^error\[DATABASE_WRITE_FAILED\]: the folder \/proc\/nope/);
    const file = join(folder, "a file");
    writeFileSync(file, "");
    expect(() => makeFolder(file)).to.throw("EEXIST");
    expect(() => makeFolder(join(file, "below"))).to.throw("EEXIST");
    makeFolder(join(folder, "a", "b"));
    makeFolder(join(folder, "a", "b"));
  });

  it("a URL without its scheme, a network that is none, and packages that another Node's npm left out", async () => {
    const { code, stderr } = await hardhat(["status", "--network", "polygon"], { POLYGON_RPC_URL: "polygon.example" });
    expect(code).to.equal(1);
    expect(stderr).to.contain("error[CONFIGURATION_INVALID]: POLYGON_RPC_URL is no URL\n");
    const unknown = await hardhat(["status", "--network", "amy"], {});
    expect(unknown.code).to.equal(1);
    expect(unknown.stderr).to.contain("hint: Choose localhost, amoy or polygon");
    const noBinding = translateForeignError(
      new Error("Cannot find native binding. npm has a bug related to optional dependencies"),
    );
    expect(noBinding).to.include({
      code: "CONFIGURATION_INVALID",
      hint: "Install what this machine needs: npm run setup",
    });
  });

  it("npm run indexer without its configuration: all that is missing, at once", async () => {
    const child = spawn(process.execPath, [join(ROOT, "scripts", "indexer.ts")], {
      cwd: ROOT,
      env: { PATH: process.env["PATH"], CID_STORE_ADDRESS: `0x${"11".repeat(20)}` },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const closed = once(child, "close") as Promise<[number]>;
    expect(await text(child.stderr)).to.contain(
      "error[CONFIGURATION_INVALID]: KEY_REGISTRY_ADDRESS, RPC_URL are not set",
    );
    expect((await closed)[0]).to.equal(1);
  });

  it("a kill of npx hardhat indexer alone, which ends the service that it started", async () => {
    const { cidStore, keyRegistry } = local.open().deployment;
    const child = spawn(process.execPath, [findTool("hardhat"), "indexer", "--network", "localhost"], {
      cwd: ROOT,
      env: {
        ...process.env,
        NODE_OPTIONS: "",
        LOCALHOST_RPC_URL: chain.url,
        DMTP_DATA_DIR: join(folder, "index"),
        CID_STORE_ADDRESS: cidStore,
        KEY_REGISTRY_ADDRESS: keyRegistry,
        PORT: "0",
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let url: string | undefined;
    for await (const line of createInterface({ input: child.stdout })) {
      url = /http:\/\/\S+/.exec(line)?.[0];
      if (url !== undefined) break;
    }
    expect((await fetch(`${url}/health`)).status).to.equal(200);
    child.kill("SIGKILL");
    // Five seconds at most; without the end of the service, it would answer for ever.
    let answers = true;
    for (let look = 0; answers && look < 50; look++) {
      answers = await fetch(`${url}/health`).then(
        () => true,
        () => false,
      );
      await setTimeout(100);
    }
    expect(answers).to.equal(false);
  });

  describe("the keystore's password", () => {
    const script = `
      import hre from "hardhat";
      import { promptOnStderr } from "./tasks/hardhat-prompts.ts";
      import { text } from "node:stream/consumers";
      promptOnStderr(hre);
      try {
        const secret = await hre.interruptions.requestSecretInput("hardhat-keystore", "Enter the password");
        console.log(JSON.stringify({ secret, rest: await text(process.stdin) }));
      } catch (error) {
        console.log(JSON.stringify({ code: error.code, hint: error.hint }));
      }`;

    const ask = async (input: string): Promise<unknown> => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
        cwd: ROOT,
        env: { ...process.env, NODE_OPTIONS: "" },
        stdio: ["pipe", "pipe", "inherit"],
      });
      child.stdin.end(input);
      return JSON.parse(await text(child.stdout)) as unknown;
    };

    it("is a line of standard input without a terminal, and the rest is for others", async () => {
      expect(await ask("a secret\r\nthe message\n")).to.deep.equal({ secret: "a secret", rest: "the message\n" });
    });

    it("is refused, and not waited for, where nobody types", async () => {
      expect(await ask("")).to.include({ code: "CONFIGURATION_INVALID" });
    });

    it("may end with the input", () => {
      const path = join(folder, "password");
      writeFileSync(path, "without a newline");
      const file = openSync(path, "r");
      try {
        expect([readLine(file), readLine(file)]).to.deep.equal(["without a newline", null]);
      } finally {
        closeSync(file);
      }
      expect(readLine(file)).to.equal(null);
    });
  });
});
