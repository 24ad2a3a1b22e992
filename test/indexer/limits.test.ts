import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { expect } from "chai";

import { deploy, startChain, type Chain, type Deployed } from "../fixtures/chain.ts";
import { useFolder } from "../fixtures/folder.ts";
import { startIndexerProcess } from "../fixtures/indexer-process.ts";

const SLOW_CLIENTS = 1_000;

describe("the indexer's process under clients that mean no good", function () {
  this.timeout(60_000);
  const folder = useFolder();
  let chain: Chain;
  let deployed: Deployed;
  let indexer: Awaited<ReturnType<typeof startIndexerProcess>>;
  const sockets = new Set<Socket>();

  before(async () => {
    chain = await startChain();
    deployed = await deploy(chain.url);
  });
  after(async () => {
    deployed.close();
    await chain.stop();
  });
  beforeEach(async () => {
    indexer = await startIndexerProcess(chain.url, deployed.deployment, folder());
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    await indexer.stop();
  });

  async function open(): Promise<Socket> {
    const socket = connect(Number(new URL(indexer.url).port), "127.0.0.1");
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    socket.resume();
    await new Promise((resolve) => socket.once("connect", resolve));
    return socket;
  }

  it("answers an honest client within a second beside 1,000 that send a header byte by byte", async () => {
    await Promise.all(Array.from({ length: SLOW_CLIENTS }, open));
    expect(sockets.size).to.equal(SLOW_CLIENTS);
    for (const socket of sockets) socket.write("GET /v1/rooms HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    const drip = setInterval(() => {
      for (const socket of sockets) socket.write("a");
    }, 200);
    try {
      let slowestMs = 0;
      let asked = 0;
      // For as long as the slow ones live, and until the last of them was cut off.
      while (sockets.size > 0) {
        const startedAtMs = performance.now();
        const { status } = await fetch(`${indexer.url}/v1/rooms`);
        slowestMs = Math.max(slowestMs, performance.now() - startedAtMs);
        expect(status).to.equal(200);
        asked += 1;
        await sleep(20);
      }
      expect(slowestMs).to.be.lessThan(1_000);
      expect(asked).to.be.greaterThan(20);
    } finally {
      clearInterval(drip);
    }
  });

  it("refuses headers that are too long or too many, and goes on", async () => {
    const port = Number(new URL(indexer.url).port);
    const answerTo = (head: string): Promise<string> =>
      new Promise((resolve) => {
        let text = "";
        const socket = connect(port, "127.0.0.1", () => socket.write(head));
        socket.on("data", (part: Buffer) => (text += part.toString()));
        socket.on("error", () => undefined).on("close", () => resolve(text.split("\r\n")[0] ?? ""));
      });
    const start = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    expect(await answerTo(`${start}X: ${"x".repeat(20_000)}\r\n\r\n`)).to.match(/^HTTP\/1\.1 431 /);
    expect(await answerTo(`GET /${"x".repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`)).to.match(/^HTTP\/1\.1 431 /);
    expect(await answerTo("nonsense\r\n\r\n")).to.match(/^HTTP\/1\.1 400 /);
    expect(await answerTo(`${start}\r\n`)).to.match(/^HTTP\/1\.1 200 /);
  });

  it("listens at 127.0.0.1 alone unless told otherwise", async () => {
    // On Linux all of 127.0.0.0/8 is this machine: a service that listens everywhere answers here too.
    const elsewhere = indexer.url.replace("127.0.0.1", "127.0.0.2");
    const isReached = (url: string): Promise<boolean> =>
      fetch(`${url}/health`).then(
        ({ ok }) => ok,
        () => false,
      );
    expect([await isReached(indexer.url), await isReached(elsewhere)]).to.deep.equal([true, false]);
  });
});
