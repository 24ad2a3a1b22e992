import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";

import { expect } from "chai";

import { ServingBudget } from "../../http/budget.ts";
import { inOrder } from "../../http/server.ts";
import { ALICE, BOB, deltaOf, History } from "../fixtures/history.ts";
import { waitFor, waitForBlock } from "../fixtures/indexer-client.ts";
import { listen, shut } from "../fixtures/loopback.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { useIndexers } from "../fixtures/served-history.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("What all requests together may take", () => {
  it("is one answer between two looks at the sockets, when answers take long", async () => {
    let nowMs = 0;
    const budget = new ServingBudget({ now: () => nowMs });
    let made = 0;
    const all = Array.from({ length: 5 }, () =>
      budget.run(() => {
        made += 1;
        nowMs += 30;
      }),
    );
    const seen: number[] = [];
    while (seen.at(-1) !== 5 && seen.length < 20) {
      seen.push(made);
      await turn();
    }
    await Promise.all(all);
    for (const [i, count] of seen.entries()) expect(count - (seen[i - 1] ?? 0)).to.be.at.most(1);
    expect(made).to.equal(5);
  });

  it("is many answers, when answers are quick", async () => {
    const budget = new ServingBudget({ now: () => 0 });
    let made = 0;
    for (let i = 0; i < 100; i++) void budget.run(() => (made += 1));
    await Promise.resolve();
    expect(made).to.equal(100);
  });

  it("is so many in line, and so long a wait", async () => {
    let nowMs = 0;
    const budget = new ServingBudget({ maxBytes: 0, maxWaiting: 2, maxWaitMs: 10, now: () => nowMs });
    const codes = [1, 2, 3].map(() => codeOfAsync(() => budget.run(() => expect.fail("there is no room"))));
    expect(await codes[2]).to.equal("SERVICE_BUSY");
    nowMs = 11;
    expect(await Promise.all(codes.slice(0, 2))).to.deep.equal(["SERVICE_BUSY", "SERVICE_BUSY"]);
  });
});

describe("Requests of one connection", () => {
  let server: Server;
  let socket: Socket;
  let port: number;
  const waiting: ServerResponse[] = [];

  beforeEach(async () => {
    waiting.length = 0;
    server = createServer(inOrder((_, response) => void waiting.push(response)));
    port = Number((await listen(server)).port);
    socket = connect(port, "127.0.0.1").resume();
    socket.on("error", () => undefined);
    await once(socket, "connect");
  });
  afterEach(async () => {
    socket.destroy();
    await shut(server);
  });

  it("are answered one after the other: the next is not looked at before", async () => {
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10));
    for (let i = 1; i <= 10; i++) {
      await waitFor("the next", () => Promise.resolve(waiting.length >= i));
      await turn();
      expect(waiting.length).to.equal(i);
      waiting[i - 1]!.end("x");
    }
  });

  it("are not taken when they are many ahead", async () => {
    const closed = once(socket, "close");
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(500));
    await closed;
    expect(waiting.length).to.equal(1);
  });
});

describe("The indexer beside clients that ask for much and read nothing", function () {
  this.timeout(30_000);
  const start = useIndexers();
  const sockets = new Set<Socket>();
  /** Sixteen messages that fill a page with more than what sockets take without a reader. */
  const history = new History();
  history.register(ALICE);
  history.register(BOB);
  const room = history.room(ALICE, BOB);
  const text = "x".repeat(300_000);
  const cids = Array.from({ length: 16 }, (_, i) => history.message(ALICE, BOB, { seq: i + 1, text }));
  history.anchor(deltaOf([room, cids]));
  const path = `/v1/rooms/${room}/messages?include=block&limit=200`;

  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  });

  /** Asks, and reads the head of the answer only. */
  const ask = async (url: string): Promise<{ socket: Socket; head: string }> => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n\r\n`);
    let head = "";
    await new Promise<void>((resolve) => {
      socket.once("close", () => resolve());
      const take = (part: Buffer): void => {
        head += part.toString("latin1");
        if (!head.includes("\r\n\r\n")) return;
        // It has the head, and takes nothing more.
        socket.off("data", take).pause();
        resolve();
      };
      socket.on("data", take);
    });
    return { socket, head: head.slice(0, head.indexOf("\r\n\r\n") + 2) };
  };

  it("makes as many answers as fit, tells the others to come again, and says how it does", async () => {
    const budget = { maxBytes: 6_000_000, maxWaitMs: 300, graceMs: 3_600_000 };
    const { url } = await start(new ScriptedChain(history), new WithheldStore(history.blocks), { budget });
    await waitForBlock(url, 102);
    const heads = (await Promise.all(Array.from({ length: 12 }, () => ask(url)))).map(({ head }) => head);
    const answered = heads.filter((head) => head.startsWith("HTTP/1.1 200 "));
    const refused = heads.filter((head) => head.startsWith("HTTP/1.1 503 "));
    // One below the bound, and one above it.
    expect(answered.length).to.be.within(1, 2);
    expect(refused.length).to.be.greaterThan(0);
    for (const head of refused) expect(head).to.match(/\r\nretry-after: \d+\r\n/i);
    // Base64 of ciphertext is not compressed.
    for (const head of answered) expect(head).not.to.match(/content-encoding/i);
    for (const live of ["/health", "/status", "/metrics"]) expect((await fetch(url + live)).status).to.equal(200);
  });

  it("cuts off who does not read when others need the room", async () => {
    const budget = { maxBytes: 3_000_000, maxWaitMs: 20_000, graceMs: 50 };
    const { url } = await start(new ScriptedChain(history), new WithheldStore(history.blocks), { budget });
    await waitForBlock(url, 102);
    const { socket } = await ask(url);
    const honest = (await (await fetch(url + path)).json()) as { items: { cid: string }[] };
    expect(honest.items.length).to.be.greaterThan(0);
    const closed = once(socket, "close");
    socket.resume();
    await closed;
  });
});
