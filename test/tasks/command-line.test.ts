import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

import { expect } from "chai";
import Database from "better-sqlite3";

import { checksummed, type Address } from "../../protocol/address.ts";
import { roomIdOf } from "../../protocol/room.ts";
import { runLocalCommandProcess, type Ending } from "../fixtures/command.ts";
import { startFailingNode } from "../fixtures/failing-node.ts";
import { chooseSize } from "../fixtures/long-form.ts";
import { deployLocally, type LocalDeployment } from "../../scripts/local-deployment.ts";
import { startLocalChain, type Service } from "../../scripts/service.ts";
import { findTool, ROOT } from "../../scripts/tool.ts";

/** What a person does: commands in a shell, against a chain that is a process of its own. */
describe("the commands, as a person runs them", () => {
  let dataDir: string;
  let chain: { readonly url: string; readonly service: Service };
  let deployment: LocalDeployment;
  let alice: Address;
  let bob: Address;
  /** Everything that any command printed. */
  let printed = "";
  const secret = "the old oak by the river, at nine";

  before(async function () {
    this.timeout(120_000);
    dataDir = await mkdtemp(join(tmpdir(), "dmtp-cli-"));
    chain = await startLocalChain(findTool("hardhat"));
    deployment = await deployLocally(chain.url, dataDir, () => undefined);
    [, alice, bob] = deployment.accounts as [Address, Address, Address];
  });

  after(async () => {
    await chain.service.stop();
    await rm(dataDir, { recursive: true, force: true });
  });

  const run = async (args: readonly string[], variables: NodeJS.ProcessEnv = {}, input = ""): Promise<Ending> => {
    const place = { url: chain.url, deployment: deployment.open().deployment, dataDir };
    const ending = await runLocalCommandProcess(place, args, variables, input);
    printed += ending.stdout + ending.stderr;
    return ending;
  };

  it("register, send, pin, anchor, read and audit a conversation", async () => {
    expect((await run(["keys", "register", "--from", alice])).code).to.equal(0);
    const registered = await run(["keys", "register", "--from", bob, "--passphrase", "--json"], {
      DMTP_PASSPHRASE: secret,
    });
    expect(registered.code, registered.stderr).to.equal(0);
    expect(JSON.parse(registered.stdout)).to.include({
      wallet: checksummed(bob),
      version: 1,
      sealedWith: "passphrase",
    });

    const sent = await run(["send", "--from", alice, "--to", bob, "--json"], {}, `${secret} \u202e <script>\u0000`);
    expect(sent.code, sent.stderr).to.equal(0);
    expect(JSON.parse(sent.stdout)).to.have.nested.property("messages[0].seq", 1);
    const batch = join(dataDir, "batch.jsonl");
    await writeFile(batch, ["first", "second"].map((text) => JSON.stringify({ to: alice, text })).join("\n"));
    const answered = await run(["send", "--from", bob, "--batch", batch, "--passphrase"], { DMTP_PASSPHRASE: secret });
    expect(answered.code, answered.stderr).to.equal(0);
    expect(answered.stdout).to.match(/^sent 2 messages to 1 receiver\n/);

    const pending = await run(["history", "--from", alice, "--with", bob]);
    expect(pending.stdout)
      .to.contain("[pending, key signed by its wallet]")
      .and.to.contain(`${secret} \\u{202e} <script>\\u{0}`);

    const pinned = await run(["pin", "--json"]);
    expect(JSON.parse(pinned.stdout)).to.include({ pinned: 3, alreadyPinned: 0 });
    const anchored = await run(["anchor", "--json"]);
    expect(JSON.parse(anchored.stdout)).to.have.nested.include({
      anchored: 3,
      "anchors[0].rooms": 1,
      "anchors[0].index": 0,
    });
    const again = await run(["anchor"]);
    expect([again.code, again.stdout]).to.deep.equal([
      0,
      "nothing to anchor: every message in the mailbox is anchored\n",
    ]);

    const read = await run(["history", "--from", bob, "--with", alice, "--passphrase", "--json"], {
      DMTP_PASSPHRASE: secret,
    });
    const { messages } = JSON.parse(read.stdout) as { messages: { text: string; verdict: { status: string } }[] };
    expect(messages.map(({ text }) => text)).to.deep.equal([`${secret} \u202e <script>\u0000`, "first", "second"]);
    expect(messages.map(({ verdict }) => verdict.status)).to.deep.equal(["verified", "verified", "verified"]);

    const room = roomIdOf(deployment.open().deployment, alice, bob);
    const audited = await run(["audit", "--room", room, "--json"]);
    expect([audited.code, JSON.parse(audited.stdout).messages]).to.deep.equal([
      0,
      { verified: 3, rejected: 0, missing: 0 },
    ]);
  });

  it("start the indexer, which serves the same history and ends when it is told to", async () => {
    const { cidStore, keyRegistry } = deployment.open().deployment;
    const child = spawn(process.execPath, [findTool("hardhat"), "indexer", "--network", "localhost"], {
      cwd: ROOT,
      env: {
        ...process.env,
        LOCALHOST_RPC_URL: chain.url,
        DMTP_DATA_DIR: dataDir,
        CID_STORE_ADDRESS: cidStore,
        KEY_REGISTRY_ADDRESS: keyRegistry,
        PORT: "0",
        POLYGON_PRIVATE_KEY: `0x${"5e".repeat(32)}`,
        DMTP_PASSPHRASE: secret,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = once(child, "exit");
    let output = "";
    for await (const chunk of child.stdout) {
      output += (chunk as Buffer).toString();
      if (/http:\/\/127\.0\.0\.1:\d+/.test(output)) break;
    }
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0] ?? "";
    for (let tries = 0; tries < 100 && !(await fetch(`${url}/ready`)).ok; tries++) await setTimeout(50);
    if (process.platform === "linux") {
      const [service] = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8")).trim().split(" ");
      const environment = await readFile(`/proc/${service}/environ`, "utf8");
      expect(environment).to.contain("KEY_REGISTRY_ADDRESS=").and.not.to.contain("5e5e").and.not.to.contain(secret);
    }
    const room = roomIdOf(deployment.open().deployment, alice, bob);
    const answer = (await (await fetch(`${url}/v1/rooms/${room}`)).json()) as { room: { counts: unknown } };
    expect(answer.room.counts).to.deep.equal({ verified: 3, rejected: 0, missing: 0 });
    child.kill("SIGTERM");
    expect((await ended)[0]).to.equal(0);
    await fetch(url).then(
      () => expect.fail("the indexer still answers"),
      () => undefined,
    );
  });

  it("show keys and status", async () => {
    const shown = await run(["keys", "show", "--wallet", bob, "--json"]);
    expect(JSON.parse(shown.stdout)).to.deep.include({ wallet: checksummed(bob), current: 1 });
    const status = await run(["status", "--json"]);
    expect(JSON.parse(status.stdout)).to.deep.include({ chainId: 31337, anchors: 1 });
    expect((await run(["status"])).stdout).to.contain("3 messages, 0 unanchored, 0 unpinned");
  });

  it("end with 75 when content is out of reach, and show it as missing", async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), "dmtp-cli-empty-"));
    const audited = await run(["audit", "--json"], { DMTP_DATA_DIR: elsewhere });
    await rm(elsewhere, { recursive: true });
    expect(audited.code).to.equal(75);
    expect(JSON.parse(audited.stdout)).to.deep.include({ anchors: { verified: 0, rejected: 0, missing: 1 } });
    expect(audited.stderr).to.match(/^error\[HISTORY_INCOMPLETE\]: .*\nhint: /m);
  });

  it("refuse with a code, a sentence and a hint, exit 1, and one JSON document", async () => {
    const refused = await run(["send", "--from", alice, "--to", "0x12", "--text", "hi", "--json"]);
    expect(refused.code).to.equal(1);
    expect(JSON.parse(refused.stdout)).to.have.nested.property("error.code", "ADDRESS_INVALID");
    expect(refused.stderr).to.match(/^error\[ADDRESS_INVALID\]: .*\nhint: .*\n$/);
    expect(refused.stderr).not.to.contain(" at ");
  });

  it("refuse a wrong or empty contract address, the wrong chain, and a node that is down", async () => {
    const { cidStore, keyRegistry } = deployment.open().deployment;
    const codeOf = async (variables: NodeJS.ProcessEnv): Promise<[number | null, string | undefined]> => {
      const { code, stderr } = await run(["status"], variables);
      return [code, /^error\[(\w+)\]/m.exec(stderr)?.[1]];
    };
    expect(await codeOf({ CID_STORE_ADDRESS: keyRegistry, KEY_REGISTRY_ADDRESS: cidStore })).to.deep.equal([
      1,
      "CONTRACT_WRONG",
    ]);
    expect(await codeOf({ CID_STORE_ADDRESS: alice })).to.deep.equal([1, "CONTRACT_MISSING"]);
    expect(await codeOf({ CHAIN_ID: "137" })).to.deep.equal([1, "CHAIN_ID_WRONG"]);
    expect(await codeOf({ LOCALHOST_RPC_URL: "http://127.0.0.1:1" })).to.deep.equal([75, "CHAIN_UNREACHABLE"]);
    expect(await codeOf({ PORT: "many" })).to.deep.equal([1, "CONFIGURATION_INVALID"]);
  });

  it("end with 75 when the node goes away under them, at whichever request", async () => {
    for (const served of [3, 6]) {
      const node = await startFailingNode(chain.url, served);
      const ending = await run(["send", "--from", alice, "--to", bob, "--text", "hi"], { LOCALHOST_RPC_URL: node.url });
      await node.stop();
      const code = /^error\[(\w+)\]/m.exec(ending.stderr)?.[1];
      expect([ending.code, code], ending.stderr).to.deep.equal([75, "CHAIN_UNREACHABLE"]);
    }
  });

  it("refuse the wrong passphrase and the wrong opener", async () => {
    const wrong = await run(["history", "--from", bob, "--with", alice, "--passphrase"], { DMTP_PASSPHRASE: "guess" });
    expect([wrong.code, wrong.stderr]).to.satisfy(
      ([code, text]: [number, string]) => code === 1 && text.includes("SEALED_KEY_UNOPENED"),
    );
    expect((await run(["history", "--from", bob, "--with", alice])).stderr).to.contain("SEALED_KEY_UNOPENED");
  });

  it("leave two sends at once both sent, each with a number of its own", async () => {
    const both = await Promise.all(
      ["this", "that"].map((text) => run(["send", "--from", alice, "--to", bob, "--text", text, "--json"])),
    );
    expect(
      both.map(({ code }) => code),
      both.map(({ stderr }) => stderr).join(),
    ).to.deep.equal([0, 0]);
    const seqs = both.map(({ stdout }) => (JSON.parse(stdout) as { messages: { seq: number }[] }).messages[0]?.seq);
    expect(seqs.sort()).to.deep.equal([2, 3]);
  });

  it("refuse a mailbox that a newer version wrote", async () => {
    const folder = join(deployment.open().folder);
    const [file] = (await readdir(folder)).filter((name) => /^mailbox.*\.(db|sqlite3?)$/.test(name));
    const database = new Database(join(folder, file ?? ""));
    const version = database.pragma("user_version", { simple: true }) as number;
    database.pragma(`user_version = ${version + 1}`);
    const refused = await run(["pin"]);
    database.pragma(`user_version = ${version}`);
    database.close();
    expect([refused.code, refused.stderr]).to.satisfy(
      ([code, text]: [number, string]) => code === 1 && text.includes("DATABASE_NEWER"),
    );
  });

  it("never print or store a secret: no passphrase, no plaintext in any file, no key and no signature", async () => {
    expect(printed).not.to.contain("guess");
    const needles = [Buffer.from(secret), Buffer.from("second")];
    for (const name of await readdir(dataDir, { recursive: true, withFileTypes: true })) {
      if (!name.isFile() || name.name === "batch.jsonl") continue;
      const bytes = await readFile(join(name.parentPath, name.name));
      for (const needle of needles)
        expect(bytes.includes(needle), `${name.name} holds ${needle.toString()}`).to.equal(false);
    }
    // A wallet signature is 65 bytes in hex; transaction and block hashes are 32.
    expect(printed).not.to.match(/0x[0-9a-f]{130}/i);
  });

  it("say what each of them takes", async () => {
    const names = [
      ["keys", "register"],
      ["keys", "revoke"],
      ["keys", "show"],
      ["send"],
      ["pin"],
      ["anchor"],
      ["history"],
      ["audit"],
      ["indexer"],
      ["status"],
    ];
    const step = chooseSize(3, 1);
    for (const name of names.filter((_, i) => i % step === 0)) {
      const help = await run([...name, "--help"]);
      expect(help.code, name.join(" ")).to.equal(0);
      if (name[0] !== "indexer") expect(help.stdout).to.contain("--json");
    }
  });
});
