import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { expect } from "chai";

import { findTool, ROOT } from "../../../scripts/tool.ts";
import { Operator } from "../../fixtures/operator.ts";

/** The real command, with the accounts of a node, as an operator's service manager runs it. */
describe("npx hardhat anchor, as a process", () => {
  let operator: Operator;

  before(async () => {
    operator = await Operator.start();
  });
  after(() => operator.stop());

  function start(...args: string[]): ChildProcess {
    const { cidStore, keyRegistry } = operator.deployed.deployment;
    const from = ["--from", operator.deployed.anchorer.address, "--network", "localhost"];
    return spawn(process.execPath, [findTool("hardhat"), "anchor", ...from, ...args], {
      cwd: ROOT,
      env: {
        ...process.env,
        LOCALHOST_RPC_URL: operator.chain.url,
        DMTP_DATA_DIR: operator.folderOf("service"),
        CID_STORE_ADDRESS: cidStore,
        KEY_REGISTRY_ADDRESS: keyRegistry,
        NODE_OPTIONS: "",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  async function end(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name]?.on("data", (chunk: Buffer) => (output[name] += chunk.toString()));
    const [code] = (await once(child, "close")) as [number | null];
    return { code, ...output };
  }

  async function send(count: number): Promise<string[]> {
    const session = await operator.open("service");
    const cids = await operator.send(session, count);
    // The command has a content store of its own, in its data folder.
    await session.close();
    return cids;
  }

  it("--dry-run says what it would do; the run after it does that, in one document with --json", async () => {
    const sent = await send(2);
    const rehearsed = await end(start("--dry-run", "--json"));
    expect(rehearsed.code, rehearsed.stderr).to.equal(0);
    const would = JSON.parse(rehearsed.stdout) as { manifest: string };
    const done = await end(start("--json", "--confirmations", "1"));
    expect(done.code, done.stderr).to.equal(0);
    const { anchored, anchors } = JSON.parse(done.stdout) as { anchored: number; anchors: { manifest: string }[] };
    expect([anchored, anchors[0]?.manifest]).to.deep.equal([2, would.manifest]);
    expect(sent).to.have.length(2);
  });

  it("refuses options that are none with exit code 1, and caps that are too low with 75", async () => {
    await send(1);
    const wrong = await end(start("--max-fee", "lots"));
    expect([wrong.code, wrong.stdout]).to.deep.equal([1, ""]);
    expect(wrong.stderr).to.match(/^error\[OPTION_INVALID\]: --max-fee .*\nhint: /);
    const low = await end(start("--max-fee", "0.000000001"));
    expect(low.code).to.equal(75);
    expect(low.stderr).to.match(/^error\[FEE_TOO_HIGH\]: .*\nhint: .*nothing was sent/m);
  });

  it("--watch anchors what comes, and SIGTERM ends it with 0, also while a transaction waits: the next run goes on with it", async function () {
    this.timeout(60_000);
    const child = start("--watch", "1");
    const ended = end(child);
    const lines: { event: string; anchors: { messages: number }[] }[] = [];
    if (child.stdout === null) throw new Error("no pipe");
    const reader = createInterface({ input: child.stdout });
    const next = async (event: string): Promise<void> => {
      for await (const line of reader) {
        lines.push(JSON.parse(line) as (typeof lines)[0]);
        if (lines.at(-1)?.event === event) return;
      }
    };
    await next("anchored");
    await operator.dev("evm_setAutomine", false);
    await send(1);
    const isSubmitted = async (): Promise<boolean> => {
      const session = await operator.open("service");
      const states = session.mailbox.anchors.open().map(({ state }) => state);
      await session.close();
      return states.includes("submitted");
    };
    while (!(await isSubmitted())) await new Promise((resolve) => setTimeout(resolve, 100));
    child.kill("SIGTERM");
    const { code, stderr } = await ended;
    expect([code, stderr]).to.deep.equal([0, ""]);
    await operator.mine();
    await operator.dev("evm_setAutomine", true);
    const after = await end(start("--json"));
    expect(after.code, after.stderr).to.equal(0);
    expect(JSON.parse(after.stdout)).to.include({ anchored: 0 });
    const session = await operator.open("service");
    expect(session.mailbox.counts().unanchored).to.equal(0);
    await session.close();
    expect(await operator.entryCount()).to.equal(3);
  });
});
