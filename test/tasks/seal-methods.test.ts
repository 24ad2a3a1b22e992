import { symlinkSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";
import { Wallet } from "ethers";

import { LocalAccount } from "../../io/chain/transactions/account.ts";
import { toHex } from "../../protocol/bytes.ts";
import { cidOfDigest, type Cid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { anchor } from "../../tasks/anchor.ts";
import { history } from "../../tasks/history.ts";
import { withoutSecrets } from "../../tasks/service-process.ts";
import { register } from "../../tasks/keys-register.ts";
import { readNewPassphrase } from "../../tasks/passphrase.ts";
import { send } from "../../tasks/send.ts";
import { runCommand, type Ending } from "../fixtures/command.ts";
import { ALICE, BOB, type Person } from "../fixtures/history.ts";
import { Operator, type OperatorSession } from "../fixtures/operator.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

const PASSPHRASE = "seven random words would be better";

describe("A wallet whose keys were sealed in different ways", function () {
  this.timeout(120_000);
  let operator: Operator;

  async function use<T>({ wallet }: Person, work: (session: OperatorSession) => Promise<T>): Promise<T> {
    const key = toHex(wallet.privateKey);
    const session = await operator.open("first", {
      signers: () => Promise.resolve([new Wallet(key, operator.deployed.provider)]),
      accounts: () => Promise.resolve([new LocalAccount(key)]),
    });
    try {
      return await work(session);
    } finally {
      await session.close();
    }
  }

  const write = (from: Person, to: Person, text: string, passphrase?: string): Promise<unknown> =>
    use(from, (session) => send(session, undefined, [{ to: to.address, content: contentOfText(text) }], passphrase));

  const run = (args: readonly string[], variables: NodeJS.ProcessEnv = {}): Promise<Ending> =>
    runCommand(
      {
        url: operator.chain.url,
        deployment: operator.deployed.deployment,
        dataDir: operator.folderOf("first"),
        privateKey: toHex(BOB.wallet.privateKey),
      },
      [...args, "--json"],
      { DMTP_PASSPHRASE: "", ...variables },
    );
  const read = (variables: NodeJS.ProcessEnv = {}, ...options: string[]): Promise<Ending> =>
    run(["history", "--with", ALICE.address, ...options], variables);
  const textsOf = ({ stdout }: Ending): (string | null)[] =>
    (JSON.parse(stdout) as { readonly messages: { readonly text: string | null }[] }).messages.map(({ text }) => text);

  /** Bob's first key is sealed by his wallet, his second by a passphrase. */
  before(async () => {
    operator = await Operator.start({ chainId: 80_002 });
    await use(BOB, ({ folder }) => {
      symlinkSync(operator.folderOf("blocks"), join(folder, "blocks"));
      return Promise.resolve();
    });
    await write(ALICE, BOB, "one");
    const registered = await run(["keys", "register", "--passphrase"], { DMTP_PASSPHRASE: PASSPHRASE });
    expect(registered.code, registered.stderr).to.equal(0);
    await write(ALICE, BOB, "two");
    await write(BOB, ALICE, "three", PASSPHRASE);
    const anchoring = await operator.open("first");
    await anchor(anchoring);
    await anchoring.close();
  });
  after(() => operator.stop());

  it("reads all of them in one history, with --passphrase and without", async () => {
    for (const options of [[], ["--passphrase"]]) {
      const ending = await read({ DMTP_PASSPHRASE: PASSPHRASE }, ...options);
      expect(ending.code, ending.stderr).to.equal(0);
      expect(textsOf(ending)).to.deep.equal(["one", "two", "three"]);
    }
  });

  it("reads what opens where the passphrase is missing or wrong, and ends with 1", async () => {
    for (const variables of [{}, { DMTP_PASSPHRASE: "seven random words would be bitter" }]) {
      const ending = await read(variables);
      expect(ending.code).to.equal(1);
      expect(ending.stderr).to.contain("warning[SEALED_KEY_UNOPENED]: key 2 does not open");
      expect(textsOf(ending)).to.deep.equal(["one", null, null]);
      expect(JSON.parse(ending.stdout)).to.have.nested.property("unopenedKeys[0].version", 2);
    }
  });

  it("loses only the messages of a key whose document is missing", async () => {
    await use(BOB, (session) => register(session, undefined));
    const [first] = await use(BOB, ({ reader }) => reader.walletEvents(BOB.address));
    const lost = first?.kind === "key" ? cidOfDigest(first.document) : undefined;
    const get = operator.content.get.bind(operator.content);
    operator.content.get = (cid: Cid) => (cid === lost ? Promise.resolve(null) : get(cid));
    const { data, error } = await use(BOB, (session) => history(session, ALICE.address, undefined, PASSPHRASE));
    operator.content.get = get;
    expect(error).to.equal(undefined);
    expect(data).to.have.nested.property("messages[1].text", "two");
    expect(data).to.have.nested.property("messages[0].text", null);
    expect(data).to.have.nested.property("unopenedKeys[0].code", "CONTENT_MISSING");
  });

  it("seals no new key with a passphrase that is short: nothing is paid", async () => {
    const versions = await use(BOB, ({ reader }) => reader.walletEvents(BOB.address));
    for (const weak of ["a", "eleven char", "aaaaaaaaaaaaaaaaaaaa"]) {
      const refused = await run(["keys", "register", "--passphrase"], { DMTP_PASSPHRASE: weak });
      expect([refused.code, refused.stderr]).to.satisfy(
        ([code, text]: [number, string]) => code === 1 && text.startsWith("error[PASSPHRASE_INVALID]"),
      );
    }
    expect(await use(BOB, ({ reader }) => reader.walletEvents(BOB.address))).to.have.length(versions.length);
  });

  it("takes a typed passphrase for a new key only when it is typed twice alike", async () => {
    const typing = (...lines: string[]) => {
      const asked: string[] = [];
      const ask = (prompt: string): Promise<string> => {
        asked.push(prompt);
        return Promise.resolve(lines.shift() ?? "");
      };
      return { asked, ask };
    };
    const twice = typing(PASSPHRASE, PASSPHRASE);
    expect(await readNewPassphrase({}, twice.ask)).to.equal(PASSPHRASE);
    expect(twice.asked).to.have.length(2);
    expect(await codeOfAsync(() => readNewPassphrase({}, typing(PASSPHRASE, `${PASSPHRASE}s`).ask))).to.equal(
      "OPTION_INVALID",
    );
    const given = typing();
    expect(await readNewPassphrase({ DMTP_PASSPHRASE: PASSPHRASE }, given.ask)).to.equal(PASSPHRASE);
    expect(given.asked).to.deep.equal([]);
  });

  it("gives no process that faces the network what signs, opens or logs in", () => {
    const secrets = {
      POLYGON_PRIVATE_KEY: "0x1",
      AMOY_PRIVATE_KEY: "0x1",
      DMTP_PASSPHRASE: "words",
      PINNING_TOKEN: "t",
      ETHERSCAN_API_KEY: "k",
    };
    const needed = { RPC_URL: "http://x", IPFS_API_HEADERS: "{}", PATH: "/bin", CORS_ORIGINS: "*" };
    expect(withoutSecrets({ ...secrets, ...needed })).to.deep.equal(needed);
  });
});
