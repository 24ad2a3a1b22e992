import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

import { expect } from "chai";

import { ChainClient } from "../../io/chain/client.ts";
import { openRpc } from "../../io/chain/rpc/open-rpc.ts";
import { faultOf } from "../../io/chain/rpc/rpc-fault.ts";
import { socketRpc } from "../../io/chain/rpc/socket-rpc.ts";
import { deploy, startChain, type Chain, type Deployed } from "../fixtures/chain.ts";
import { waitFor } from "../fixtures/indexer-client.ts";
import { codeOf } from "../fixtures/refusal.ts";

const CHAIN_ID = { method: "eth_chainId", params: [] };

async function failureOf(act: () => Promise<unknown>): Promise<unknown> {
  try {
    await act();
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

/** A socket that does what a test tells it to. */
class ScriptedSocket extends EventTarget {
  readonly sent: string[] = [];
  onSend: (text: string) => void = () => undefined;

  send(text: string): void {
    this.sent.push(text);
    this.onSend(text);
  }
  isClosed = false;

  close(): void {
    this.isClosed = true;
    this.dispatchEvent(new Event("close"));
  }
  say(text: string): void {
    this.dispatchEvent(new MessageEvent("message", { data: text }));
  }
}

describe("JSON-RPC over a WebSocket", function () {
  this.timeout(60_000);
  let chain: Chain;
  let deployed: Deployed;
  let url: string;

  before(async () => {
    chain = await startChain();
    deployed = await deploy(chain.url);
    url = chain.url.replace("http:", "ws:");
  });
  after(async () => {
    deployed.close();
    await chain.stop();
  });

  it("asks a real node one thing, and several in one frame, of which one may fail alone", async () => {
    const rpc = socketRpc(url);
    expect(rpc.name).to.equal(url);
    expect(await rpc.request(CHAIN_ID)).to.equal("0x7a69");
    expect(await rpc.batch([CHAIN_ID, { method: "eth_blockNumber", params: [] }])).to.deep.equal(["0x7a69", "0x2"]);
    const [known, unknown] = await rpc.attempt([CHAIN_ID, { method: "eth_nothing", params: [] }]);
    expect(known).to.deep.equal({ result: "0x7a69" });
    expect(faultOf((unknown as { error: unknown }).error)?.fault).to.equal("answer");
    rpc.subscribe(() => undefined)();
  });

  it("tells of a new block of a real node, and carries a whole chain client", async () => {
    const client = await ChainClient.open([openRpc(url)], deployed.deployment);
    let told = 0;
    const end = client.subscribe(() => (told += 1));
    await waitFor("a word of a block", async () => {
      await deployed.provider.send("anvil_mine", ["0x1"]);
      return told > 0;
    });
    const { block } = await client.fetchView(null);
    let last = 0;
    for await (const range of client.ranges(null, block)) last = range.last.number;
    expect(last).to.equal(block.number);
    end?.();
  });

  function scripted(timeoutMs = 1_000): { rpc: ReturnType<typeof socketRpc>; sockets: ScriptedSocket[] } {
    const sockets: ScriptedSocket[] = [];
    const rpc = socketRpc("ws://node.example/secret-key", {
      timeoutMs,
      open: () => {
        const socket = new ScriptedSocket();
        sockets.push(socket);
        queueMicrotask(() => socket.dispatchEvent(new Event("open")));
        return socket as unknown as WebSocket;
      },
    });
    return { rpc, sockets };
  }
  const sent = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

  it("fails what was asked when the connection is lost, and connects again for the next", async () => {
    const { rpc, sockets } = scripted();
    const first = failureOf(() => rpc.request(CHAIN_ID));
    await sent();
    sockets[0]!.close();
    expect(faultOf(await first)).to.deep.include({ fault: "network" });
    const second = rpc.request(CHAIN_ID);
    await sent();
    const { id } = JSON.parse(sockets[1]!.sent[0]!) as { id: number };
    sockets[1]!.say("not JSON");
    sockets[1]!.say(JSON.stringify({ jsonrpc: "2.0", id: id + 7, result: "another's" }));
    sockets[1]!.say(JSON.stringify({ jsonrpc: "2.0", id, result: "0x1" }));
    expect(await second).to.equal("0x1");
  });

  /** Answers every call that it gets with its method, after so many answers not any more. */
  function answer(socket: ScriptedSocket): void {
    socket.onSend = (text) => {
      const { id, method } = JSON.parse(text) as { id: number; method: string };
      socket.say(JSON.stringify({ jsonrpc: "2.0", id, result: method }));
    };
  }

  it("keeps a new connection when the old one fails again, late", async () => {
    const { rpc, sockets } = scripted();
    const first = failureOf(() => rpc.request(CHAIN_ID));
    await sent();
    sockets[0]!.dispatchEvent(new Event("error"));
    await first;
    const second = rpc.request(CHAIN_ID);
    await sent();
    sockets[0]!.dispatchEvent(new Event("close"));
    answer(sockets[1]!);
    sockets[1]!.onSend(sockets[1]!.sent[0]!);
    expect(await second).to.equal("eth_chainId");
    expect(await rpc.request(CHAIN_ID)).to.equal("eth_chainId");
    expect(sockets).to.have.length(2);
    expect(sockets.map(({ isClosed }) => isClosed)).to.deep.equal([true, false]);
  });

  it("replaces a connection that is silent, and not one that is slow with one answer", async () => {
    const { rpc, sockets } = scripted(40);
    const first = failureOf(() => rpc.request(CHAIN_ID));
    expect(faultOf(await first)?.fault).to.equal("timeout");
    expect(sockets[0]!.isClosed).to.equal(true);
    const second = failureOf(() => rpc.request({ method: "eth_getLogs", params: [] }));
    await sent();
    expect(sockets).to.have.length(2);
    answer(sockets[1]!);
    expect(await rpc.request(CHAIN_ID)).to.equal("eth_chainId");
    expect(faultOf(await second)?.fault).to.equal("timeout");
    expect(sockets[1]!.isClosed).to.equal(false);
  });

  it("hears of new blocks again after a connection went dead without being closed", async () => {
    let isDead = false;
    const accepted: Socket[] = [];
    const proxy = createServer((near) => {
      accepted.push(near);
      const far = connect({ port: Number(new URL(url).port), host: "127.0.0.1" });
      const isOfBefore = !isDead;
      near.on("data", (data) => (isOfBefore && isDead) || far.write(data));
      far.on("data", (data) => (isOfBefore && isDead) || near.write(data));
      for (const socket of [near, far]) socket.on("error", () => undefined);
      near.on("close", () => far.destroy());
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const { port } = proxy.address() as { port: number };
    const rpc = socketRpc(`ws://127.0.0.1:${port}`, { timeoutMs: 300 });
    let told = 0;
    const end = rpc.subscribe(() => (told += 1));
    const hear = async (): Promise<void> => {
      const before = told;
      await waitFor("a word of a block", async () => {
        await deployed.provider.send("anvil_mine", ["0x1"]);
        return told > before;
      });
    };
    await hear();
    isDead = true;
    // What was under way may still come; then the connection is silent.
    await waitFor("an answer", () => rpc.request(CHAIN_ID).then(Boolean, () => false));
    await hear();
    end();
    expect(accepted).to.have.length(2);
    for (const socket of accepted) socket.destroy();
    proxy.close();
  });

  const calls = Array.from({ length: 20 }, (_, i) => ({ method: `call ${i}`, params: [] }));
  const answersTo = (bodies: readonly { id: number; method: string }[]): object[] =>
    bodies.map(({ id, method }) => ({ jsonrpc: "2.0", id, result: method }));
  const refusals: Record<string, (socket: ScriptedSocket, ids: readonly number[]) => void> = {
    "closes the connection": (socket) => socket.close(),
    "answers with one error": (socket) =>
      socket.say(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32_600, message: "too large" } })),
    "answers with a list of one error": (socket, [id]) =>
      socket.say(JSON.stringify([{ jsonrpc: "2.0", id, error: { code: -32_600, message: "too large" } }])),
  };
  for (const [title, refuse] of Object.entries(refusals)) {
    it(`asks for less at a time where a node ${title} on more than three calls`, async () => {
      const sockets: ScriptedSocket[] = [];
      const rpc = socketRpc("ws://node.example", {
        open: () => {
          const socket = new ScriptedSocket();
          sockets.push(socket);
          socket.onSend = (text) => {
            const body = JSON.parse(text) as { id: number; method: string };
            const bodies = [body].flat();
            if (bodies.length > 3)
              refuse(
                socket,
                bodies.map(({ id }) => id),
              );
            else socket.say(JSON.stringify(Array.isArray(body) ? answersTo(bodies) : answersTo(bodies)[0]));
          };
          queueMicrotask(() => socket.dispatchEvent(new Event("open")));
          return socket as unknown as WebSocket;
        },
      });
      expect(await rpc.batch(calls)).to.deep.equal(calls.map(({ method }) => method));
      const before = sockets.flatMap((socket) => socket.sent).length;
      await rpc.batch(calls.slice(0, 4));
      expect(sockets.flatMap((socket) => socket.sent).length - before).to.be.at.most(2);
    });
  }

  it("does not wait for ever, and shows no key", async () => {
    const { rpc } = scripted(20);
    const error = await failureOf(() => rpc.request(CHAIN_ID));
    expect(faultOf(error)?.fault).to.equal("timeout");
    const { rpc: talkative, sockets } = scripted();
    const refused = failureOf(() => talkative.request(CHAIN_ID));
    await sent();
    const { id } = JSON.parse(sockets[0]!.sent[0]!) as { id: number };
    sockets[0]!.say(JSON.stringify({ id, error: { code: 1, message: "no access at wss://node.example/secret-key" } }));
    expect(String(await refused)).not.to.include("secret-key");
    expect(codeOf(() => socketRpc("http://node.example"))).to.equal("CONFIGURATION_INVALID");
  });
});
