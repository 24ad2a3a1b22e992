import { expect } from "chai";
import { Wallet } from "ethers";

import { sendRevoke } from "../../fixtures/registry-transactions.ts";
import { toHex } from "../../../protocol/bytes.ts";
import type { Cid } from "../../../protocol/cid.ts";
import { anchor } from "../../../tasks/anchor.ts";
import { audit } from "../../../tasks/audit.ts";
import { status } from "../../../tasks/status.ts";
import { anchorsOf } from "../../fixtures/anchor.ts";
import { runCommand } from "../../fixtures/command.ts";
import { ALICE, BOB, CAROL, type Person } from "../../fixtures/history.ts";
import { Operator, type OperatorSession } from "../../fixtures/operator.ts";

interface MailboxStatus {
  readonly messages: number;
  readonly unanchored: number;
  readonly isCurrent: boolean;
  readonly held: readonly { readonly code: string; readonly count: number }[];
  readonly refused: readonly { readonly cid: Cid; readonly code: string; readonly anchorIndex: number }[];
}

describe("A message whose keys come after its anchor", function () {
  this.timeout(60_000);
  let operator: Operator;
  let session: OperatorSession;

  beforeEach(async () => {
    operator = await Operator.start({ chainId: 80_002 });
    await operator.dev("anvil_setBalance", CAROL.address, "0x56bc75e2d63100000");
    await operator.mine();
    session = await operator.open();
  });
  afterEach(async () => {
    await session.close();
    await operator.stop();
  });

  async function send(from: Person, to: Person): Promise<Cid> {
    const cid = await operator.conversation.send(from, to, "a message");
    session.mailbox.add([{ cid, ...operator.blockOf(cid) }]);
    return cid;
  }

  async function mailboxStatus(): Promise<MailboxStatus> {
    const { data, text } = await status(session);
    const { mailbox } = data as { readonly mailbox: MailboxStatus };
    for (const { code } of [...mailbox.held, ...mailbox.refused]) expect(text).to.contain(code);
    return mailbox;
  }

  /** The raw transactions of the newest blocks, in their order. */
  async function newest(count: number): Promise<string[]> {
    const raws: string[] = [];
    const height = Number(await operator.dev("eth_blockNumber"));
    for (let number = height - count + 1; number <= height; number++) {
      const block = (await operator.dev("eth_getBlockByNumber", `0x${number.toString(16)}`, false)) as {
        readonly transactions: readonly string[];
      };
      for (const hash of block.transactions) raws.push(String(await operator.dev("eth_getRawTransactionByHash", hash)));
    }
    return raws;
  }

  /** Puts these transactions into the newest blocks in place of what is there, each in a block of its own. */
  const reorganize = (depth: number, raws: readonly string[]): Promise<unknown> =>
    operator.dev(
      "anvil_reorg",
      depth,
      raws.map((raw, i) => [raw, i]),
    );

  for (const [who, from, to, code] of [
    ["sender", CAROL, BOB, "KEY_UNKNOWN"],
    ["receiver", ALICE, CAROL, "RECEIVER_KEY_UNKNOWN"],
  ] as const) {
    it(`of the ${who}, by a reorg: it waits again, status says so, and the next anchor verifies it`, async () => {
      await operator.conversation.register(CAROL);
      const cid = await send(from, to);
      expect(anchorsOf(await anchor(session))).to.have.length(1);
      expect(await mailboxStatus()).to.include({ messages: 1, unanchored: 0, isCurrent: true });
      const [registration, anchoring] = (await newest(2)) as [string, string];
      await reorganize(2, [anchoring, registration]);

      expect(await mailboxStatus()).to.deep.include({ unanchored: 1, isCurrent: true, held: [], refused: [] });
      const before = await audit(session);
      expect(before.data).to.deep.include({ messages: { verified: 0, rejected: 1, missing: 0 } });
      expect(before.text).to.contain(code);
      expect(before.error?.code).to.equal("HISTORY_NOT_VERIFIED");
      expect(anchorsOf(await anchor(session)).map(({ index, messages }) => [index, messages])).to.deep.equal([[1, 1]]);
      expect(await mailboxStatus()).to.deep.include({ unanchored: 0, held: [], refused: [] });
      expect(session.mailbox.message(cid)?.anchorIndex).to.equal(1);
      const after = await audit(session);
      expect(after.data).to.deep.include({ messages: { verified: 1, rejected: 1, missing: 0 }, verifiedElsewhere: 1 });
      expect(after.text).to.match(new RegExp(`${code}: .*, verified at another place`));
      expect(after.error).to.equal(undefined);
      expect(anchorsOf(await anchor(session))).to.deep.equal([]);
      await operator.mine(100);
      expect(anchorsOf(await anchor(session))).to.deep.equal([]);
      expect(session.mailbox.anchors.open()).to.deep.equal([]);
    });
  }

  it("by a reorg between two runs of the commands: what was acknowledged is anchored again", async () => {
    await operator.conversation.register(CAROL);
    const cid = await send(CAROL, BOB);
    const run = async (...args: string[]): Promise<{ readonly code: number | null; readonly data: unknown }> => {
      const { deployment, anchorer } = operator.deployed;
      const place = { url: operator.chain.url, deployment, dataDir: operator.folderOf("first") };
      const { code, stdout } = await runCommand({ ...place, privateKey: anchorer.privateKey }, [...args, "--json"], {
        CONTENT_SOURCES: operator.folderOf("blocks"),
      });
      return { code, data: JSON.parse(stdout) };
    };
    expect((await run("anchor")).code).to.equal(0);
    const [registration, anchoring] = (await newest(2)) as [string, string];
    await reorganize(2, [anchoring, registration]);
    expect((await run("status")).data).to.have.nested.property("mailbox.unanchored", 1);
    expect((await run("audit")).code).to.equal(65);
    expect((await run("anchor")).code).to.equal(0);
    const audited = await run("audit", "--room", operator.conversation.room(CAROL, BOB));
    expect(audited.code).to.equal(0);
    const { rooms } = audited.data as { rooms: { entries: { cid: Cid; verdict: { status: string } }[] }[] };
    expect(rooms[0]?.entries.map((entry) => [entry.cid, entry.verdict.status])).to.deep.equal([
      [cid, "rejected"],
      [cid, "verified"],
    ]);
  });

  it("that a reorg has taken off the chain is held back, and nothing is paid for it, until the key is there again", async () => {
    await operator.conversation.register(CAROL);
    await send(CAROL, BOB);
    await anchor(session);
    const [registration, anchoring] = (await newest(2)) as [string, string];
    await reorganize(2, [anchoring]);
    const nonce = await operator.anchorerNonce();
    expect(anchorsOf(await anchor(session))).to.deep.equal([]);
    expect(operator.notes.join("\n")).to.contain("1 message held back, KEY_UNKNOWN");
    expect(await mailboxStatus()).to.deep.include({ unanchored: 1, held: [{ code: "KEY_UNKNOWN", count: 1 }] });
    expect(await operator.anchorerNonce()).to.equal(nonce);
    await operator.dev("eth_sendRawTransaction", registration);
    expect(anchorsOf(await anchor(session))).to.have.length(1);
    expect((await audit(session)).data).to.deep.include({ messages: { verified: 1, rejected: 1, missing: 0 } });
  });

  it("is not counted anchored by a machine that read the anchor in a replay either", async () => {
    await operator.conversation.register(CAROL);
    const cid = await send(CAROL, BOB);
    const other = await operator.open("other");
    other.mailbox.add([{ cid, ...operator.blockOf(cid) }]);
    await anchor(session);
    expect(anchorsOf(await anchor(other))).to.deep.equal([]);
    expect(other.mailbox.counts().unanchored).to.equal(0);
    const [registration, anchoring] = (await newest(2)) as [string, string];
    await reorganize(2, [anchoring, registration]);
    expect(anchorsOf(await anchor(other)).map(({ messages }) => messages)).to.deep.equal([1]);
    expect(anchorsOf(await anchor(session))).to.deep.equal([]);
    expect((await audit(session)).data).to.deep.include({ messages: { verified: 1, rejected: 1, missing: 0 } });
    await other.close();
  });

  it("and was revoked before it, by a reorg, is told once with its code and not tried again", async () => {
    const cid = await send(ALICE, BOB);
    await anchor(session);
    await sendRevoke(
      new Wallet(toHex(ALICE.wallet.privateKey), operator.deployed.provider),
      operator.deployed.deployment,
    );
    const [anchoring, revocation] = (await newest(2)) as [string, string];
    await reorganize(2, [revocation, anchoring]);
    const nonce = await operator.anchorerNonce();
    const { data } = await anchor(session);
    expect(data).to.deep.include({ anchored: 0, refused: [{ cid, code: "KEY_REVOKED", anchorIndex: 0 }] });
    expect(operator.notes.join("\n")).to.contain(`message ${cid} of anchor 0 is rejected for good, KEY_REVOKED`);
    expect((await anchor(session)).data).to.deep.include({ anchored: 0, refused: [] });
    expect(await mailboxStatus()).to.deep.include({
      unanchored: 0,
      held: [],
      refused: [{ cid, code: "KEY_REVOKED", anchorIndex: 0 }],
    });
    expect(await operator.anchorerNonce()).to.equal(nonce);
  });

  it("and was revoked before anything was paid for it is held back", async () => {
    await send(ALICE, BOB);
    await sendRevoke(
      new Wallet(toHex(ALICE.wallet.privateKey), operator.deployed.provider),
      operator.deployed.deployment,
    );
    const nonce = await operator.anchorerNonce();
    expect((await anchor(session)).data).to.deep.include({ anchored: 0, held: [{ code: "KEY_REVOKED", count: 1 }] });
    expect(await operator.anchorerNonce()).to.equal(nonce);
  });
});
