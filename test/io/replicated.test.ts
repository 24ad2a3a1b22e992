import { join } from "node:path";

import { expect } from "chai";

import { CarFileSource, CarUrlSource } from "../../io/content/car-source.ts";
import { EmbeddedStore } from "../../io/content/embedded.ts";
import { GatewaySource } from "../../io/content/gateway.ts";
import { KuboStore } from "../../io/content/kubo.ts";
import { openContent, openSource } from "../../io/content/open.ts";
import { ReplicatedStore } from "../../io/content/replicated.ts";
import { cidOf } from "../../protocol/cid.ts";
import type { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { FakeKubo, fail } from "../fixtures/fake-kubo.ts";
import { useFolder } from "../fixtures/folder.ts";
import { codeOf, codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

function block(text: string): Block {
  const bytes = fixedBytes(text);
  return { cid: cidOf(bytes), bytes };
}

describe("Several stores as one", () => {
  const folder = useFolder();
  const kubos: FakeKubo[] = [];
  const warnings: DmtpError[] = [];
  const one = block("one");
  let store: ReplicatedStore;
  let urls: URL[];

  beforeEach(async () => {
    kubos.push(new FakeKubo(), new FakeKubo());
    warnings.length = 0;
    urls = await Promise.all(kubos.map((kubo) => kubo.start()));
    const replicas = urls.map((url) => new KuboStore(url, { searchTimeoutMs: 100, pinTimeoutMs: 300 }));
    store = new ReplicatedStore(replicas, [], { warn: (error) => warnings.push(error) });
  });
  afterEach(async () => {
    await store.close();
    for (const kubo of kubos.splice(0)) await kubo.stop().catch(() => undefined);
  });

  it("write to all of them, and read from one", async () => {
    await store.put([one]);
    for (const kubo of kubos) expect(kubo.blocks.get(one.cid)).to.deep.equal(one.bytes);
    expect(await store.isPinned([one.cid])).to.deep.equal([true]);
    for (const kubo of kubos) kubo.requests.length = 0;
    expect(await store.get(one.cid)).to.deep.equal(one.bytes);
    expect(kubos.map(({ requests }) => requests.length)).to.deep.equal([1, 0]);
  });

  it("find in one what another lost, or gives wrong", async () => {
    await store.put([one]);
    kubos[0]!.blocks.set(one.cid, fixedBytes("other"));
    expect(await store.get(one.cid)).to.deep.equal(one.bytes);
    expect(store.health().map(({ state }) => state)).to.deep.equal(["suspended", "ok"]);
    expect(store.health()[0]?.faults.wrong).to.equal(1);
    kubos[0]!.blocks.delete(one.cid);
    expect(await store.get(one.cid)).to.deep.equal(one.bytes);
  });

  it("acknowledge what one took, and name the one that is behind, once", async () => {
    await kubos[1]!.stop();
    await store.put([one]);
    await store.put([block("two")]);
    await store.pin([one.cid]);
    expect(await store.get(one.cid)).to.deep.equal(one.bytes);
    expect(warnings.map(({ code }) => code)).to.deep.equal(["CONTENT_UNREACHABLE"]);
    expect(warnings[0]?.message).to.include(urls[1]?.host);
  });

  it("refuse when none took it, and when the block is wrong, whoever would have taken it", async () => {
    for (const kubo of kubos) {
      kubo.intercept = (_, response) => {
        fail(response, "disk is full");
        return true;
      };
    }
    expect(await codeOfAsync(() => store.put([one]))).to.equal("CONTENT_WRITE_FAILED");
    expect(await codeOfAsync(() => store.put([{ cid: one.cid, bytes: fixedBytes("x") }]))).to.equal(
      "BLOCK_HASH_MISMATCH",
    );
    expect(warnings).to.deep.equal([]);
  });

  it("do not search the network for what one of them has, for the sake of the other", async () => {
    kubos[0]!.blocks.set(one.cid, one.bytes);
    await store.pin([one.cid]);
    expect(kubos.map(({ pins }) => pins.has(one.cid))).to.deep.equal([true, false]);
    // To pin is to search.
    expect(kubos[1]!.requests.map(({ path }) => path)).not.to.include("/api/v0/pin/add");
    expect(warnings.map(({ code }) => code)).to.deep.equal(["CONTENT_MISSING"]);
    expect(await store.isPinned([one.cid])).to.deep.equal([false]);
  });

  it("are what the configuration makes them, with sources beside", async () => {
    const other = new EmbeddedStore(join(folder(), "other"));
    await other.put([one]);
    await other.close();
    const ipfsApis = urls.map((url) => ({ url, headers: {} }));
    const opened = openContent({ ipfsApis, contentSources: [join(folder(), "other")] }, folder());
    expect(opened.name).to.equal(urls.map(({ host }) => `Kubo at ${host}`).join(" and "));
    expect(await opened.get(one.cid)).to.deep.equal(one.bytes);
    expect(opened.health?.().map(({ found }) => found)).to.deep.equal([0, 0, 1]);
    await opened.close();
  });

  for (const [name, kind] of [
    ["https://gateway.example/base", GatewaySource],
    ["https://files.example/history.car", CarUrlSource],
    ["kubo+http://127.0.0.1:5001", KuboStore],
    ["history.car", CarFileSource],
    ["file:///data/history.car", CarFileSource],
    ["../data/blocks", EmbeddedStore],
    ["/data/blocks", EmbeddedStore],
  ] as const) {
    it(`are opened by their names: ${name}`, async () => {
      const source = openSource(name);
      expect(source).to.be.instanceOf(kind);
      await source.close();
    });
  }

  for (const name of ["", "ftp://x.example", "kubo+ftp://x", "http://", "kubo+http://"]) {
    it(`are not opened by another name: ${JSON.stringify(name)}`, () => {
      expect(codeOf(() => openSource(name))).to.equal("CONFIGURATION_INVALID");
    });
  }
});
