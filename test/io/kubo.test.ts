import { expect } from "chai";

import { EmbeddedStore } from "../../io/content/embedded.ts";
import { KuboStore } from "../../io/content/kubo.ts";
import { openContent } from "../../io/content/open.ts";
import { cidOf } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { FakeKubo, fail, json } from "../fixtures/fake-kubo.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, deltaOf, History } from "../fixtures/history.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

function block(text: string): Block {
  const bytes = fixedBytes(text);
  return { cid: cidOf(bytes), bytes };
}

describe("The Kubo content store", () => {
  const folder = useFolder();
  let kubo: FakeKubo;
  let url: URL;
  let store: KuboStore;

  beforeEach(async () => {
    kubo = new FakeKubo();
    url = await kubo.start();
    store = new KuboStore(url, { searchTimeoutMs: 200, pinTimeoutMs: 400 });
  });
  afterEach(() => kubo.stop());

  it("puts blocks so that Kubo names them as the embedded store does, and reads them back", async () => {
    const blocks = Array.from({ length: 40 }, (_, i) => block(`block ${i}`));
    await store.put(blocks);
    const embedded = new EmbeddedStore(folder());
    await embedded.put(blocks);
    for (const { cid, bytes } of blocks) {
      expect(await store.get(cid)).to.deep.equal(bytes);
      expect(await embedded.get(cid)).to.deep.equal(bytes);
    }
    const puts = kubo.requests.filter(({ path }) => path === "/api/v0/block/put");
    expect(puts.length).to.equal(40);
    for (const { query } of puts) {
      expect(query.get("cid-codec")).to.equal("dag-cbor");
      expect(query.get("mhtype")).to.equal("sha2-256");
      expect(query.has("format")).to.equal(false);
      expect(query.has("signal")).to.equal(false);
    }
  }).timeout(10_000);

  it("asks Kubo's own disk first, and the network only when it has none", async () => {
    const [here, far] = [block("here"), block("far")];
    await store.put([here]);
    kubo.remote.set(far.cid, far.bytes);
    kubo.requests.length = 0;
    expect(await store.get(here.cid)).to.deep.equal(here.bytes);
    expect(kubo.requests.map(({ query }) => query.get("offline"))).to.deep.equal(["true"]);
    expect(await store.get(far.cid)).to.deep.equal(far.bytes);
    expect(kubo.requests.map(({ query }) => query.get("offline"))).to.deep.equal(["true", "true", null]);
  });

  it("gives up on a block that the network does not have in time: null, and no error", async () => {
    const start = performance.now();
    expect(await store.get(block("nowhere").cid)).to.equal(null);
    expect(performance.now() - start).to.be.within(150, 5_000);
  });

  it("does not believe other bytes, whoever gives them", async () => {
    const one = block("one");
    kubo.blocks.set(one.cid, fixedBytes("other"));
    expect(await store.get(one.cid)).to.equal(null);
  });

  it("refuses a block that Kubo stored under another CID", async () => {
    kubo.intercept = ({ path }, response) => {
      if (path === "/api/v0/block/put") json(response, { Key: block("other").cid, Size: 32 });
      return path === "/api/v0/block/put";
    };
    expect(await codeOfAsync(() => store.put([block("one")]))).to.equal("CONTENT_WRITE_FAILED");
  });

  it("refuses bytes that are not the CID's before it sends anything", async () => {
    expect(await codeOfAsync(() => store.put([{ cid: block("a").cid, bytes: fixedBytes("b") }]))).to.equal(
      "BLOCK_HASH_MISMATCH",
    );
    expect(kubo.requests).to.deep.equal([]);
  });

  it("says why Kubo did not take a block", async () => {
    kubo.intercept = (_, response) => {
      fail(response, "disk is full");
      return true;
    };
    try {
      await store.put([block("one")]);
      expect.fail("the block was taken");
    } catch (error) {
      expect(error).to.be.instanceOf(DmtpError);
      expect((error as DmtpError).code).to.equal("CONTENT_WRITE_FAILED");
      expect((error as DmtpError).message).to.include("disk is full");
    }
  });

  it("pins recursively, and tells pinned from not pinned, few and many at a time", async () => {
    const blocks = Array.from({ length: 40 }, (_, i) => block(`block ${i}`));
    const cids = blocks.map(({ cid }) => cid);
    await store.put(blocks);
    await store.pin(cids.slice(0, 2));
    const adds = kubo.requests.filter(({ path }) => path === "/api/v0/pin/add");
    expect(adds.map(({ query }) => [query.get("arg"), query.get("recursive")])).to.have.deep.members([
      [cids[0], "true"],
      [cids[1], "true"],
    ]);
    expect(await store.isPinned(cids.slice(0, 3))).to.deep.equal([true, true, false]);
    expect(await store.isPinned(cids)).to.deep.equal(cids.map((_, i) => i < 2));
    const lists = kubo.requests.filter(({ path }) => path === "/api/v0/pin/ls");
    expect(lists.map(({ query }) => query.get("type"))).to.deep.equal(Array(4).fill("recursive"));
    expect(lists.filter(({ query }) => !query.has("arg")).length).to.equal(1);
  });

  it("names what is missing of a manifest and of all that it links to, without asking the network", async () => {
    const history = new History();
    const message = history.message(ALICE, BOB);
    const draft = history.draft(deltaOf([history.room(ALICE, BOB), [message]]));
    const blocks = [...history.blocks].map(([cid, bytes]) => ({ cid, bytes }));
    await store.put(blocks);
    expect(await store.missing([draft.cid], 10)).to.deep.equal([]);
    for (const { cid, bytes } of blocks) {
      kubo.blocks.delete(cid);
      expect(await store.missing([draft.cid], 10)).to.deep.equal([cid]);
      kubo.blocks.set(cid, bytes);
    }
    kubo.blocks.clear();
    expect(
      await store.missing(
        blocks.map(({ cid }) => cid),
        2,
      ),
    ).to.have.length(2);
    const gets = kubo.requests.filter(({ path }) => path === "/api/v0/block/get");
    expect(gets.filter(({ query }) => query.get("offline") !== "true")).to.deep.equal([]);
  });

  it("does not search for what it is told to pin from what is at hand", async () => {
    const one = block("one");
    await store.put([one]);
    await store.pin([one.cid], { isSearching: false });
    await store.pin([one.cid]);
    const adds = kubo.requests.filter(({ path }) => path === "/api/v0/pin/add");
    expect(adds.map(({ query }) => query.get("offline"))).to.deep.equal(["true", null]);
  });

  it("says that something to pin cannot be found in time", async () => {
    expect(await codeOfAsync(() => store.pin([block("nowhere").cid]))).to.equal("CONTENT_MISSING");
  });

  it("says that Kubo cannot be reached, in every method", async () => {
    const { cid, bytes } = block("one");
    const gone = new KuboStore(new URL("http://127.0.0.1:9"));
    expect(await codeOfAsync(() => gone.get(cid))).to.equal("CONTENT_UNREACHABLE");
    expect(await codeOfAsync(() => gone.pin([cid]))).to.equal("CONTENT_UNREACHABLE");
    expect(await codeOfAsync(() => gone.isPinned([cid]))).to.equal("CONTENT_UNREACHABLE");
    expect(await codeOfAsync(() => gone.put([{ cid, bytes }]))).to.equal("CONTENT_WRITE_FAILED");
  });

  it("says that what answers there is not Kubo", async () => {
    kubo.intercept = (_, response) => {
      response.writeHead(403).end("forbidden");
      return true;
    };
    expect(await codeOfAsync(() => store.get(block("one").cid))).to.equal("CONTENT_UNREACHABLE");
  });

  it("sends a user name and password as a header, and shows them nowhere", async () => {
    const secret = new URL(url);
    secret.username = "operator";
    secret.password = "s3cret-value";
    const authorized = new KuboStore(secret, { searchTimeoutMs: 100 });
    expect(authorized.name).to.equal(`Kubo at ${url.host}`);
    await authorized.put([block("one")]);
    expect(kubo.requests[0]?.headers.authorization).to.equal(`Basic ${btoa("operator:s3cret-value")}`);
    await kubo.stop();
    for (const act of [
      () => authorized.get(block("one").cid),
      () => authorized.put([block("one")]),
      () => authorized.pin([block("one").cid]),
    ]) {
      const error = await act().then(
        () => null,
        (reason: unknown) => reason as DmtpError,
      );
      expect(error?.message).to.be.a("string").that.does.not.include("s3cret");
    }
    await kubo.start();
  });

  it("is what IPFS_API_URL chooses; without it blocks are files", () => {
    expect(openContent({ ipfsApiUrl: url }, folder())).to.be.instanceOf(KuboStore);
    expect(openContent({ ipfsApiUrl: undefined }, folder())).to.be.instanceOf(EmbeddedStore);
  });
});
