import type { ServerResponse } from "node:http";

import { expect } from "chai";

import { EmbeddedStore } from "../../io/content/embedded.ts";
import { KuboStore } from "../../io/content/kubo.ts";
import { openContent } from "../../io/content/open.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, linkTo } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import { findHint } from "../../protocol/hint.ts";
import type { Block } from "../../protocol/manifest.ts";
import { FakeKubo, fail, json } from "../fixtures/fake-kubo.ts";
import { useFolder } from "../fixtures/folder.ts";
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
    const imports = kubo.requests.filter(({ path }) => path === "/api/v0/dag/import");
    expect(imports.map(({ query }) => [...query])).to.deep.equal([
      [
        ["pin-roots", "true"],
        ["timeout", "60000ms"],
      ],
    ]);
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

  it("pins a block by itself, and several by one list of links to them, along with the write", async () => {
    const [one, two, three] = [block("one"), block("two"), block("three")];
    await store.put([one]);
    await store.put([two, three]);
    const list = encode([linkTo(two.cid), linkTo(three.cid)]);
    expect([...kubo.pins]).to.deep.equal([one.cid, cidOf(list)]);
    expect(kubo.blocks.get(cidOf(list))).to.deep.equal(list);
  });

  for (const [title, answer, code] of [
    [
      "another root than the one it was given",
      { Root: { Cid: { "/": block("x").cid }, PinErrorMsg: "" } },
      "CONTENT_WRITE_FAILED",
    ],
    ["nothing, as an error that comes late looks", {}, "CONTENT_WRITE_FAILED"],
    [
      "that it cannot pin",
      { Root: { Cid: { "/": block("one").cid }, PinErrorMsg: "pin: no space left on device" } },
      "CONTENT_WRITE_FAILED",
    ],
  ] as const) {
    it(`takes it for no success when Kubo answers an import with ${title}`, async () => {
      kubo.intercept = ({ path }, response) => {
        if (path === "/api/v0/dag/import") json(response, answer);
        return path === "/api/v0/dag/import";
      };
      expect(await codeOfAsync(() => store.put([block("one")]))).to.equal(code);
    });
  }

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

  it("pins recursively, one by itself and many as one list, and tells pinned from not pinned", async () => {
    const blocks = Array.from({ length: 40 }, (_, i) => block(`block ${i}`));
    const cids = blocks.map(({ cid }) => cid);
    for (const { cid, bytes } of blocks) kubo.blocks.set(cid, bytes);
    await store.pin(cids.slice(0, 1));
    await store.pin(cids.slice(1));
    expect([...kubo.pins]).to.deep.equal([cids[0], cidOf(encode(cids.slice(1).map(linkTo)))]);
    expect(await store.isPinned(cids.slice(0, 3))).to.deep.equal([true, false, false]);
    expect(await store.isPinned(cids)).to.deep.equal(cids.map((_, i) => i === 0));
    const lists = kubo.requests.filter(({ path }) => path === "/api/v0/pin/ls");
    expect(lists.map(({ query }) => query.get("type"))).to.deep.equal(Array(4).fill("recursive"));
    expect(lists.filter(({ query }) => !query.has("arg")).length).to.equal(1);
  });

  it("asks first whether everything is available when it is not to search, and pins nothing when it is not", async () => {
    const [here, far] = [block("here"), block("far")];
    await store.put([here]);
    await store.pin([here.cid], { isSearching: false });
    const before = new Set(kubo.pins);
    expect(await codeOfAsync(() => store.pin([far.cid], { isSearching: false }))).to.equal("CONTENT_MISSING");
    expect(kubo.pins).to.deep.equal(before);
    const asked = kubo.requests.filter(({ path }) => path === "/api/v0/dag/stat");
    expect(asked.map(({ query }) => [query.get("arg"), query.get("offline")])).to.deep.equal([
      [here.cid, "true"],
      [far.cid, "true"],
    ]);
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
    expect(await codeOfAsync(() => gone.put([{ cid, bytes }]))).to.equal("CONTENT_UNREACHABLE");
  });

  it("names the option that it is of when it cannot be reached", async () => {
    const { cid, bytes } = block("one");
    for (const [hint, named] of [
      [undefined, "IPFS_API_URL"],
      ["Check --to.", "--to"],
    ] as const) {
      const gone = new KuboStore(new URL("http://127.0.0.1:9"), { ...(hint !== undefined && { hint }) });
      for (const act of [() => gone.get(cid), () => gone.put([{ cid, bytes }])]) {
        const error: unknown = await act().catch((reason: unknown) => reason);
        expect(error).to.be.instanceOf(DmtpError);
        expect(findHint(error as DmtpError)).to.include(named);
      }
    }
  });

  describe("behind a proxy that takes no large body", () => {
    const LIMIT = 1024 * 1024;
    const blocks = Array.from({ length: 9 }, (_, i) => {
      const bytes = encode(new Uint8Array(320_000).fill(i));
      return { cid: cidOf(bytes), bytes };
    });
    let refused = 0;
    beforeEach(() => {
      refused = 0;
    });
    const limit =
      (refuse: (response: ServerResponse) => void): FakeKubo["intercept"] =>
      ({ headers }, response) => {
        if (Number(headers["content-length"] ?? 0) <= LIMIT) return false;
        refused += 1;
        refuse(response);
        return true;
      };

    for (const [how, refuse] of [
      ["says 413", (response) => response.writeHead(413, { "content-type": "text/html" }).end("<h1>413</h1>")],
      ["says 400 in its own words", (response) => response.writeHead(400).end("Bad Request")],
      ["ends the connection", (response) => response.destroy()],
    ] as readonly (readonly [string, (response: ServerResponse) => void])[]) {
      it(`sends less at a time when it ${how}, and remembers how much`, async () => {
        kubo.intercept = limit(refuse);
        await store.put(blocks);
        for (const { cid, bytes } of blocks) expect(kubo.blocks.get(cid)).to.deep.equal(bytes);
        expect(refused).to.be.greaterThan(0);
        refused = 0;
        await store.put(blocks);
        expect(refused).to.equal(0);
      });
    }

    it("says which status it gets when a single block is more than it takes", async () => {
      kubo.intercept = limit((response) => response.writeHead(413).end("<h1>413</h1>"));
      const bytes = encode(new Uint8Array(LIMIT - 10));
      const error = await store.put([...blocks, { cid: cidOf(bytes), bytes }]).catch((reason: unknown) => reason);
      expect(error).to.have.property("code", "CONTENT_WRITE_FAILED");
      expect(error).to.have.property("message").that.includes("413");
    });

    it("pins many by shorter lists", async () => {
      const many = Array.from({ length: 16_384 }, (_, i) => block(`block ${i}`));
      for (const { cid, bytes } of many) kubo.blocks.set(cid, bytes);
      kubo.intercept = ({ headers }, response) => {
        if (Number(headers["content-length"] ?? 0) < 200_000) return false;
        refused += 1;
        response.writeHead(413).end();
        return true;
      };
      await store.pin(many.map(({ cid }) => cid));
      expect([refused, kubo.pins.size]).to.deep.equal([2, 4]);
    });

    it("is not sent less when Kubo itself refuses", async () => {
      let asked = 0;
      kubo.intercept = (_, response) => {
        asked += 1;
        fail(response, "disk is full");
        return true;
      };
      expect(await codeOfAsync(() => store.put(blocks))).to.equal("CONTENT_WRITE_FAILED");
      expect(asked).to.equal(1);
    });
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
    const one = openContent({ ipfsApis: [{ url, headers: {} }], contentSources: [] }, folder());
    expect(one.name).to.equal(`Kubo at ${url.host}`);
    expect(openContent({ ipfsApis: [], contentSources: [] }, folder())).to.be.instanceOf(EmbeddedStore);
  });
});
