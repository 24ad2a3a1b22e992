import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import { ChainClient } from "../../../io/chain/client.ts";
import { httpRpc } from "../../../io/chain/rpc/http-rpc.ts";
import { LocalAccount } from "../../../io/chain/transactions/account.ts";
import { checksummed } from "../../../protocol/address.ts";
import { digestOfCid } from "../../../protocol/cid.ts";
import type { DmtpError } from "../../../protocol/error.ts";
import { DEFAULT_OPTIONS, parseAnchorOptions, parseInterval } from "../../../tasks/anchor-options.ts";
import { anchorRound } from "../../../tasks/anchor-round.ts";
import { rehearse } from "../../../tasks/anchor-rehearsal.ts";
import { Operator, type OperatorSession } from "../../fixtures/operator.ts";
import { codeOf, codeOfAsync } from "../../fixtures/refusal.ts";

describe("An anchor under conditions that it cannot work under", () => {
  let operator: Operator;
  let session: OperatorSession;
  let nonce: number;

  beforeEach(async () => {
    operator = await Operator.start();
    session = await operator.open();
    await operator.send(session, 2);
    nonce = await operator.anchorerNonce();
  });
  afterEach(async () => {
    await session.close();
    await operator.stop();
  });

  const run = () => anchorRound(session, DEFAULT_OPTIONS);
  const refusal = async (): Promise<DmtpError> => {
    const error: unknown = await run().then(
      () => null,
      (thrown: unknown) => thrown,
    );
    return error as DmtpError;
  };
  const file = () => join(session.folder, "mailbox.sqlite");

  async function expectNothingDone(): Promise<void> {
    expect(await operator.anchorerNonce()).to.equal(nonce);
    expect((await operator.replay()).anchors).to.deep.equal([]);
    expect(session.mailbox.counts().unanchored).to.equal(2);
  }

  it("names the account that may anchor when another one is used", async () => {
    const { owner, anchorer } = operator.deployed;
    await session.close();
    session = await operator.open("first", { accounts: () => Promise.resolve([new LocalAccount(owner.privateKey)]) });
    const { code, message } = await refusal();
    expect(code).to.equal("NOT_ANCHORER");
    expect(message).to.contain(anchorer.address).and.to.contain(owner.address);
    await expectNothingDone();
  });

  it("refuses another chain, an address without code, and another contract", async () => {
    const { cidStore, keyRegistry } = operator.deployed.deployment;
    const rpcs = [httpRpc(operator.chain.url)];
    expect(await codeOfAsync(() => ChainClient.open(rpcs, { cidStore, keyRegistry }, { chainId: 137 }))).to.equal(
      "CHAIN_ID_WRONG",
    );
    const nobody = { cidStore: keyRegistry.replace(/.$/, "0") as typeof cidStore, keyRegistry };
    expect(await codeOfAsync(() => ChainClient.open(rpcs, nobody))).to.equal("CONTRACT_MISSING");
    expect(await codeOfAsync(() => ChainClient.open(rpcs, { cidStore: keyRegistry, keyRegistry }))).to.equal(
      "CONTRACT_WRONG",
    );
  });

  it("refuses a node whose head is not its last entry", async () => {
    await run();
    await operator.send(session, 1);
    const head = operator.deployed.deployment.cidStore;
    const lie = `0x${"11".repeat(32)}`;
    session.faulty.answer("eth_call", async (call, inner) => {
      const [{ to, data }] = call.params as [{ to: string; data: string }];
      return to === head && data === "0x8f7dcfa3" ? lie : inner.request(call);
    });
    const { code, kind } = await refusal();
    expect([code, kind]).to.deep.equal(["CHAIN_DISAGREES", "integrity"]);
    expect(await operator.anchorerNonce()).to.equal(nonce + 1);
    session.faulty.mend();
    expect((await run()).anchored).to.have.length(1);
  });

  it("puts messages again that the block store has lost, and says so", async () => {
    const page = session.mailbox.unpinned(0, 2);
    const [cid] = page.cids;
    await operator.content.pin(page.cids);
    session.mailbox.keepPinsOf(operator.content.name);
    session.mailbox.markPinned(page);
    lose(cid!);
    expect((await run()).anchored).to.have.length(1);
    expect(operator.notes.join("\n")).to.contain("had lost 1 message");
    expect(await operator.anchoredCids()).to.have.length(2);
  });

  it("names a message that neither block store nor mailbox has any more, and anchors nothing", async () => {
    const page = session.mailbox.unpinned(0, 2);
    const [cid] = page.cids;
    session.mailbox.markPinned(page);
    lose(cid!);
    const database = new Database(file());
    database.pragma("foreign_keys = OFF");
    database.prepare("DELETE FROM messages WHERE cid = ?").run(cid);
    database.close();
    const { code, message } = await refusal();
    expect(code).to.be.oneOf(["CONTENT_MISSING", "DATABASE_DAMAGED"]);
    expect(message).to.contain(cid);
    expect(await operator.anchorerNonce()).to.equal(nonce);
  });

  it("refuses a mailbox in which a message has other bytes that the block store lacks, and names the message", async () => {
    const [cid] = session.mailbox.unpinned(0, 1).cids;
    lose(cid!);
    const database = new Database(file());
    database.prepare("UPDATE messages SET envelope = x'a0' WHERE cid = ?").run(cid);
    database.close();
    const { code, message } = await refusal();
    expect(code).to.equal("DATABASE_DAMAGED");
    expect(message).to.contain(cid);
    expect(await operator.anchorerNonce()).to.equal(nonce);
  });

  for (const [what, sql] of [
    ["another room", "UPDATE cids SET room = replace(room, substr(room, 3, 1), 'f') WHERE id = 1"],
    ["another CID", "UPDATE cids SET cid = replace(cid, substr(cid, 20, 1), '7') WHERE id = 1"],
  ] as const) {
    it(`refuses a mailbox that lists a message with ${what} than it has`, async () => {
      const database = new Database(file());
      expect(database.prepare(sql).run().changes).to.equal(1);
      database.close();
      expect((await refusal()).code).to.equal("DATABASE_DAMAGED");
      expect(await operator.anchorerNonce()).to.equal(nonce);
    });
  }

  it("takes no damaged row of the journal for true: at most one anchor, and nothing is lost", async () => {
    const update = (change: string): string => `UPDATE journal SET ${change} WHERE state = 'submitted'`;
    const changes = [
      update("prev = zeroblob(32)"),
      update("entry_index = entry_index + 1"),
      update("count = count + 1"),
      update("manifest = replace(manifest, substr(manifest, 30, 1), '7')"),
      "DELETE FROM listings WHERE message_id = (SELECT max(message_id) FROM listings)",
    ];
    for (const change of changes) {
      const [cid] = await operator.send(session, 1);
      session.faulty.lose("eth_sendRawTransaction", "before", Infinity);
      expect(await codeOfAsync(() => anchorRound(session, { ...DEFAULT_OPTIONS, timeoutMs: 50 })), change).to.not.equal(
        null,
      );
      session.faulty.mend();
      const database = new Database(file());
      expect(database.prepare(change).run().changes, change).to.equal(1);
      database.close();
      await run();
      expect(session.mailbox.counts().unanchored, change).to.equal(0);
      expect(
        (await operator.anchoredCids()).filter((each) => each === cid),
        change,
      ).to.have.length(1);
    }
  });

  it("takes the nonce again of a transaction that the disk gave other bytes back of", async () => {
    session.faulty.lose("eth_sendRawTransaction", "before", Infinity);
    await codeOfAsync(() => anchorRound(session, { ...DEFAULT_OPTIONS, timeoutMs: 50 }));
    session.faulty.mend();
    const database = new Database(file());
    expect(database.prepare("UPDATE attempts SET raw = replace(raw, substr(raw, 60, 2), '00')").run().changes).to.equal(
      1,
    );
    database.close();
    expect((await run()).anchored).to.have.length(1);
    expect(await operator.anchorerNonce()).to.equal(nonce + 1);
  });

  it("does not mind a clock that jumps", async () => {
    for (const now of [0, 4_102_444_800_000, 1_000]) {
      await session.close();
      session = await operator.open("first", { now: () => now });
      await operator.send(session, 1);
      expect((await run()).anchored).to.have.length(1);
    }
    expect(await operator.anchoredCids()).to.have.length(5);
  });

  it("says in a dry run what it would do and pay, and writes nothing anywhere", async () => {
    expect(session.mailbox.counts().messages).to.equal(2);
    const before = dump();
    const { data } = await rehearse(session, DEFAULT_OPTIONS);
    expect(dump()).to.deep.equal(before);
    await expectNothingDone();
    const { anchored } = await run();
    const [{ manifest, transaction }] = anchored as [(typeof anchored)[0]];
    expect(data).to.include({
      dryRun: true,
      index: 0,
      messages: 2,
      rooms: 1,
      manifest: manifest.cid,
      isWithinCaps: true,
    });
    expect(data).to.have.property("digest", `0x${Buffer.from(digestOfCid(manifest.cid)).toString("hex")}`);
    expect(data).to.have.property(
      "anchorer",
      checksummed(new LocalAccount(operator.deployed.anchorer.privateKey).address),
    );
    const { gasLimit, maxCostWei } = data as { gasLimit: string; maxCostWei: string };
    expect(BigInt(gasLimit) >= transaction.gasUsed && transaction.cost <= BigInt(maxCostWei)).to.equal(true);
    expect((await rehearse(session, DEFAULT_OPTIONS)).data).to.deep.equal({ dryRun: true, messages: 0 });
  });

  it("sees in a dry run what other machines anchored, and keeps nothing of it", async () => {
    const other = await operator.open("other");
    await operator.send(other, 1);
    await anchorRound(other, DEFAULT_OPTIONS);
    await other.close();
    const before = dump();
    expect((await rehearse(session, DEFAULT_OPTIONS)).data).to.include({ index: 1, messages: 2 });
    expect(dump()).to.deep.equal(before);
  });

  function lose(cid: string): void {
    const database = new Database(join(operator.folderOf("blocks"), "blocks.db"));
    expect(database.prepare("DELETE FROM blocks WHERE digest = ?").run(digestOfCid(cid as never)).changes).to.equal(1);
    database.close();
  }

  /** Every row of the mailbox. */
  function dump(): unknown {
    const database = new Database(file(), { readonly: true });
    const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all() as string[];
    const rows = tables.map((table) => [table, database.prepare(`SELECT * FROM ${table}`).all()]);
    database.close();
    return rows;
  }
});

describe("The options of anchor", () => {
  const none = {
    ...{ from: undefined, maxFee: undefined, maxCost: undefined, confirmations: undefined, timeout: undefined },
    ...{ interval: undefined, waitFinal: false, dryRun: false, fork: false, watch: false, json: false },
  };

  it("are by default no cap on the fee, half a POL in all, one confirmation and five minutes", () => {
    expect(parseAnchorOptions(none)).to.deep.equal(DEFAULT_OPTIONS);
  });

  it("take amounts with decimals", () => {
    const { limits } = parseAnchorOptions({ ...none, maxFee: "30.5", maxCost: "0.001" });
    expect(limits).to.deep.equal({ maxFeePerGas: 30_500_000_000n, maxCost: 10n ** 15n });
  });

  it("refuse what is no amount, no number, or does not go together", () => {
    for (const args of [
      ...["0", "-1", "1e9", "", "a", "1,5", "0.0", "1.0000000001", "NaN"].map((maxFee) => ({ maxFee })),
      ...["0", "x", "1/2"].map((maxCost) => ({ maxCost })),
      ...["0", "1.5", "10001", "-1"].map((confirmations) => ({ confirmations })),
      { timeout: "0" },
      { interval: "60" },
      { watch: true, fork: true },
      { watch: true, dryRun: true },
      { watch: true, waitFinal: true },
    ]) {
      expect(
        codeOf(() => parseAnchorOptions({ ...none, ...args })),
        JSON.stringify(args),
      ).to.equal("OPTION_INVALID");
    }
    for (const interval of ["0", "x", "86401", ""])
      expect(codeOf(() => parseInterval(interval))).to.equal("OPTION_INVALID");
    expect(parseInterval(undefined)).to.equal(600);
  });
});
