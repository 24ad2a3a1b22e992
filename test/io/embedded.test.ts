import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { EmbeddedStore } from "../../io/content/embedded.ts";
import { MAX_BLOCK_BYTES } from "../../protocol/cbor.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import type { Block } from "../../protocol/manifest.ts";
import { useFolder } from "../fixtures/folder.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

describe("The embedded content store", () => {
  const folder = useFolder();
  const root = () => join(folder(), "blocks");
  const pathOf = (cid: Cid) => join(root(), cid.slice(-3, -1), cid);

  function block(text: string): Block {
    const bytes = fixedBytes(text);
    return { cid: cidOf(bytes), bytes };
  }

  it("gives back what was put, also to a store opened later, under the CID's own name", async () => {
    const blocks = Array.from({ length: 600 }, (_, i) => block(`block ${i}`));
    await new EmbeddedStore(root()).put(blocks);
    const store = new EmbeddedStore(root());
    for (const { cid, bytes } of blocks) expect(await store.get(cid)).to.deep.equal(bytes);
    const [first] = blocks as [Block];
    expect(new Uint8Array(readFileSync(pathOf(first.cid)))).to.deep.equal(first.bytes);
    expect(readdirSync(join(root(), "tmp"))).to.deep.equal([]);
  });

  it("holds the largest block and an empty one, and takes a block that comes twice", async () => {
    const store = new EmbeddedStore(root());
    const blocks = [new Uint8Array(MAX_BLOCK_BYTES).fill(7), new Uint8Array(0)].map((bytes) => ({
      cid: cidOf(bytes),
      bytes,
    }));
    await store.put([...blocks, ...blocks]);
    await store.put(blocks);
    for (const { cid, bytes } of blocks) expect(await store.get(cid)).to.deep.equal(bytes);
  });

  it("has no block in a folder that is not there, and makes the folder only when it writes", async () => {
    const store = new EmbeddedStore(root());
    expect(await store.get(block("none").cid)).to.equal(null);
    expect(await store.isPinned([block("none").cid])).to.deep.equal([false]);
    await store.put([]);
    expect(existsSync(root())).to.equal(false);
  });

  it("refuses bytes that are not the CID's, and too many of them, before it writes anything", async () => {
    const store = new EmbeddedStore(root());
    const large = new Uint8Array(MAX_BLOCK_BYTES + 1);
    const good = block("good");
    expect(await codeOfAsync(() => store.put([good, { cid: good.cid, bytes: fixedBytes("bad") }]))).to.equal(
      "BLOCK_HASH_MISMATCH",
    );
    expect(await codeOfAsync(() => store.put([good, { cid: cidOf(large), bytes: large }]))).to.equal("BLOCK_TOO_LARGE");
    expect(await store.get(good.cid)).to.equal(null);
  });

  for (const [title, damage] of [
    ["emptied by a power cut", (path: string) => truncateSync(path, 0)],
    ["cut short", (path: string) => truncateSync(path, 16)],
    ["grown", (path: string) => writeFileSync(path, Buffer.alloc(40))],
    [
      "with one bit flipped",
      (path: string) =>
        writeFileSync(
          path,
          readFileSync(path).map((byte, i) => (i === 9 ? byte ^ 1 : byte)),
        ),
    ],
    ["larger than a block can be", (path: string) => truncateSync(path, MAX_BLOCK_BYTES + 1)],
  ] as const) {
    it(`does not believe a file ${title}, and writes it again when the block is put again`, async () => {
      const store = new EmbeddedStore(root());
      const one = block("one");
      await store.put([one]);
      damage(pathOf(one.cid));
      expect(await store.get(one.cid)).to.equal(null);
      await store.put([one]);
      expect(await store.get(one.cid)).to.deep.equal(one.bytes);
    });
  }

  it("removes temporary files that a crash left long ago, and none that another process may be writing", async () => {
    await new EmbeddedStore(root()).put([block("one")]);
    const [old, fresh] = ["old", "fresh"].map((name) => join(root(), "tmp", name)) as [string, string];
    writeFileSync(old, "half a bl");
    writeFileSync(fresh, "half a bl");
    const longAgo = Date.now() / 1000 - 7_200;
    utimesSync(old, longAgo, longAgo);
    const store = new EmbeddedStore(root());
    expect(existsSync(old)).to.equal(false);
    expect(existsSync(fresh)).to.equal(true);
    expect(await store.get(block("one").cid)).not.to.equal(null);
  });

  it("leaves no temporary file and no half of a batch's file behind when a write fails, and says so by code", async () => {
    const store = new EmbeddedStore(root());
    const [one, two] = [block("one"), block("two")];
    mkdirSync(pathOf(two.cid), { recursive: true });
    expect(await codeOfAsync(() => store.put([one, two]))).to.be.oneOf(["CONTENT_WRITE_FAILED", "CONTENT_UNREACHABLE"]);
    writeFileSync(join(folder(), "file"), "");
    const blocked = new EmbeddedStore(join(folder(), "file"));
    expect(await codeOfAsync(() => blocked.put([one]))).to.equal("CONTENT_WRITE_FAILED");
  });

  it("says that a block cannot be read, which is another thing than not having it", async () => {
    const store = new EmbeddedStore(root());
    const one = block("one");
    mkdirSync(pathOf(one.cid), { recursive: true });
    expect(await codeOfAsync(() => store.get(one.cid))).to.equal("CONTENT_UNREACHABLE");
  });

  it("remembers pins, those of another process and those after a line cut short by a crash too", async () => {
    const [one, two, three] = ["one", "two", "three"].map(block) as [Block, Block, Block];
    const store = new EmbeddedStore(root());
    const other = new EmbeddedStore(root());
    await store.put([one, two, three]);
    await store.pin([one.cid]);
    await store.pin([one.cid]);
    expect(await other.isPinned([one.cid, two.cid])).to.deep.equal([true, false]);
    const pins = join(root(), "pins");
    const size = statSync(pins).size;
    await other.pin([two.cid]);
    truncateSync(pins, size + 20);
    await other.pin([three.cid]);
    expect(await store.isPinned([one.cid, two.cid, three.cid])).to.deep.equal([true, false, true]);
  });

  it("pins nothing that it does not have", async () => {
    const store = new EmbeddedStore(root());
    expect(await codeOfAsync(() => store.pin([block("none").cid]))).to.equal("CONTENT_MISSING");
  });

  it("lets a server have its turn while many blocks are read", async () => {
    const store = new EmbeddedStore(root());
    const blocks = Array.from({ length: 200 }, (_, i) => block(`block ${i}`));
    await store.put(blocks);
    let turns = 0;
    const timer = setInterval(() => (turns += 1), 1);
    const end = performance.now() + 150;
    while (performance.now() < end) for (const { cid } of blocks) await store.get(cid);
    clearInterval(timer);
    expect(turns).to.be.greaterThan(3);
  });
});
