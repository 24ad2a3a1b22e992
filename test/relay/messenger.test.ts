import { join } from "node:path";

import { expect } from "chai";

import { IndexerClient } from "../../client/indexer.ts";
import { Messenger, type ConversationMessage } from "../../client/messenger.ts";
import { MemoryOutbox, type Outbox } from "../../client/outbox.ts";
import { Relay } from "../../client/relay.ts";
import { startIndexer, type Indexer } from "../../indexer/indexer.ts";
import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { cidOf } from "../../protocol/cid.ts";
import { decodeEnvelope, encodeEnvelope } from "../../protocol/envelope.ts";
import { findOmissions } from "../../protocol/omissions.ts";
import { DEFAULT_OPTIONS } from "../../tasks/anchor-options.ts";
import { anchorRound } from "../../tasks/anchor-round.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, History, type Person } from "../fixtures/history.ts";
import { waitForBlock, waitUntilReady } from "../fixtures/indexer-client.ts";
import { Operator } from "../fixtures/operator.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { serveRelay, waitForView, type ServedRelay } from "../fixtures/relay.ts";

type Answer = (path: string, send: () => Promise<Response>) => Promise<Response>;

describe("A messenger", function () {
  this.timeout(60_000);
  const folder = useFolder();
  let operator: Operator;
  let relay: ServedRelay;
  let indexer: Indexer;

  beforeEach(async () => {
    // A chain for each: what an earlier test anchored would be in the conversation.
    operator = await Operator.start();
    const { deployment } = operator.deployed;
    relay = await serveRelay(operator, "relay");
    indexer = await startIndexer({
      ...{ rpcs: [httpRpc(operator.chain.url)], addresses: deployment, content: operator.content },
      ...{ indexPath: join(folder(), "index.sqlite"), host: "127.0.0.1", port: 0, pollIntervalMs: 20 },
    });
    await waitUntilReady(indexer.url);
    await waitForBlock(indexer.url, await operator.deployed.provider.getBlockNumber());
  });
  afterEach(async () => {
    await indexer.close();
    await relay.close();
    await operator.stop();
  });

  /** @param answer what stands between the messenger and its relay */
  async function open(person: Person, outbox?: Outbox, answer?: Answer): Promise<Messenger> {
    const { deployment } = operator.deployed;
    const between: typeof fetch = (input, init) => {
      const url = input instanceof Request ? input.url : String(input);
      const send = (): Promise<Response> => fetch(input, init);
      return answer === undefined ? send() : answer(`${init?.method ?? "GET"} ${new URL(url).pathname}`, send);
    };
    return Messenger.open({
      ...{ deployment, wallet: person.wallet, indexer: new IndexerClient(indexer.url) },
      relay: await Relay.open(relay.url, deployment, { fetch: between }),
      ...(outbox !== undefined && { outbox }),
    });
  }

  const anchor = async (): Promise<void> => {
    await anchorRound(relay.session, DEFAULT_OPTIONS);
    await waitForBlock(indexer.url, await operator.deployed.provider.getBlockNumber());
    await waitUntilReady(indexer.url);
  };
  const texts = (messages: readonly ConversationMessage[]): (string | null)[] => messages.map(({ text }) => text);

  it("carries a conversation: pending, seen at once by the other, then anchored, the same to both", async () => {
    const [alice, bob] = [await open(ALICE), await open(BOB)];
    expect(await alice.canMessage(BOB.address)).to.equal(true);
    expect(await alice.canMessage(CAROL.address)).to.equal(false);
    const ending = new AbortController();
    const stream = bob.stream(ALICE.address, ending.signal);
    const coming = stream.next();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const sent = await alice.send(BOB.address, "Hi Bob 👋");
    expect([sent.state, sent.receipt?.cid]).to.deep.equal(["pending", sent.cid]);
    const { value } = await coming;
    expect(value).to.include({ text: "Hi Bob 👋", sender: ALICE.address, state: "pending" });
    ending.abort();
    await bob.send(ALICE.address, "Hi Alice");
    await alice.send(BOB.address, "How are you?");
    const expected = ["Hi Bob 👋", "Hi Alice", "How are you?"];
    const before = await bob.messages(ALICE.address);
    expect(texts(before)).to.deep.equal(expected);
    expect(before.every(({ state, verdict }) => state === "pending" && verdict.status === "verified")).to.equal(true);
    await anchor();
    for (const messages of [await alice.messages(BOB.address), await bob.messages(ALICE.address)]) {
      expect(texts(messages)).to.deep.equal(expected);
      expect(messages.every(({ state, verdict }) => state === "anchored" && verdict.status === "verified")).to.equal(
        true,
      );
    }
    const room = operator.conversation.room(ALICE, BOB);
    const omissions = findOmissions((await operator.replay()).entries(room));
    expect([omissions.gaps, omissions.forks, omissions.unseen]).to.deep.equal([[], [], []]);
  });

  it("does not fork two devices of one wallet that write at once", async () => {
    const devices = [await open(ALICE), await open(ALICE)];
    await Promise.all(devices.flatMap((device, i) => [1, 2, 3, 4].map((n) => device.send(BOB.address, `${i} ${n}`))));
    const seqs = (await devices[0]!.messages(BOB.address)).map(({ seq }) => seq);
    expect(seqs).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it("sends a message once whose answer was lost, however often it is sent again", async () => {
    let isLosing = true;
    const lossy = await open(ALICE, undefined, async (path, send) => {
      const response = await send();
      if (isLosing && path.startsWith("PUT")) throw new TypeError("the connection was cut");
      return response;
    });
    const sent = await lossy.send(BOB.address, "once");
    expect([sent.state, sent.problem?.code]).to.deep.equal(["unsent", "RELAY_UNREACHABLE"]);
    await lossy.flush();
    isLosing = false;
    const [known] = await lossy.flush();
    expect([known?.cid, known?.state]).to.deep.equal([sent.cid, "pending"]);
    expect(known?.receipt?.cid).to.equal(sent.cid);
    expect(texts(await lossy.messages(BOB.address))).to.deep.equal(["once"]);
  });

  it("keeps what it wrote while the relay was away, in its order, for the next run to send", async () => {
    const outbox = new MemoryOutbox();
    let isAway = true;
    const offline = await open(ALICE, outbox, (_, send) =>
      isAway ? Promise.reject(new TypeError("away")) : send(),
    ).catch(() => null);
    // Whoever can't even be asked what it is can't be opened.
    expect(offline).to.equal(null);
    isAway = false;
    const writer = await open(ALICE, outbox, (_, send) => (isAway ? Promise.reject(new TypeError("away")) : send()));
    isAway = true;
    for (const text of ["one", "two", "three"]) expect((await writer.send(BOB.address, text)).state).to.equal("unsent");
    isAway = false;
    // Another run, with the same outbox.
    const later = await open(ALICE, outbox);
    const messages = await later.messages(BOB.address);
    expect(messages.map(({ text, seq }) => [text, seq])).to.deep.equal([
      ["one", 1],
      ["two", 2],
      ["three", 3],
    ]);
  });

  it("brings again what a relay has lost that was restored from a backup, and goes on behind it", async () => {
    const outbox = new MemoryOutbox();
    const alice = await open(ALICE, outbox);
    const first = await alice.send(BOB.address, "acknowledged");
    await relay.close();
    relay = await serveRelay(operator, "restored, and empty");
    const again = await open(ALICE, outbox);
    await again.send(BOB.address, "after it");
    const messages = await again.messages(BOB.address);
    expect(messages.map(({ text, seq }) => [text, seq])).to.deep.equal([
      ["acknowledged", 1],
      ["after it", 2],
    ]);
    expect(messages[0]?.cid).to.equal(first.cid);
  });

  it("forgets what is final, and keeps the receipt of what is not", async () => {
    const outbox = new MemoryOutbox();
    const alice = await open(ALICE, outbox);
    await alice.send(BOB.address, "anchored");
    await anchor();
    expect((await alice.flush()).map(({ state }) => state)).to.deep.equal(["anchored"]);
    await operator.mine(300);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await alice.flush()).to.deep.equal([]);
    expect(await outbox.entries()).to.deep.equal([]);
  });

  describe("with a relay that lies", () => {
    /* eslint-disable @typescript-eslint/no-explicit-any -- answers as the relay gave them, to be changed */
    /** Changes the JSON that a path answers with. */
    const lie =
      (path: RegExp, change: (answer: any) => unknown): Answer =>
      async (asked, send) => {
        const response = await send();
        if (!path.test(asked) || !response.ok) return response;
        return Response.json(change(await response.json()), { status: response.status });
      };

    it("refuses a receipt that is for another message, or not signed", async () => {
      const honest = await open(ALICE);
      const other = await honest.send(BOB.address, "other");
      const stolen = await open(
        ALICE,
        undefined,
        lie(/^PUT/, ({ message }) => ({
          message: {
            ...message,
            receipt: { ...message.receipt, signature: `0x${Buffer.from(other.receipt!.signature).toString("hex")}` },
          },
        })),
      );
      const { receipt, problem } = await stolen.send(BOB.address, "mine");
      expect([receipt, problem?.code]).to.deep.equal([null, "RECEIPT_INVALID"]);
      // What it sent is not lost for that, and is sent once.
      expect((await stolen.flush()).map(({ problem: why }) => why?.code)).to.deep.equal(["RECEIPT_INVALID"]);
      expect(texts(await honest.messages(BOB.address))).to.deep.equal(["other", "mine"]);
    });

    it("opens nothing that the sender did not sign, and nothing that is not what its CID names", async () => {
      await (await open(ALICE)).send(BOB.address, "the truth");
      const changed = await open(
        BOB,
        undefined,
        lie(/pending$/, (page) => ({
          ...page,
          items: page.items.map((item: any) => {
            const envelope = decodeEnvelope(new Uint8Array(Buffer.from(item.block, "base64")));
            const block = encodeEnvelope({ ...envelope, timestamp: envelope.timestamp + 1 });
            return { ...item, cid: cidOf(block), block: Buffer.from(block).toString("base64"), receipt: null };
          }),
        })),
      );
      const [message] = await changed.messages(ALICE.address);
      expect(message?.verdict).to.include({ status: "rejected", code: "SIGNATURE_INVALID" });
      expect(message?.text).to.equal(null);

      const swapped = await open(
        BOB,
        undefined,
        lie(/pending$/, (page) => ({
          ...page,
          items: page.items.map((item: any) => ({ ...item, block: Buffer.from("other").toString("base64") })),
        })),
      );
      expect(await codeOfAsync(() => swapped.messages(ALICE.address))).to.equal("BLOCK_HASH_MISMATCH");
    });

    it("keeps bytes and promise of what the relay alone calls final, and of what it denies to have", async () => {
      const outbox = new MemoryOutbox();
      const { receipt } = await (await open(ALICE, outbox)).send(BOB.address, "owed");
      const early = await open(
        ALICE,
        outbox,
        lie(/^GET .*envelopes/, (answer) => ({ ...answer, message: { ...answer.message, state: "final" } })),
      );
      expect((await early.flush()).map(({ state }) => state)).to.deep.equal(["final"]);
      await operator.mine(5);
      await waitForView(relay.session);
      const denying = await open(ALICE, outbox, (path, send) =>
        path.includes("GET /v1/envelopes")
          ? Promise.resolve(Response.json({ code: "NOT_FOUND", detail: "no" }, { status: 404 }))
          : send(),
      );
      await denying.flush();
      expect((await outbox.entries()).map((entry) => entry.receipt)).to.deep.equal([receipt]);
    });

    it("opens, reads and sends the rest though one message can't be sent", async () => {
      const outbox = new MemoryOutbox();
      const alice = await open(ALICE, outbox);
      await alice.send(BOB.address, "good");
      const block = encodeEnvelope(new History().envelope(CAROL, BOB, { deployment: operator.deployed.deployment }));
      await outbox.put({ cid: cidOf(block), block: block.with(block.length - 200, 0), receipt: null });
      const again = await open(ALICE, outbox);
      expect(texts(await again.messages(BOB.address))).to.deep.equal(["good"]);
      expect((await again.flush()).map(({ state }) => state)).to.deep.equal(["pending", "unsent"]);
    });

    it("shows what the relay hides once it is anchored, and the receipt of it is there to judge the relay by", async () => {
      const outbox = new MemoryOutbox();
      await (await open(ALICE, outbox)).send(BOB.address, "hidden");
      const blind = await open(
        BOB,
        undefined,
        lie(/pending$/, (page) => ({ ...page, items: [] })),
      );
      expect(await blind.messages(ALICE.address)).to.deep.equal([]);
      await anchor();
      expect(texts(await blind.messages(ALICE.address))).to.deep.equal(["hidden"]);
      const [entry] = await outbox.entries();
      expect(entry?.receipt?.byBlock).to.be.greaterThan(0);
    });
  });
});
