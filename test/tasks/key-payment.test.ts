import { spawn } from "node:child_process";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

import { expect } from "chai";
import { parseEther, Wallet } from "ethers";

import { LocalAccount } from "../../io/chain/transactions/account.ts";
import { toHex } from "../../protocol/bytes.ts";
import { contentOfText } from "../../protocol/content.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import type { Outcome } from "../../tasks/command.ts";
import { register } from "../../tasks/keys-register.ts";
import { revoke } from "../../tasks/keys-revoke.ts";
import { DEFAULT_PAYMENT } from "../../tasks/registry-submission.ts";
import { send } from "../../tasks/send.ts";
import { runCommand, type Ending } from "../fixtures/command.ts";
import type { Loss } from "../fixtures/faulty-rpc.ts";
import { BOB, CAROL } from "../fixtures/history.ts";
import { Operator, type OperatorSession } from "../fixtures/operator.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

const SCRIPT = fileURLToPath(new URL("../fixtures/crashing-registration.ts", import.meta.url));
const KEY = toHex(CAROL.wallet.privateKey);
const QUICK = { ...DEFAULT_PAYMENT, timeoutMs: 400, revokesOld: false };

describe("What keys register and keys revoke pay", function () {
  this.timeout(120_000);
  let operator: Operator;

  beforeEach(async () => {
    operator = await Operator.start({ chainId: 80_002 });
    await operator.dev("anvil_setBalance", CAROL.address, "0x56bc75e2d63100000");
    await operator.mine();
    // What a process stores, the sessions here can read, as from a Kubo that both use.
    await use(({ folder }) => {
      symlinkSync(operator.folderOf("blocks"), join(folder, "blocks"));
      return Promise.resolve();
    });
  });
  afterEach(() => operator.stop());

  async function use<T>(work: (session: OperatorSession) => Promise<T>): Promise<T> {
    const wallet = new Wallet(KEY, operator.deployed.provider);
    const session = await operator.open("carol", {
      signers: () => Promise.resolve([wallet]),
      accounts: () => Promise.resolve([new LocalAccount(KEY)]),
    });
    try {
      return await work(session);
    } finally {
      await session.close();
    }
  }

  const run = (...args: string[]): Promise<Ending> =>
    runCommand(
      {
        url: operator.chain.url,
        deployment: operator.deployed.deployment,
        dataDir: operator.folderOf("carol"),
        privateKey: KEY,
      },
      [...args, "--json"],
    );

  /** The kinds of Carol's versions, and how many transactions she has paid for. */
  async function paid(): Promise<{ readonly versions: string[]; readonly transactions: number }> {
    const events = await use(({ reader }) => reader.walletEvents(CAROL.address));
    const transactions = await operator.deployed.provider.getTransactionCount(CAROL.address, "latest");
    return { versions: events.map(({ kind }) => kind), transactions };
  }
  const isResumed = ({ data }: Outcome): boolean => (data as { readonly resumed: boolean }).resumed;
  /** Her newest key opens. */
  const write = (): Promise<Outcome> =>
    use((session) => send(session, undefined, [{ to: BOB.address, content: contentOfText("hello") }]));

  for (const when of ["before", "after"] as const satisfies readonly Loss[]) {
    it(`is one transaction when the answer to it is lost, ${when} it happened`, async () => {
      await use(async (session) => {
        session.faulty.lose("eth_sendRawTransaction", when);
        expect(isResumed(await register(session, undefined))).to.equal(false);
        session.faulty.lose("eth_sendRawTransaction", when);
        await revoke(session, undefined);
      });
      expect(await paid()).to.deep.equal({ versions: ["key", "revocation"], transactions: 2 });
    });

    it(`is one transaction when nothing is heard of the node from then on, ${when} it happened: the next run goes on`, async () => {
      await use(async (session) => {
        session.faulty.lose("eth_sendRawTransaction", when);
        session.faulty.answer("eth_sendRawTransaction", (call, inner) => inner.request(call));
        session.faulty.lose("eth_getTransactionReceipt", "before", Infinity);
        expect(await codeOfAsync(() => register(session, undefined, undefined, QUICK))).to.equal("CHAIN_UNREACHABLE");
      });
      expect(isResumed(await use((session) => register(session, undefined)))).to.equal(true);
      expect(await paid()).to.deep.equal({ versions: ["key"], transactions: 1 });
      await write();
    });
  }

  /** Runs the process to the point where it kills itself. @returns the points that it reached */
  async function crashAt(what: "register" | "revoke", point: number): Promise<string[]> {
    const { cidStore, keyRegistry } = operator.deployed.deployment;
    const folders = [operator.folderOf("carol"), operator.folderOf("blocks")];
    const args = [what, operator.chain.url, cidStore, keyRegistry, KEY, ...folders, String(point)];
    const child = spawn(process.execPath, [SCRIPT, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    const closed = new Promise<string | null>((resolve) => child.once("close", (_code, signal) => resolve(signal)));
    const printed = await text(child.stdout);
    expect(await closed).to.equal("SIGKILL");
    return printed.trim().split("\n");
  }

  const POINTS = ["plan", "record", "broadcast", "end"].flatMap((write) => [`before ${write}`, `after ${write}`]);
  for (const [point, name] of POINTS.entries()) {
    it(`is one transaction when it is killed ${name}, and run again`, async () => {
      expect(await crashAt("register", point)).to.deep.equal(POINTS.slice(0, point + 1));
      // Once the chain has it and the mailbox says so, another run is another key.
      if (name !== "after end") {
        const isSigned = point >= POINTS.indexOf("after record");
        expect(isResumed(await use((session) => register(session, undefined)))).to.equal(isSigned);
      }
      expect(await paid()).to.deep.equal({ versions: ["key"], transactions: 1 });
      await write();
      expect(await crashAt("revoke", point)).to.deep.equal(POINTS.slice(0, point + 1));
      await use((session) => revoke(session, undefined));
      expect(await paid()).to.deep.equal({ versions: ["key", "revocation"], transactions: 2 });
    });
  }

  it("is nothing above --max-cost, whatever tip a node asks for", async () => {
    const before = await operator.deployed.provider.getBalance(CAROL.address);
    const refused = await run("keys", "register", "--max-cost", "0.0001");
    expect([refused.code, refused.stdout]).to.have.nested.property("[0]", 75);
    expect(refused.stderr).to.contain("error[FEE_TOO_HIGH]");
    expect(await operator.deployed.provider.getBalance(CAROL.address)).to.equal(before);
    await use(async (session) => {
      // 20 million gwei a unit of gas would be more than 2,000 POL.
      const greedy = (): Promise<unknown> => Promise.resolve("0x470de4df820000");
      session.faulty.answer("eth_maxPriorityFeePerGas", greedy);
      await register(session, undefined);
      await revoke(session, undefined);
    });
    const after = await operator.deployed.provider.getBalance(CAROL.address);
    expect(before - after < parseEther("1")).to.equal(true);
    expect(await paid()).to.deep.equal({ versions: ["key", "revocation"], transactions: 2 });
    const invalid = await run("keys", "revoke", "--max-cost", "much");
    expect([invalid.code, invalid.stderr]).to.have.nested.property("[0]", 1);
  });

  it("is nothing for a wallet whose keys are revoked already, or that has none", async () => {
    expect(await codeOfAsync(() => use((session) => revoke(session, undefined)))).to.equal("SENDER_UNREGISTERED");
    await use((session) => register(session, undefined));
    const first = await run("keys", "revoke");
    expect(first.code, first.stderr).to.equal(0);
    expect(JSON.parse(first.stdout)).to.include({ revoked: true, version: 2, resumed: false });
    expect(JSON.parse((await run("keys", "revoke")).stdout)).to.include({ revoked: false });
    expect(await paid()).to.deep.equal({ versions: ["key", "revocation"], transactions: 2 });
    expect(await codeOfAsync(write)).to.equal("SENDER_REVOKED");
  });

  it("after a theft is a revocation and a new key: what is anchored stays, and nothing of the thief's is verified", async () => {
    await use((session) => register(session, undefined));
    await write();
    const operate = (): Promise<Outcome> =>
      use(async (session) => {
        const { anchorer } = operator.deployed;
        const own = await operator.open("carol", {
          accounts: () => Promise.resolve([new LocalAccount(anchorer.privateKey)]),
        });
        await anchor(own);
        await own.close();
        return audit(session);
      });
    expect((await operate()).data).to.deep.include({ messages: { verified: 1, rejected: 0, missing: 0 } });
    await write();
    const stolen = await run("keys", "register", "--revoke-old");
    expect(stolen.code, stolen.stderr).to.equal(0);
    expect(stolen.stderr).to.contain("warning: 1 message of this wallet wait to be anchored");
    expect(JSON.parse(stolen.stdout)).to.include({ version: 3 });
    expect(await paid()).to.deep.equal({ versions: ["key", "revocation", "key"], transactions: 3 });
    await write();
    // What was signed with the old key, by whomever, and not anchored before, is held back.
    expect((await operate()).data).to.deep.include({ messages: { verified: 2, rejected: 0, missing: 0 } });
    expect(operator.notes.join("\n")).to.contain("1 message held back, KEY_REVOKED");
  });

  it("goes on where a run with --revoke-old was cut off, and revokes below a key that was on its way", async () => {
    const options = { ...QUICK, timeoutMs: 5_000, revokesOld: true };
    await use((session) => register(session, undefined));
    await crashAt("register", POINTS.indexOf("after record"));
    await use((session) => register(session, undefined, undefined, options));
    expect(await paid()).to.deep.equal({ versions: ["key", "key", "revocation", "key"], transactions: 4 });
    expect((await use((session) => session.readKeys(CAROL.address))).current(CAROL.address).status).to.equal("usable");
  });
});
