import { expect } from "chai";

import { ChainFeed } from "../../io/chain/feed.ts";
import { openRpc } from "../../io/chain/open-rpc.ts";
import { faultOf } from "../../io/chain/rpc-fault.ts";
import { socketRpc } from "../../io/chain/socket-rpc.ts";
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
  close(): void {
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

  it("tells of a new block of a real node, and carries a whole chain feed", async () => {
    const feed = await ChainFeed.open([openRpc(url)], deployed.deployment);
    let told = 0;
    const end = feed.subscribe(() => (told += 1));
    await waitFor("a word of a block", async () => {
      await deployed.provider.send("anvil_mine", ["0x1"]);
      return told > 0;
    });
    const { block } = await feed.look(null);
    let last = 0;
    for await (const stretch of feed.stretches(null, block)) last = stretch.last.number;
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
