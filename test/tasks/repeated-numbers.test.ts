import { cpSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";
import { Wallet } from "ethers";

import { openContent } from "../../io/content/open.ts";
import { dataFolder } from "../../io/data-folder.ts";
import { parseEnvironment } from "../../io/environment.ts";
import { toHex } from "../../protocol/bytes.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, digestOfCid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { DEFAULT_OPTIONS } from "../../tasks/anchor-options.ts";
import { anchor } from "../../tasks/anchor.ts";
import { send, type SendOptions } from "../../tasks/send.ts";
import { sendAnchor } from "../fixtures/anchor.ts";
import { runCommand, type Ending } from "../fixtures/command.ts";
import { ALICE, BOB, CAROL, type Person } from "../fixtures/history.ts";
import { Operator, type OperatorSession } from "../fixtures/operator.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

describe("send, where messages of the sender's may be missing", function () {
  this.timeout(120_000);
  let operator: Operator;

  beforeEach(async () => {
    operator = await Operator.start({ chainId: 80_002 });
  });
  afterEach(() => operator.stop());

  /** Where a machine keeps its blocks: nobody else has them. */
  const blocksOf = (machine: string): string =>
    join(
      dataFolder(operator.deployed.deployment, parseEnvironment({ DMTP_DATA_DIR: operator.folderOf(machine) })),
      "blocks",
    );

  /** A machine that has what it wrote itself, key documents, and what lies in the blocks of others. */
  async function use<T>(
    machine: string,
    person: Person,
    sources: readonly string[],
    work: (session: OperatorSession) => Promise<T>,
  ): Promise<T> {
    const environment = parseEnvironment({
      DMTP_DATA_DIR: operator.folderOf(machine),
      CONTENT_SOURCES: [operator.folderOf("blocks"), ...sources].join(","),
    });
    const quiet = (): void => undefined;
    const content = openContent(environment, dataFolder(operator.deployed.deployment, environment), {
      warn: quiet,
      onFault: quiet,
    });
    const wallet = new Wallet(toHex(person.wallet.privateKey), operator.deployed.provider);
    const session = await operator.open(machine, { environment, content, signers: () => Promise.resolve([wallet]) });
    try {
      return await work(session);
    } finally {
      await session.close();
      await content.close();
    }
  }

  /** The number that a message got. */
  const write = (
    machine: string,
    {
      from = ALICE,
      to = BOB,
      sources = [],
      ...options
    }: SendOptions & { from?: Person; to?: Person; sources?: readonly string[] } = {},
  ): Promise<number | undefined> =>
    use(machine, from, sources, async (session) => {
      const drafts = [{ to: to.address, content: contentOfText("a message") }];
      const { data } = await send(session, undefined, drafts, undefined, options);
      return (data as { readonly messages: readonly { readonly seq: number }[] }).messages[0]?.seq;
    });
  const anchorFrom = (machine: string): Promise<unknown> => use(machine, ALICE, [], (session) => anchor(session));
  const expectRefusal = async (act: () => Promise<unknown>, code = "CONTENT_MISSING"): Promise<void> => {
    expect(await codeOfAsync(act)).to.equal(code);
  };

  it("from an empty folder ends with 75 before anything is kept, and goes on when told so, once", async () => {
    await write("first");
    await anchorFrom("first");
    const run = (...options: string[]): Promise<Ending> =>
      runCommand(
        {
          url: operator.chain.url,
          deployment: operator.deployed.deployment,
          dataDir: operator.folderOf("empty"),
          privateKey: toHex(ALICE.wallet.privateKey),
        },
        ["send", "--to", BOB.address, "--text", "hello", "--json", ...options],
        { CONTENT_SOURCES: operator.folderOf("blocks") },
      );
    const refused = await run();
    expect(refused.code).to.equal(75);
    expect(refused.stderr).to.match(/^error\[CONTENT_MISSING\]: the next number .* anchor 0 lists what no source has/);
    expect(refused.stderr).to.contain("Nothing was sent.");
    await use("empty", ALICE, [], ({ mailbox }) => Promise.resolve(expect(mailbox.counts().messages).to.equal(0)));

    const told = await run("--accept-missing");
    expect([told.code, JSON.parse(told.stdout)]).to.have.nested.property("[1].messages[0].seq", 1);
    expect(told.stderr).to.contain("warning[CONTENT_MISSING]: the next number in the room with");
    expect(await write("empty")).to.equal(2);
    // What comes later is missing anew.
    await write("first");
    await anchorFrom("first");
    await expectRefusal(() => write("empty"));
  });

  it("from a restored copy ends with 75, and counts on when a source has what the copy lacks", async () => {
    await write("first");
    await anchorFrom("first");
    cpSync(operator.folderOf("first"), operator.folderOf("copy"), { recursive: true });
    await write("first");
    await anchorFrom("first");
    await expectRefusal(() => write("copy"));
    // At once: it does not wait for the pause to be over that a look for missing content has.
    expect(await write("copy", { sources: [blocksOf("first")] })).to.equal(3);
    await anchorFrom("copy");
    expect(await write("copy")).to.equal(4);
  });

  it("goes on in the room that was accepted only, and only while the chain has what was accepted", async () => {
    await operator.conversation.register(CAROL);
    const { anchorer, deployment } = operator.deployed;
    const snapshot = await operator.dev("evm_snapshot");
    const store = (what: string): Promise<unknown> =>
      sendAnchor(anchorer, deployment, new Uint8Array(32), digestOfCid(cidOf(encode(what))));
    await store("nobody has this");
    await expectRefusal(() => write("first"));
    await write("first", { acceptsMissing: true });
    expect(await write("first")).to.equal(2);
    await expectRefusal(() => write("first", { to: CAROL }));
    // A reorg: the same place has another anchor now.
    await operator.dev("evm_revert", snapshot);
    await store("nor has anybody that");
    await expectRefusal(() => write("first"));
  });

  it("while a source is away keeps nothing", async () => {
    await write("first");
    await anchorFrom("first");
    await expectRefusal(() => write("second", { sources: ["http://127.0.0.1:1"] }), "CONTENT_UNREACHABLE");
    await use("second", ALICE, [], ({ mailbox }) => Promise.resolve(expect(mailbox.counts().messages).to.equal(0)));
    expect(await write("second", { sources: [blocksOf("first")] })).to.equal(2);
  });

  it("goes on where what is missing was anchored before the key was registered", async () => {
    await write("first");
    await anchorFrom("first");
    await operator.conversation.register(CAROL);
    expect(await write("carol", { from: CAROL })).to.equal(1);
  });

  it("goes on once a later message of the sender's is anchored, whose number is above all that may be missing", async () => {
    await write("first");
    const nothing = digestOfCid(cidOf(encode("nobody has this")));
    const { anchorer, deployment } = operator.deployed;
    await sendAnchor(anchorer, deployment, new Uint8Array(32), nothing);
    await expectRefusal(() => write("first"));
    await use("first", ALICE, [], (session) => anchor(session, { ...DEFAULT_OPTIONS, isFork: true }));
    expect(await write("first")).to.equal(2);
  });
});
