import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { expect } from "chai";

import { Relay } from "../../client/relay.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Receipt } from "../../protocol/receipt.ts";
import { ROOT } from "../../scripts/tool.ts";
import { authorizeKey } from "../../tasks/relay.ts";
import { ALICE, BOB, History } from "../fixtures/history.ts";
import { Operator } from "../fixtures/operator.ts";
import { useFolder } from "../fixtures/folder.ts";

interface Process {
  readonly child: ChildProcess;
  readonly url: Promise<string>;
  readonly ended: Promise<number | null>;
  readonly stderr: () => string;
}

describe("npm run relay", function () {
  this.timeout(120_000);
  const folder = useFolder();
  const history = new History();
  const children = new Set<ChildProcess>();
  let operator: Operator;
  let made = 0;

  before(async () => {
    operator = await Operator.start();
  });
  after(() => operator.stop());
  afterEach(() => {
    for (const child of children) child.kill("SIGKILL");
    children.clear();
  });

  function run(change: NodeJS.ProcessEnv = {}): Process {
    const { cidStore, keyRegistry } = operator.deployed.deployment;
    const child = spawn(process.execPath, [join(ROOT, "relay", "main.ts")], {
      env: {
        PATH: process.env["PATH"],
        RPC_URL: operator.chain.url,
        CID_STORE_ADDRESS: cidStore,
        KEY_REGISTRY_ADDRESS: keyRegistry,
        DMTP_DATA_DIR: folder(),
        RELAY_PORT: "0",
        POLL_INTERVAL_MS: "50",
        ...change,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.add(child);
    let stderr = "";
    child.stderr.on("data", (text: Buffer) => (stderr += text.toString()));
    const url = new Promise<string>((resolve) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        const found = /: (http:\/\/\S+)$/.exec(line)?.[1];
        if (found !== undefined) resolve(found);
      });
    });
    const ended = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
    return { child, url, ended, stderr: () => stderr };
  }

  /** A relay that takes messages. */
  async function start(change: NodeJS.ProcessEnv = {}): Promise<{ process: Process; client: Relay }> {
    const started = run(change);
    const url = await Promise.race([
      started.url,
      started.ended.then((code) => Promise.reject(new Error(`it ended with ${code}: ${started.stderr()}`))),
    ]);
    while (!(await fetch(`${url}/ready`)).ok) await new Promise((resolve) => setTimeout(resolve, 20));
    return { process: started, client: await Relay.open(url, operator.deployed.deployment) };
  }

  const write = (seq: number, text = `number ${made++}`): { cid: Cid; block: Uint8Array } => {
    const block = encodeEnvelope(history.envelope(ALICE, BOB, { deployment: operator.deployed.deployment, text, seq }));
    return { cid: cidOf(block), block };
  };

  it("has lost nothing that it acknowledged when it is killed at any moment, and kept nothing that it refused", async () => {
    const session = await operator.open("killed", {});
    await authorizeKey(session);
    // The session's folder is where the process looks as well.
    const dataDir = operator.folderOf("killed");
    await session.close();
    const acknowledged = new Map<Cid, Receipt>();
    const refused: Cid[] = [];
    let seq = 1;
    for (let round = 0; round < 4; round++) {
      const { process: relay, client } = await start({ DMTP_DATA_DIR: dataDir });
      const messages = Array.from({ length: 40 }, () => write(seq++));
      const forged = messages.map(({ block }) => {
        const bytes = block.slice();
        // The signature is the last member but two of the map; whatever this byte is in, the message is not the sender's.
        bytes[bytes.length - 200] = (bytes[bytes.length - 200] ?? 0) ^ 1;
        return { cid: cidOf(bytes), block: bytes };
      });
      let count = 0;
      await Promise.all(
        [...forged, ...messages].map(async ({ cid, block }) => {
          try {
            const { receipt } = await client.put(cid, block);
            if (receipt === null) throw new Error("no receipt");
            acknowledged.set(cid, receipt);
            // At the first answer, in the middle of them, and at the last.
            count += 1;
            if (count === 1 + round * 13) relay.child.kill("SIGKILL");
          } catch (error) {
            if (!(error instanceof DmtpError)) throw error;
            if (error.code !== "RELAY_UNREACHABLE") refused.push(cid);
          }
        }),
      );
      relay.child.kill("SIGKILL");
      await relay.ended;
    }
    const { process: last, client } = await start({ DMTP_DATA_DIR: dataDir });
    for (const [cid, receipt] of acknowledged) {
      expect((await client.message(cid))?.receipt, cid).to.deep.equal(receipt);
    }
    for (const cid of refused) expect(await client.message(cid), cid).to.equal(null);
    expect(acknowledged.size).to.be.greaterThan(0);
    expect(refused.length).to.be.greaterThan(0);
    last.child.kill("SIGTERM");
    expect(await last.ended).to.equal(0);
  });

  it("has a key of its own, for its owner's eyes only, which the anchorer has authorised; and keeps it", async () => {
    const session = await operator.open("keyed");
    await authorizeKey(session);
    const path = join(session.folder, "relay-key.json");
    expect(statSync(path).mode & 0o777).to.equal(0o600);
    const before = readFileSync(path, "utf8");
    await authorizeKey(session);
    expect(readFileSync(path, "utf8")).to.equal(before);
    await session.close();
    const { process: relay, client } = await start({ DMTP_DATA_DIR: operator.folderOf("keyed") });
    expect(client.key?.signer).to.equal((JSON.parse(before) as { signer: string }).signer);
    relay.child.kill("SIGTERM");
    await relay.ended;
    writeFileSync(path, before.replace('"toBlock": 4', '"toBlock": 5'));
    const refused = run({ DMTP_DATA_DIR: operator.folderOf("keyed") });
    expect(await refused.ended).to.equal(1);
    expect(refused.stderr()).to.match(/error\[CONFIGURATION_INVALID\]/);
  });

  it("does not run twice on one mailbox", async () => {
    await start();
    const second = run();
    expect(await second.ended).to.equal(75);
    expect(second.stderr()).to.match(/error\[DATABASE_BUSY\]/);
  });

  it("names all that its configuration lacks, and ends with 1", async () => {
    const bare = run({ RPC_URL: "", CID_STORE_ADDRESS: "", KEY_REGISTRY_ADDRESS: "" });
    expect(await bare.ended).to.equal(1);
    expect(bare.stderr()).to.match(/CID_STORE_ADDRESS, KEY_REGISTRY_ADDRESS, RPC_URL are not set/);
  });

  it("asks the operator's own rule, and tells the sender why a message is refused", async () => {
    const path = join(folder(), "policy.mjs");
    writeFileSync(path, "export default ({ sizeBytes }) => (sizeBytes > 600 ? 'nothing long, please' : null);");
    const { client } = await start({ RELAY_POLICY: path });
    const long = write(1, "x".repeat(2_000));
    const error = await client.put(long.cid, long.block).catch((thrown: unknown) => thrown);
    expect(error).to.include({ code: "POLICY_REFUSED", message: "nothing long, please" });
    const short = write(1, "short");
    expect((await client.put(short.cid, short.block)).state).to.equal("pending");
  });
});
