import { gzipSync } from "node:zlib";

import { expect } from "chai";
import { id, Wallet } from "ethers";

import { readNext, type RelayEvent } from "../../client/relay.ts";
import { toHex } from "../../protocol/bytes.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import { encodeEnvelope, type EnvelopeHeader } from "../../protocol/envelope.ts";
import { DmtpError } from "../../protocol/error.ts";
import { checkReceipt, judgePromise } from "../../protocol/receipt.ts";
import { DEFAULT_OPTIONS } from "../../tasks/anchor-options.ts";
import { anchorRound } from "../../tasks/anchor-round.ts";
import { DEFAULT_LIMITS } from "../../relay/limits.ts";
import { ALICE, BOB, CAROL, History } from "../fixtures/history.ts";
import { Operator } from "../fixtures/operator.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { authorize, serveRelay, waitForView, type ServedRelay } from "../fixtures/relay.ts";

const TYPE = "application/vnd.ipld.dag-cbor";
/** The selector of revoke(). */
const REVOKE = id("revoke()").slice(0, 10);

/** The first event that this is true of. */
async function find(events: AsyncIterable<RelayEvent>, is: (event: RelayEvent) => boolean): Promise<RelayEvent> {
  for await (const event of events) if (is(event)) return event;
  throw new Error("the stream has ended");
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe("A relay", () => {
  const history = new History();
  const seal = history.envelope.bind(history);
  let operator: Operator;
  let relay: ServedRelay;
  let made = 0;

  /** A message that exists nowhere but here. */
  const write = (text: string, header: Partial<EnvelopeHeader> = {}): { cid: Cid; block: Uint8Array } => {
    const block = encodeEnvelope(
      seal(ALICE, BOB, {
        deployment: operator.deployed.deployment,
        text,
        header: { timestamp: 1_700_000_000_000 + made++, ...header },
      }),
    );
    return { cid: cidOf(block), block };
  };
  const send = (
    { cid, block }: { cid: Cid; block: Uint8Array },
    headers: Record<string, string> = {},
  ): Promise<Response> =>
    fetch(`${relay.url}/v1/envelopes/${cid}`, {
      method: "PUT",
      headers: { "Content-Type": TYPE, ...headers },
      body: block as Uint8Array<ArrayBuffer>,
    });
  const next = async (): Promise<number> => {
    const room = operator.conversation.room(ALICE, BOB);
    return (await relay.client.findNext(room, ALICE.address, 1)).seq;
  };
  const stored = (): number => relay.session.mailbox.counts().messages;

  before(async () => {
    operator = await Operator.start();
  });
  after(() => operator.stop());
  beforeEach(async function () {
    relay = await serveRelay(operator, this.currentTest?.title ?? "relay");
  });
  afterEach(() => relay.close());

  it("takes a message once, promises by when it is anchored, and keeps the promise", async () => {
    const { client, session } = relay;
    const { deployment } = operator.deployed;
    const message = write("through the relay", { seq: await next() });
    const taken = await client.put(message.cid, message.block);
    expect(taken.state).to.equal("pending");
    const { receipt } = taken;
    if (receipt === null || client.key === null) throw new Error("no receipt");
    checkReceipt(deployment, message.cid, receipt, client.key);

    const again = await send(message);
    expect([again.status, (await again.json()).message.receipt.signature]).to.deep.equal([
      200,
      `0x${Buffer.from(receipt.signature).toString("hex")}`,
    ]);
    expect(stored()).to.equal(1);

    await anchorRound(session, DEFAULT_OPTIONS);
    const anchored = await client.message(message.cid);
    expect(anchored?.state).to.equal("anchored");
    const listedAt = anchored?.anchor?.blockNumber ?? Number.NaN;
    expect(judgePromise(receipt, listedAt, listedAt, true)).to.equal("kept");
    expect(await operator.anchoredCids()).to.include(message.cid);

    await operator.mine(300);
    await waitForView(session);
    expect((await client.message(message.cid))?.state).to.equal("final");
  });

  it("tells who listens of a message when it comes, when it is anchored, and after a break of what came since", async () => {
    const { client, session } = relay;
    const ending = new AbortController();
    const wallet = BOB.address;
    const message = write("live", { seq: await next() });
    const coming = find(client.live({ wallet, signal: ending.signal }), ({ name }) => name === "message");
    await new Promise((resolve) => setTimeout(resolve, 100));
    await client.put(message.cid, message.block);
    const first = await coming;
    expect(first.name === "message" && first.message.block).to.deep.equal(message.block);
    await anchorRound(session, DEFAULT_OPTIONS);
    const later = await find(
      client.live({ wallet, after: first.id, signal: ending.signal }),
      (event) => event.name === "message" && event.message.cid === message.cid,
    );
    expect(later.name === "message" && [later.message.state, later.message.block]).to.deep.equal(["anchored", null]);
    ending.abort();
  });

  it("lists what is pending, by room and by wallet, in the order in which it came", async () => {
    const { client, session } = relay;
    const sent: Cid[] = [];
    for (let i = 0; i < 60; i++) {
      const { cid, block } = write(`number ${i}`, { seq: await next() });
      await client.put(cid, block);
      sent.push(cid);
    }
    const room = operator.conversation.room(ALICE, BOB);
    const inRoom = await collect(client.pendingInRoom(room));
    expect(inRoom.map(({ cid }) => cid)).to.deep.equal(sent);
    const ofBob = await collect(client.pendingOfWallet(BOB.address));
    expect(ofBob.map(({ cid }) => cid)).to.deep.equal(sent);
    expect(await collect(client.pendingOfWallet(CAROL.address))).to.deep.equal([]);
    await anchorRound(session, DEFAULT_OPTIONS);
    expect(await collect(client.pendingInRoom(room))).to.deep.equal([]);
  });

  it("names the next number and the heads where another message has the number", async () => {
    const { client } = relay;
    const first = write("first", { seq: await next() });
    await client.put(first.cid, first.block);
    const second = write("second, with the same number", { seq: 1 });
    const error = await client.put(second.cid, second.block).catch((thrown: unknown) => thrown);
    if (!(error instanceof DmtpError)) throw new Error("it was taken");
    expect(error.code).to.equal("SEQ_TAKEN");
    const { seq, seen } = readNext(error.members);
    expect(seq).to.equal(2);
    const third = write("the same text, with the next number", { seq, seen: [...seen] });
    expect((await client.put(third.cid, third.block)).state).to.equal("pending");
    expect(stored()).to.equal(2);
  });

  it("takes one of many messages with one number that come at once, and refuses the others", async () => {
    const all = Array.from({ length: 40 }, (_, i) => write(`twin ${i}`, { seq: 1 }));
    const statuses = (await Promise.all(all.map((message) => send(message)))).map(({ status }) => status);
    expect(statuses.filter((status) => status === 201)).to.have.length(1);
    expect(statuses.filter((status) => status === 409)).to.have.length(39);
    expect(stored()).to.equal(1);
  });

  it("refuses what no anchor could make right, says why, and keeps none of it", async () => {
    const { deployment } = operator.deployed;
    const good = write("good", { seq: 1 });
    const other = { ...deployment, keyRegistry: deployment.cidStore };
    const encoded = (envelope: ReturnType<typeof seal>): { cid: Cid; block: Uint8Array } => {
      const block = encodeEnvelope(envelope);
      return { cid: cidOf(block), block };
    };
    const signed = seal(ALICE, BOB, { deployment, text: "forged" });
    const flipped = { ...signed, signature: signed.signature.map((byte, i) => (i === 40 ? byte ^ 1 : byte)) };
    const cases: [name: string, answer: Promise<Response>, status: number, code: string][] = [
      ["one bit of the signature", send(encoded(flipped)), 422, "SIGNATURE_INVALID"],
      ["another deployment", send(encoded(seal(ALICE, BOB, { deployment: other }))), 422, "ROOM_MISMATCH"],
      ["a sender without a key", send(encoded(seal(CAROL, BOB, { deployment }))), 409, "KEY_UNKNOWN"],
      [
        "a key version to come",
        send(encoded(seal(ALICE, BOB, { deployment, senderKeyVersion: 2 }))),
        409,
        "KEY_UNKNOWN",
      ],
      ["a receiver without a key", send(encoded(seal(ALICE, CAROL, { deployment }))), 409, "RECEIVER_KEY_UNKNOWN"],
      ["a clock ahead", send(write("late", { seq: 1, timestamp: Date.now() + 3_600_000 })), 422, "CLOCK_AHEAD"],
      ["another CID", send({ ...good, cid: cidOf(Uint8Array.of(1)) }), 400, "BLOCK_HASH_MISMATCH"],
      ["no envelope", send({ cid: cidOf(Uint8Array.of(0xa0)), block: Uint8Array.of(0xa0) }), 422, "ENVELOPE_MALFORMED"],
      ["no CID", send({ ...good, cid: "bafy" as Cid }), 400, "PARAMETER_INVALID"],
      ["JSON", send(good, { "Content-Type": "application/json" }), 415, "MEDIA_TYPE_WRONG"],
      [
        "a coding",
        send({ ...good, block: gzipSync(good.block) }, { "Content-Encoding": "gzip" }),
        415,
        "MEDIA_TYPE_WRONG",
      ],
      ["too much", send({ ...good, block: new Uint8Array(1_048_577) }), 413, "BODY_TOO_LARGE"],
    ];
    for (const [name, answer, status, code] of cases) {
      const response = await answer;
      const problem = await response.json();
      expect([response.status, problem.code], name).to.deep.equal([status, code]);
      expect(problem.hint, name).to.be.a("string").and.not.equal("");
    }
    expect(stored()).to.equal(0);
    expect((await send(good)).status).to.equal(201);
  });

  it("holds a sender to its limits, says when to come again, and takes the same message then", async () => {
    await relay.close();
    const limits = { ...DEFAULT_LIMITS, conversation: { size: 2, perSecond: 2 } };
    relay = await serveRelay(operator, "with limits", { limits });
    const messages = [1, 2, 3].map((seq) => write(`number ${seq}`, { seq }));
    const answers: Response[] = [];
    for (const message of messages) answers.push(await send(message));
    expect(answers.map(({ status }) => status)).to.deep.equal([201, 201, 429]);
    const waitS = Number(answers[2]?.headers.get("retry-after"));
    expect(waitS).to.equal(1);
    await new Promise((resolve) => setTimeout(resolve, waitS * 1_000));
    expect((await send(messages[2]!)).status).to.equal(201);
  });

  it("has a client that brings forgeries pay for ten messages each", async () => {
    await relay.close();
    const limits = { ...DEFAULT_LIMITS, clientWrites: { size: 20, perSecond: 0.001 } };
    relay = await serveRelay(operator, "with forgers", { limits });
    const forged = (i: number): { cid: Cid; block: Uint8Array } => {
      const envelope = seal(ALICE, BOB, { deployment: operator.deployed.deployment, text: `forged ${i}` });
      const block = encodeEnvelope({
        ...envelope,
        signature: envelope.signature.map((byte, at) => (at === 3 ? byte ^ 4 : byte)),
      });
      return { cid: cidOf(block), block };
    };
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) statuses.push((await send(forged(i))).status);
    expect(statuses).to.deep.equal([422, 422, 429]);
  });

  it("promises nothing more once half of its oldest promise is used up, and does again after an anchor", async () => {
    const { client, session } = relay;
    const first = write("first", { seq: 1 });
    await client.put(first.cid, first.block);
    await operator.mine(51);
    await waitForView(session);
    const second = write("second", { seq: 2 });
    expect(await codeOfAsync(() => client.put(second.cid, second.block))).to.equal("ANCHORING_BEHIND");
    expect((await client.info()).promise.silence).to.equal("anchoring behind");
    expect(stored()).to.equal(1);
    await anchorRound(session, DEFAULT_OPTIONS);
    await waitForView(session);
    const third = write("third", { seq: await next() });
    const late = await client.put(third.cid, third.block);
    expect(late.receipt).not.to.equal(null);
  });

  it("owes nothing for a message whose sender revoked the key, and goes on promising to others", async () => {
    const { client, session } = relay;
    const { deployment } = operator.deployed;
    await operator.conversation.register(CAROL);
    await waitForView(session);
    const block = encodeEnvelope(history.envelope(CAROL, BOB, { deployment }));
    await client.put(cidOf(block), block);
    const carol = new Wallet(toHex(CAROL.wallet.privateKey), operator.deployed.provider);
    await (await carol.sendTransaction({ to: deployment.keyRegistry, data: REVOKE })).wait();
    await operator.mine(60);
    await waitForView(session);
    const message = write("after it", { seq: await next() });
    expect((await client.put(message.cid, message.block)).receipt).not.to.equal(null);
  });

  it("takes messages without a promise where it has no key, and is refused by a client when nobody authorised its key", async () => {
    await relay.close();
    relay = await serveRelay(operator, "without a key", { promiser: null });
    const message = write("unpromised", { seq: 1 });
    const taken = await relay.client.put(message.cid, message.block);
    expect(taken.receipt).to.equal(null);

    const promiser = await authorize(operator);
    const forged = { ...promiser, authorization: { ...promiser.authorization, toBlock: 2_000_000 } };
    expect(await codeOfAsync(() => serveRelay(operator, "forged key", { promiser: forged }))).to.equal("ANSWER_UNTRUE");
  });

  it("knows what it took after it was ended and started again, and where a listener was", async () => {
    const { client } = relay;
    const message = write("before the end", { seq: 1 });
    const { receipt } = await client.put(message.cid, message.block);
    const ending = new AbortController();
    const { id } = await find(
      client.live({ signal: ending.signal, after: `${relay.session.mailbox.relayed.name}-0` }),
      ({ name }) => name === "message",
    );
    ending.abort();
    await relay.close();
    relay = await serveRelay(
      operator,
      "knows what it took after it was ended and started again, and where a listener was",
    );
    expect((await relay.client.put(message.cid, message.block)).receipt).to.deep.equal(receipt);
    const more = write("after it", { seq: 2 });
    await relay.client.put(more.cid, more.block);
    const found = await find(
      relay.client.live({ after: id, signal: new AbortController().signal }),
      ({ name }) => name === "message",
    );
    expect(found.name === "message" && found.message.cid).to.equal(more.cid);
  });
});
