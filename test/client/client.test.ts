import { createServer, type RequestListener } from "node:http";
import { runInNewContext } from "node:vm";

import { expect } from "chai";

import { IndexerClient } from "../../client/indexer.ts";
import type { LiveEvent } from "../../client/live.ts";
import { bundleForBrowser } from "../fixtures/browser-bundle.ts";
import { ALICE, BOB, deltaOf, DEPLOYMENT } from "../fixtures/history.ts";
import { waitFor, waitForBlock } from "../fixtures/indexer-client.ts";
import { listen, shut } from "../fixtures/loopback.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { conversation, useIndexers } from "../fixtures/served-history.ts";

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe("the indexer's client", function () {
  this.timeout(30_000);
  const start = useIndexers();

  it("reads every list to its end, whatever the page size, in the protocol's own types", async () => {
    const history = conversation(5, 3);
    const { url } = await start(new ScriptedChain(history), new WithheldStore(history.blocks));
    await waitForBlock(url, 106);
    const client = new IndexerClient(`${url}/`);
    const room = history.room(ALICE, BOB);
    for (const limit of [1, 4, 200]) {
      expect((await collect(client.messages(room, { limit }))).map(({ cid }) => cid)).to.deep.equal(
        history
          .replay()
          .entries(room)
          .map(({ cid }) => cid),
      );
      expect((await collect(client.anchors({ limit, order: "desc" }))).map(({ index }) => index)).to.deep.equal([
        4, 3, 2, 1, 0,
      ]);
      expect((await collect(client.rooms({ limit, wallet: ALICE.address }))).map(({ id }) => id)).to.deep.equal([room]);
    }
    expect((await collect(client.messages(room, { since: 3, verdict: "verified" }))).length).to.equal(6);
    const [key] = await collect(client.keys(BOB.address));
    expect(key!.event).to.deep.equal(history.events[1]);
    const [message] = await collect(client.messages(room, { blocks: true }));
    expect(message!.block).to.deep.equal(history.blocks.get(message!.cid));
    expect(await client.block(message!.cid)).to.deep.equal(message!.block);
    const { deployment, ready, indexed } = await client.status();
    expect([deployment, ready, indexed?.block]).to.deep.equal([DEPLOYMENT, true, 106]);
    expect((await client.anchor(2)).text).to.equal(history.replay().anchors[2]!.event.text);
    expect(await codeOfAsync(() => client.room(history.room(ALICE, ALICE)))).to.equal("NOT_FOUND");
    expect(await client.block("bafyreihxjhonux2m3u54q55our4asokn5ummvwebhwygdnbsoduliv4hyu" as never)).to.equal(null);
  });

  it("refuses what is no answer of an indexer, in bounded time and memory", async () => {
    const answers: [string, RequestListener, string][] = [
      ["a web page", (_, response) => response.end("<html>"), "ANSWER_MALFORMED"],
      ["an empty body", (_, response) => response.end(), "ANSWER_MALFORMED"],
      ["no UTF-8", (_, response) => response.end(Buffer.from([0x22, 0xff, 0x22])), "ANSWER_MALFORMED"],
      ["a prototype", (_, response) => response.end('{"__proto__": {"ready": true}}'), "ANSWER_MALFORMED"],
      [
        "an endless body",
        (_, response) => void setInterval(() => response.write("x".repeat(100_000)), 1).unref(),
        "ANSWER_MALFORMED",
      ],
      ["nothing", () => undefined, "INDEXER_UNREACHABLE"],
      ["a beginning", (_, response) => response.write("{"), "INDEXER_UNREACHABLE"],
      ["a broken connection", (request) => request.socket.destroy(), "INDEXER_UNREACHABLE"],
      [
        "a redirect",
        (_, response) => response.writeHead(302, { location: "http://169.254.169.254/" }).end(),
        "INDEXER_UNREACHABLE",
      ],
      ["a proxy's error", (_, response) => response.writeHead(502).end("<html>Bad gateway"), "INDEXER_UNREACHABLE"],
      [
        "a made-up code",
        (_, response) => response.writeHead(400).end('{"code": "constructor", "detail": ""}'),
        "INDEXER_UNREACHABLE",
      ],
      [
        "a problem",
        (_, response) => response.writeHead(503).end('{"code": "INDEX_BEHIND", "detail": "x"}'),
        "INDEX_BEHIND",
      ],
    ];
    for (const [what, listener, code] of answers) {
      const server = createServer(listener);
      const { origin } = await listen(server);
      const client = new IndexerClient(origin, { timeoutMs: 300, maxBytes: 1_000_000 });
      try {
        expect(await codeOfAsync(() => client.status()), what).to.equal(code);
      } finally {
        await shut(server);
      }
    }
    expect(await codeOfAsync(() => new IndexerClient("http://127.0.0.1:9").status())).to.equal("INDEXER_UNREACHABLE");
  });

  it("does not follow a cursor in circles", async () => {
    const page = JSON.stringify({ at: null, items: [], next: "again" });
    const client = new IndexerClient("http://indexer.example", { fetch: () => Promise.resolve(new Response(page)) });
    expect(await codeOfAsync(() => collect(client.anchors()))).to.equal("ANSWER_MALFORMED");
  });

  it("listens through a restart of the indexer, and misses and repeats nothing", async () => {
    const history = conversation(1);
    const chain = new ScriptedChain(history);
    const content = new WithheldStore(history.blocks);
    const indexer = await start(chain, content);
    await waitForBlock(indexer.url, 102);
    const port = Number(new URL(indexer.url).port);
    const stopped = new AbortController();
    const events: LiveEvent[] = [];
    const pauses: number[] = [];
    const pause = (ms: number): Promise<void> => {
      pauses.push(ms);
      return new Promise((resolve) => setTimeout(resolve, 10));
    };
    const client = new IndexerClient(indexer.url);
    const listening = (async () => {
      for await (const event of client.events({ signal: stopped.signal, pause })) events.push(event);
    })();
    const verified = (): string[] =>
      events.flatMap((event) =>
        event.name === "message" && event.message.verdict.status === "verified" ? [event.message.cid] : [],
      );
    await waitFor("the first height", () => Promise.resolve(events.some(({ name }) => name === "height")));
    const cids: string[] = [];
    const say = (): void => {
      const cid = history.message(BOB, ALICE, { seq: cids.length + 1 });
      history.anchor(deltaOf([history.room(ALICE, BOB), [cid]]));
      chain.grow();
      cids.push(cid);
    };
    say();
    await waitFor("the first", () => Promise.resolve(verified().length === 1));
    await indexer.close();
    say();
    await waitFor("three attempts", () => Promise.resolve(pauses.length >= 3));
    expect(pauses.slice(0, 3)).to.deep.equal([500, 1_000, 2_000]);
    await start(chain, content, { port });
    await waitFor("the second", () => Promise.resolve(verified().length === 2));
    say();
    await waitFor("the third", () => Promise.resolve(verified().length === 3));
    expect(verified()).to.deep.equal(cids);
    stopped.abort();
    await listening;
    expect(new Set(events.filter(({ name }) => name !== "height").map(({ id }) => id)).size).to.equal(
      events.filter(({ name }) => name !== "height").length,
    );
    const refused = client.events({ after: "nonsense" });
    expect(await codeOfAsync(() => refused.next())).to.equal("PARAMETER_INVALID");
  });

  it("verifies a room where there is no Node, by the portable cryptography", async () => {
    const history = conversation(2, 2);
    const { url } = await start(new ScriptedChain(history), new WithheldStore(history.blocks));
    await waitForBlock(url, 103);
    const contents = `
      import { IndexerClient } from "./client/indexer.ts";
      import { verifyRoom } from "./client/verify.ts";
      import { primitives } from "./protocol/crypto/provider.ts";
      export const run = async (url, deployment, room) => {
        const { messages, state } = await verifyRoom(new IndexerClient(url), deployment, room);
        return JSON.stringify([primitives.name, messages.map(({ verdict }) => verdict.status), state.n]);
      };`;
    const bundle = await bundleForBrowser(contents, "dmtp");
    // What a browser has, and nothing else.
    const browser = {
      fetch,
      URL,
      URLSearchParams,
      TextDecoder,
      TextEncoder,
      AbortController,
      AbortSignal,
      atob,
      setTimeout,
      clearTimeout,
    };
    const call = `dmtp.run(${JSON.stringify(url)}, ${JSON.stringify(DEPLOYMENT)}, "${history.room(ALICE, BOB)}")`;
    const result = (await runInNewContext(`${bundle}; ${call}`, { ...browser })) as string;
    expect(JSON.parse(result)).to.deep.equal(["portable", Array(4).fill("verified"), 4]);
  });
});
