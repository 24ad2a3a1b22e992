import { request, type IncomingHttpHeaders } from "node:http";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";

import { expect } from "chai";

import type { RoomId } from "../../protocol/room.ts";
import { ALICE, BOB, deltaOf, type History } from "../fixtures/history.ts";
import { getOk, waitFor, waitForBlock } from "../fixtures/indexer-client.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { conversation, useIndexers } from "../fixtures/served-history.ts";

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** As it comes over the wire: fetch would decode it. */
function rawGet(url: string, path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    request(url + path, { headers, method, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
      );
    })
      .on("error", reject)
      .end();
  });
}

describe("what the indexer's answers say to caches and browsers", () => {
  const start = useIndexers();
  let history: History;
  let chain: ScriptedChain;
  let content: WithheldStore;
  let room: RoomId;

  beforeEach(() => {
    history = conversation(3, 8);
    chain = new ScriptedChain(history);
    content = new WithheldStore(history.blocks);
    room = history.room(ALICE, BOB);
  });

  it("a copy is good until something in it changes, whatever the chain's height", async () => {
    const { url } = await start(chain, content);
    await waitForBlock(url, 104);
    for (const path of [`/v1/rooms/${room}/messages`, "/v1/rooms", "/v1/anchors", `/v1/wallets/${BOB.address}/keys`]) {
      const { etag, "cache-control": caching } = (await rawGet(url, path)).headers;
      expect([etag, caching], path).to.satisfy(([tag, said]: string[]) => tag!.startsWith("W/") && said === "no-cache");
      const same = await rawGet(url, path, { "if-none-match": `"other", ${etag!}` });
      expect([same.status, same.body.length, same.headers.etag], path).to.deep.equal([304, 0, etag]);
    }
    const path = `/v1/rooms/${room}/messages`;
    const tag = (await rawGet(url, path)).headers.etag!;
    history.anchor(deltaOf([room, [history.message(BOB, ALICE)]]));
    chain.grow();
    await waitForBlock(url, 105);
    const changed = await rawGet(url, path, { "if-none-match": tag });
    expect([changed.status, changed.headers.etag === tag]).to.deep.equal([200, false]);
    chain.grow(5);
    await waitForBlock(url, 110);
    expect((await rawGet(url, path, { "if-none-match": changed.headers.etag! })).status).to.equal(304);
  });

  it("nothing of this moment is kept, and no problem", async () => {
    const { url } = await start(chain, content);
    await waitForBlock(url, 104);
    for (const path of ["/status", "/ready", "/health", "/v1/anchors/99", "/nothing", "/v1/rooms?limit=0"]) {
      const { headers } = await rawGet(url, path);
      expect([headers["cache-control"], headers.etag], path).to.deep.equal(["no-store", undefined]);
    }
  });

  it("an anchor is for ever once it is final, decided, and no earlier one can change it", async () => {
    const manifests = history.replay().anchors.map(({ event }) => event.cid!);
    const [last] = history.replay().entriesByAnchor(2);
    const isForEver = async (url: string, index: number): Promise<boolean> =>
      (await rawGet(url, `/v1/anchors/${index}`)).headers["cache-control"]!.includes("immutable");
    const { url } = await start(chain, content);
    await waitForBlock(url, 104);
    expect(await isForEver(url, 0), "not final").to.equal(false);
    chain.finalized = 103;
    await waitFor("finality", async () => (await getOk(url, "/status")).finalized === 103);
    expect([await isForEver(url, 0), await isForEver(url, 1), await isForEver(url, 2)]).to.deep.equal([
      true,
      true,
      false,
    ]);
    const before = await rawGet(url, "/v1/anchors/1");
    chain.grow(7);
    await waitForBlock(url, 111);
    const after = await rawGet(url, "/v1/anchors/1");
    expect(after.body.equals(before.body), "the same bytes").to.equal(true);
    expect((await rawGet(url, "/v1/anchors/1", { "if-none-match": before.headers.etag! })).status).to.equal(304);

    chain.finalized = 111;
    content.withheld.add(last!.cid);
    const lacking = await start(chain, content, { name: "lacking a message" });
    await waitForBlock(lacking.url, 111, 1);
    expect([await isForEver(lacking.url, 1), await isForEver(lacking.url, 2)]).to.deep.equal([true, false]);

    // An anchor on the first one's line, beside one that is missing: its messages may yet prove to be duplicates.
    const tip = history.replay().anchors[0]!.tip;
    history.anchor(deltaOf([room, [history.message(BOB, ALICE)]]), tip);
    chain.grow(1);
    chain.finalized = 112;
    content.withheld.clear();
    content.withheld.add(manifests[1]!);
    const doubtful = await start(chain, content, { name: "lacking an anchor" });
    await waitFor("finality", async () => (await getOk(doubtful.url, "/status")).finalized === 112);
    await waitFor(
      "the fourth",
      async () => (await getOk(doubtful.url, "/v1/anchors/3")).anchor.verdict.status === "verified",
    );
    expect([await isForEver(doubtful.url, 0), await isForEver(doubtful.url, 3)]).to.deep.equal([true, false]);
  });

  it("compresses as the client likes it, and small answers and ciphertext not at all", async () => {
    const { url } = await start(chain, content);
    await waitForBlock(url, 104);
    const path = `/v1/rooms/${room}/messages`;
    const plain = await rawGet(url, path);
    expect([plain.headers["content-encoding"], plain.headers.vary]).to.deep.equal([undefined, "Accept-Encoding"]);
    const cases = [
      ["gzip, deflate, br, zstd", "br", brotliDecompressSync],
      ["gzip;q=1, br;q=0", "gzip", gunzipSync],
      ["zstd", "zstd", zstdDecompressSync],
      ["*", "br", brotliDecompressSync],
    ] as const;
    for (const [accepted, coding, decode] of cases) {
      const { headers, body } = await rawGet(url, path, { "accept-encoding": accepted });
      expect([headers["content-encoding"], headers.etag, headers.vary], accepted).to.deep.equal([
        coding,
        plain.headers.etag,
        "Accept-Encoding",
      ]);
      expect(body.length).to.be.lessThan(plain.body.length / 2);
      expect(Number(headers["content-length"])).to.equal(body.length);
      expect(decode(body).equals(plain.body), accepted).to.equal(true);
    }
    for (const accepted of ["deflate", "identity", "br;q=0", "nonsense;;q"]) {
      const { headers, body } = await rawGet(url, path, { "accept-encoding": accepted });
      expect([headers["content-encoding"], body.length], accepted).to.deep.equal([undefined, plain.body.length]);
    }
    const [{ cid }] = (JSON.parse(plain.body.toString()) as { items: [{ cid: string }] }).items;
    for (const small of ["/health", `/v1/blocks/${cid}`]) {
      expect((await rawGet(url, small, { "accept-encoding": "br" })).headers, small).not.to.have.property(
        "content-encoding",
      );
    }
    const head = await rawGet(url, path, {}, "HEAD");
    expect([head.body.length, head.headers["content-length"]]).to.deep.equal([0, plain.headers["content-length"]]);
  });

  it("bounds what one page of blocks holds, and goes on behind it", async () => {
    const text = "x".repeat(500_000);
    const cids = Array.from({ length: 12 }, (_, i) => history.message(ALICE, BOB, { text, seq: 100 + i }));
    history.anchor(deltaOf([room, cids]));
    chain.grow();
    const { url } = await start(chain, content);
    await waitForBlock(url, 105);
    const found: string[] = [];
    let next: string | null = "";
    let pages = 0;
    while (next !== null) {
      const cursor: string = next === "" ? "" : `&cursor=${next}`;
      const { body } = await rawGet(url, `/v1/rooms/${room}/messages?include=block&limit=200&since=3${cursor}`);
      expect(body.length).to.be.lessThan(6_000_000);
      const page = JSON.parse(body.toString()) as { items: { cid: string }[]; next: string | null };
      found.push(...page.items.map(({ cid }) => cid));
      next = page.next;
      pages += 1;
    }
    expect([found, pages > 1]).to.deep.equal([cids, true]);
  });

  it("lets the configured web pages read, and no others", async () => {
    const app = "https://app.example";
    const preflight = { "access-control-request-method": "GET", "access-control-request-headers": "if-none-match" };
    const closed = await start(chain, content, { name: "closed" });
    const open = await start(chain, content, { name: "open", corsOrigins: ["*"] });
    const one = await start(chain, content, { name: "one", corsOrigins: [app, "https://other.example"] });
    const answers = async (url: string, origin: string) => {
      const { headers } = await rawGet(url, "/health", { origin });
      const { status } = await rawGet(url, "/health", { origin, ...preflight }, "OPTIONS");
      return [headers["access-control-allow-origin"], headers["cross-origin-resource-policy"], status];
    };
    expect(await answers(closed.url, app)).to.deep.equal([undefined, "same-origin", 405]);
    expect(await answers(open.url, app)).to.deep.equal(["*", "cross-origin", 204]);
    expect(await answers(one.url, app)).to.deep.equal([app, "cross-origin", 204]);
    for (const stranger of ["https://app.example.evil", "null", "http://app.example"]) {
      expect(await answers(one.url, stranger)).to.deep.equal([undefined, "same-origin", 405]);
    }
    const problem = await rawGet(one.url, "/nothing", { origin: app });
    expect([problem.headers["access-control-allow-origin"], problem.headers.vary]).to.deep.equal([app, "Origin"]);
    const allowed = await rawGet(one.url, "/health", { origin: app, ...preflight }, "OPTIONS");
    expect(allowed.headers["access-control-allow-headers"]).to.equal("If-None-Match, Last-Event-ID");
  });
});
