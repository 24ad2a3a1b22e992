import { cpSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { EmbeddedStore } from "../../../io/content/embedded.ts";
import { encode } from "../../../protocol/cbor-encoder.ts";
import { cidOf, digestOfCid, type Cid } from "../../../protocol/cid.ts";
import { DmtpError } from "../../../protocol/error.ts";
import { DEFAULT_OPTIONS, type AnchorOptions } from "../../../tasks/anchor-options.ts";
import { rehearse } from "../../../tasks/anchor-rehearsal.ts";
import { anchor } from "../../../tasks/anchor.ts";
import { anchorsOf, sendAnchor, storeText } from "../../fixtures/anchor.ts";
import { ALICE, BOB } from "../../fixtures/history.ts";
import { Operator, type OperatorSession } from "../../fixtures/operator.ts";

describe("An anchor on top of anchors that it can't read", function () {
  this.timeout(120_000);
  let operator: Operator;

  beforeEach(async () => {
    operator = await Operator.start();
  });
  afterEach(() => operator.stop());

  /** Runs with the machine's own block folder in its data folder, and no other source. */
  async function withMachine<T>(machine: string, use: (session: OperatorSession) => Promise<T>): Promise<T> {
    const content = new EmbeddedStore(join(operator.folderOf(machine), "blocks"));
    const session = await operator.open(machine, { content });
    try {
      return await use(session);
    } finally {
      await session.close();
      await content.close();
    }
  }

  /** Messages that wait in a machine's mailbox, and are in its own block folder only. */
  async function send(machine: string, count = 1): Promise<Cid[]> {
    return withMachine(machine, async (session) => {
      const cids = await operator.send(session, count);
      await session.content.put(cids.map((cid) => ({ cid, bytes: operator.blockOf(cid).block })));
      return cids;
    });
  }

  const run = (machine: string, options: Partial<AnchorOptions> = {}) =>
    withMachine(machine, (session) => anchor(session, { ...DEFAULT_OPTIONS, ...options }));

  /** Runs it, and expects that it ends with 75 and pays nothing, with and without --dry-run. */
  async function expectRefusal(machine: string): Promise<DmtpError> {
    const nonce = await operator.anchorerNonce();
    const code = async (work: () => Promise<unknown>): Promise<DmtpError> => {
      const error: unknown = await work().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (!(error instanceof DmtpError)) throw new Error("it was not refused", { cause: error });
      return error;
    };
    const error = await code(() => run(machine));
    expect([error.code, error.kind]).to.deep.equal(["CONTENT_MISSING", "unavailable"]);
    const rehearsed = await code(() => withMachine(machine, (session) => rehearse(session, DEFAULT_OPTIONS)));
    expect(rehearsed.message).to.equal(error.message);
    expect(await operator.anchorerNonce()).to.equal(nonce);
    await withMachine(machine, (session) => {
      expect(session.mailbox.anchors.open()).to.deep.equal([]);
      return Promise.resolve();
    });
    return error;
  }

  /** What somebody finds who has the blocks of all machines. */
  async function verdicts(...machines: string[]): Promise<string[]> {
    for (const machine of machines) {
      const store = new EmbeddedStore(join(operator.folderOf(machine), "blocks"));
      for (const { event } of (await operator.replay()).anchors) {
        const manifest = event.cid === null ? null : await store.get(event.cid);
        if (event.cid === null || manifest === null) continue;
        await operator.content.put([{ cid: event.cid, bytes: manifest }]);
        for (let missing = (await operator.replay()).missing(); ; missing = (await operator.replay()).missing()) {
          let found = 0;
          for (const cid of missing) {
            const bytes = await store.get(cid);
            if (bytes === null) continue;
            await operator.content.put([{ cid, bytes }]);
            found += 1;
          }
          if (found === 0) break;
        }
      }
      await store.close();
    }
    return (await operator.replay()).anchors.map(({ verdict }) => verdict.status);
  }

  for (const isAlone of [true, false]) {
    const what = isAlone ? "in an anchor of its own" : "along with another one";
    it(`after a copy of the folder was restored whose message was anchored ${what}: nothing is paid for a repetition`, async () => {
      await send("first");
      await run("first");
      const [waiting] = await send("first");
      cpSync(operator.folderOf("first"), operator.folderOf("copy"), { recursive: true });
      if (isAlone) await run("first");
      await send("first");
      await run("first");
      const nonce = await operator.anchorerNonce();

      if (isAlone) {
        // What waits in the copy gives the very manifest of anchor 1: so the copy has its content, and the message is anchored.
        expect(anchorsOf(await run("copy"))).to.deep.equal([]);
        expect(anchorsOf(await run("copy"))).to.deep.equal([]);
        await withMachine("copy", ({ mailbox }) => {
          expect(mailbox.message(waiting!)?.anchorIndex).to.equal(1);
          return Promise.resolve();
        });
        expect(await operator.anchorerNonce()).to.equal(nonce);
        await send("copy");
      }
      const { message, hint } = await expectRefusal("copy");
      expect(message).to.match(isAlone ? /builds? on anchor 1, past anchor 2/ : /build on anchor 0, past anchor 1/);
      expect(hint).to.contain("--fork");
      await expectRefusal("copy");
      // The content comes back: it is looked for at once, and the next manifest builds on all of it.
      cpSync(join(operator.folderOf("first"), "blocks"), join(operator.folderOf("copy"), "blocks"), {
        recursive: true,
      });
      expect(anchorsOf(await run("copy"))).to.have.length(isAlone ? 1 : 0);
      expect(await verdicts("first", "copy")).to.deep.equal((await operator.replay()).anchors.map(() => "verified"));
    });
  }

  it("with an empty data folder and no source: nothing is paid, and with --fork it says what it gives up", async () => {
    await send("first", 2);
    await run("first");
    await send("empty");
    expect((await expectRefusal("empty")).message).to.contain("build on no anchor, past anchor 0,");
    const { data, text } = await run("empty", { isFork: true });
    const [anchored] = (data as { readonly anchors: { index: number; base: number | null; past: number[] }[] }).anchors;
    expect([anchored?.index, anchored?.base, anchored?.past]).to.deep.equal([1, null, [0]]);
    expect(text).to.match(/fork +past anchor 0, whose content no source has/);
    await send("empty");
    expect(anchorsOf(await run("empty"))).to.have.length(1);
    expect(await verdicts("first", "empty")).to.deep.equal(["verified", "verified", "verified"]);
  });

  it("while a source is away: nothing is paid", async () => {
    await send("first");
    await run("first");
    await send("other");
    const nonce = await operator.anchorerNonce();
    const content = new EmbeddedStore(join(operator.folderOf("other"), "blocks"));
    const away = (): Promise<never> => Promise.reject(new DmtpError("CONTENT_UNREACHABLE", "the gateway is away"));
    content.get = away;
    const session = await operator.open("other", { content });
    for (let i = 0; i < 2; i++) {
      const error: unknown = await anchor(session).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect((error as DmtpError | undefined)?.code).to.equal("CONTENT_UNREACHABLE");
    }
    expect(await operator.anchorerNonce()).to.equal(nonce);
    await session.close();
    await content.close();
  });

  it("that a thief of the hot key has posted: one run with --fork goes past them, and later ones do not need it", async () => {
    const first = await send("first");
    await run("first");
    let head = digestOfCid((await operator.replay()).anchors[0]!.event.cid!);
    for (let i = 0; i < 3; i++) {
      const junk = digestOfCid(cidOf(encode([`nobody has this ${i}`])));
      await sendAnchor(operator.deployed.anchorer, operator.deployed.deployment, head, junk);
      head = junk;
    }
    const second = await send("first");
    expect((await expectRefusal("first")).message).to.contain("build on anchor 0, past anchors 1, 2 and 3,");
    expect(anchorsOf(await run("first", { isFork: true })).map(({ index }) => index)).to.deep.equal([4]);
    const third = await send("first");
    expect(anchorsOf(await run("first")).map(({ index }) => index)).to.deep.equal([5]);
    await operator.mine(100);
    expect(anchorsOf(await run("first"))).to.deep.equal([]);
    const fourth = await send("first");
    expect(anchorsOf(await run("first")).map(({ index }) => index)).to.deep.equal([6]);
    const statuses = await verdicts("first");
    expect(statuses).to.deep.equal([
      "verified",
      ...Array<string>(3).fill("missing"),
      ...Array<string>(3).fill("verified"),
    ]);
    const replay = await operator.replay();
    expect(replay.entries(operator.conversation.room(ALICE, BOB)).map(({ cid }) => cid)).to.deep.equal(
      [first, second, third, fourth].flat(),
    );
  });

  it("of which it has none in its way: text that is no CID is skipped without a word", async () => {
    await storeText(operator.deployed.owner, operator.deployed.deployment, "a junk text");
    await send("first");
    expect(anchorsOf(await run("first")).map(({ index }) => index)).to.deep.equal([1]);
  });

  it("makes as many manifests as are needed in one run, each within the limit", async () => {
    const sent = await send("first", 7);
    const anchors = anchorsOf(await run("first", { maxMessages: 3 }));
    expect(anchors.map(({ index, messages }) => [index, messages])).to.deep.equal([
      [0, 3],
      [1, 3],
      [2, 1],
    ]);
    expect(await verdicts("first")).to.deep.equal(["verified", "verified", "verified"]);
    const replay = await operator.replay();
    expect(replay.entries(operator.conversation.room(ALICE, BOB)).map(({ cid }) => cid)).to.deep.equal(sent);
  });
});
