import { createServer, request, type Server } from "node:http";
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { KuboStore } from "../../io/content/kubo.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, linkTo } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import type { KuboDaemon } from "../../scripts/kubo-daemon.ts";
import { describeKubo } from "../fixtures/kubo.ts";
import { listen, shut } from "../fixtures/loopback.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

let made = 0;

/** A block that no daemon has seen before. */
function block(sizeBytes = 64): Block {
  const bytes = new Uint8Array(sizeBytes);
  bytes.set(fixedBytes(`block ${made++}`).subarray(0, sizeBytes));
  const encoded = encode(bytes);
  return { cid: cidOf(encoded), bytes: encoded };
}

function blocks(count: number): Block[] {
  return Array.from({ length: count }, () => block());
}

function linking(to: readonly Block[]): Block {
  const bytes = encode(to.map(({ cid }) => linkTo(cid)));
  return { cid: cidOf(bytes), bytes };
}

async function errorOf(act: () => Promise<unknown>): Promise<DmtpError> {
  try {
    await act();
  } catch (error) {
    if (error instanceof DmtpError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describeKubo("A real Kubo daemon", (start) => {
  let kubo: KuboDaemon;
  let store: KuboStore;

  const gc = (): void => void kubo.run(["repo", "gc", "--quiet"]);
  const expectAll = async (all: readonly Block[]): Promise<void> => {
    for (const { cid, bytes } of all) expect(Buffer.compare((await store.get(cid)) ?? Buffer.of(), bytes)).to.equal(0);
  };

  before(async () => {
    kubo = await start();
    store = new KuboStore(kubo.apiUrl, { searchTimeoutMs: 1_000, pinTimeoutMs: 20_000 });
  });
  after(() => store.close());

  it("takes no part in any network: one private address, no peer, nobody to ask", () => {
    expect(kubo.run(["swarm", "peers"])).to.equal("");
    expect(kubo.run(["swarm", "addrs", "listen"])).to.match(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\n(?:\/p2p-circuit\n)?$/);
    expect(kubo.run(["bootstrap", "list"])).to.equal("");
  });

  it("names blocks as we do, gives them back, and does not have others", async () => {
    const all = [...blocks(300), block(0), block(1_048_571)];
    await store.put(all);
    await expectAll(all);
    expect(await store.get(block().cid)).to.equal(null);
  });

  it("keeps what was put over a garbage collection, one block and many", async () => {
    const [one, ...many] = blocks(50) as [Block, ...Block[]];
    const stray = block();
    kubo.run(["dag", "put", "--input-codec=dag-cbor", "--store-codec=dag-cbor", "--pin=false"], stray.bytes);
    await store.put([one]);
    await store.put(many);
    gc();
    await expectAll([one, ...many]);
    expect(await store.get(stray.cid)).to.equal(null);
  });

  it("keeps every batch that it acknowledged while garbage is collected all the time", async () => {
    const over = new AbortController();
    const collecting = (async () => {
      while (!over.signal.aborted) {
        await fetch(new URL("/api/v0/repo/gc?quiet=true", kubo.apiUrl), { method: "POST" }).then((r) => r.text());
      }
    })();
    const put: Block[] = [];
    for (let round = 0; round < 25; round++) {
      const batch = blocks(10);
      await store.put(batch);
      put.push(...batch);
      // The list by which they are pinned at once is garbage until it is pinned itself.
      const cids = batch.map(({ cid }) => cid);
      for (let again = 0; again < 4; again++) await store.pin(cids.slice(again), { isSearching: false });
    }
    over.abort();
    await collecting;
    gc();
    await expectAll(put);
  });

  it("pins with a root all that it links to, and says when something of it is missing", async () => {
    const leaves = blocks(5);
    const shard = linking(leaves);
    const root = linking([shard]);
    for (const { bytes } of [...leaves, shard, root]) {
      kubo.run(["dag", "put", "--input-codec=dag-cbor", "--store-codec=dag-cbor", "--pin=false"], bytes);
    }
    await store.pin([root.cid]);
    gc();
    await expectAll([...leaves, shard, root]);
    expect(await store.isPinned([root.cid, shard.cid])).to.deep.equal([true, false]);
    const hasty = new KuboStore(kubo.apiUrl, { writeTimeoutMs: 1_000, pinTimeoutMs: 1_000 });
    const missing = block();
    for (const act of [
      () => hasty.put([linking([missing])]),
      () => hasty.pin([linking([missing]).cid]),
      () => store.pin([linking([missing]).cid], { isSearching: false }),
    ]) {
      const error = await errorOf(act);
      expect(error.code).to.equal("CONTENT_MISSING");
      expect(error.message).to.include(missing.cid);
    }
    await hasty.close();
  });

  it("pins again what its emptied pin index has lost", async () => {
    const leaves = blocks(3);
    const root = linking(leaves);
    await store.put([...leaves, root]);
    await store.pin([root.cid]);
    const pinned = kubo.run(["pin", "ls", "--type=recursive", "--quiet"]).trim().split("\n");
    kubo.run(["pin", "rm", ...pinned]);
    expect(await store.isPinned([root.cid])).to.deep.equal([false]);
    await store.pin([root.cid]);
    expect(await store.isPinned([root.cid])).to.deep.equal([true]);
    gc();
    await expectAll([...leaves, root]);
  });

  it("has all that it acknowledged when it was killed, and is used again as soon as it is back", async () => {
    const all = blocks(200);
    await store.put(all);
    await kubo.kill();
    expect(await codeOfAsync(() => store.get(all[0]!.cid))).to.equal("CONTENT_UNREACHABLE");
    expect(await codeOfAsync(() => store.put([block()]))).to.equal("CONTENT_UNREACHABLE");
    expect(await codeOfAsync(() => store.pin([all[0]!.cid]))).to.equal("CONTENT_UNREACHABLE");
    expect(await codeOfAsync(() => store.isPinned([all[0]!.cid]))).to.equal("CONTENT_UNREACHABLE");
    await kubo.restart();
    gc();
    await expectAll(all);
    await store.put([block()]);
  });

  it("is killed in the middle of a write: that write fails, and succeeds when it is repeated", async () => {
    const all = Array.from({ length: 60 }, () => block(400_000));
    const failing = codeOfAsync(() => store.put(all));
    await new Promise((resolve) => setTimeout(resolve, 30));
    await kubo.kill();
    expect(await failing).to.equal("CONTENT_UNREACHABLE");
    await kubo.restart();
    await store.put(all);
    gc();
    await expectAll(all);
  });

  describe("that runs out of disk", () => {
    it("fails the write by code, keeps what it acknowledged, and takes it when there is space", async function () {
      if (process.platform !== "linux" || process.getuid?.() !== 0) {
        this.test!.title += " (skipped: a small disk needs root on Linux)";
        this.skip();
      }
      const small = await start({ diskMiB: 24 });
      const full = new KuboStore(small.apiUrl, { searchTimeoutMs: 500 });
      const disk = join(`/proc/${small.pid}/root`, small.repository);
      const ballast = join(disk, "ballast");
      const kept: Block[] = [];
      const first = block();
      await full.put([first]);
      kept.push(first);
      const { bavail, bsize } = statfsSync(disk);
      writeFileSync(ballast, new Uint8Array(bavail * bsize - 2 * 1024 * 1024));
      let refused: Block[] = [];
      const error = await errorOf(async () => {
        for (;;) {
          refused = [block(300_000), block(300_000)];
          await full.put(refused);
          kept.push(...refused);
        }
      });
      expect(error.code).to.equal("CONTENT_WRITE_FAILED");
      expect(error.message).to.match(/no space left/);
      for (const { cid, bytes } of kept) expect(await full.get(cid)).to.deep.equal(bytes);
      rmSync(ballast);
      await full.put(refused);
      small.run(["repo", "gc", "--quiet"]);
      for (const { cid, bytes } of [...kept, ...refused]) expect(await full.get(cid)).to.deep.equal(bytes);
      await full.close();
    });
  });

  describe("behind a token", () => {
    it("is used with the header that the configuration gives, and refuses everything without it", async () => {
      const guarded = await start({
        configure: (config) => {
          config["API"] = {
            ...config["API"],
            Authorizations: { operator: { AuthSecret: "bearer:s3cret-t0ken", AllowedPaths: ["/api/v0"] } },
          };
        },
      });
      const one = block();
      const authorized = new KuboStore(guarded.apiUrl, { headers: { authorization: "Bearer s3cret-t0ken" } });
      await authorized.put([one]);
      await authorized.pin([one.cid]);
      expect(await authorized.get(one.cid)).to.deep.equal(one.bytes);
      expect(await authorized.isPinned([one.cid])).to.deep.equal([true]);
      const stranger = new KuboStore(guarded.apiUrl, { headers: { authorization: "Bearer other" } });
      for (const act of [() => stranger.get(one.cid), () => stranger.isPinned([one.cid])]) {
        expect((await errorOf(act)).code).to.equal("CONTENT_UNREACHABLE");
      }
      expect((await errorOf(() => stranger.put([one]))).code).to.equal("CONTENT_WRITE_FAILED");
      for (const act of [() => stranger.get(one.cid), () => stranger.put([one])]) {
        expect((await errorOf(act)).message).not.to.include("other");
      }
      await authorized.close();
      await stranger.close();
    });
  });

  describe("behind a reverse proxy", () => {
    let proxy: Server;
    let url: URL;

    before(async () => {
      proxy = createServer((incoming, outgoing) => {
        if (incoming.headers["x-api-key"] !== "k3y" || !incoming.url?.startsWith("/ipfs-rpc/api/v0/")) {
          outgoing.writeHead(401, { "content-type": "text/html" }).end("<h1>401</h1>");
          return;
        }
        const target = new URL(incoming.url.slice("/ipfs-rpc".length), kubo.apiUrl);
        const { host: _, ...headers } = incoming.headers;
        const forwarded = request(target, { method: incoming.method, headers }, (answer) => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
        });
        incoming.pipe(forwarded);
      });
      url = new URL("/ipfs-rpc/api/v0", await listen(proxy));
    });
    after(() => shut(proxy));

    it("is used under the proxy's path, with the header that the proxy asks for", async () => {
      const all = blocks(20);
      const proxied = new KuboStore(url, { headers: { "x-api-key": "k3y" }, searchTimeoutMs: 1_000 });
      await proxied.put(all);
      for (const { cid, bytes } of all) expect(await proxied.get(cid)).to.deep.equal(bytes);
      expect(await proxied.isPinned([all[0]!.cid])).to.deep.equal([false]);
      await proxied.close();
    });

    it("is out of reach, which is another thing than having no block, without it", async () => {
      const unknown = new KuboStore(url);
      expect((await errorOf(() => unknown.get(block().cid))).message).to.match(/HTTP status 401/);
      expect(await codeOfAsync(() => unknown.put([block()]))).to.equal("CONTENT_WRITE_FAILED");
      await unknown.close();
    });
  });
});
