import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import { EmbeddedStore } from "../../io/content/embedded.ts";
import { MAX_BLOCK_BYTES } from "../../protocol/cbor.ts";
import { cidOf, digestOfCid, type Cid } from "../../protocol/cid.ts";
import type { Block } from "../../protocol/manifest.ts";
import { useFolder } from "../fixtures/folder.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

describe("The embedded content store", () => {
  const folder = useFolder();
  const root = () => join(folder(), "blocks");
  const file = () => join(root(), "blocks.db");
  const stores: EmbeddedStore[] = [];

  function open(path = root()): EmbeddedStore {
    const store = new EmbeddedStore(path);
    stores.push(store);
    return store;
  }

  /** What only a damaged disk would do. */
  function damage(cid: Cid, bytes: Uint8Array): void {
    const database = new Database(file());
    database.prepare("UPDATE blocks SET bytes = ? WHERE digest = ?").run(bytes, digestOfCid(cid));
    database.close();
  }

  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
  });

  function block(text: string): Block {
    const bytes = fixedBytes(text);
    return { cid: cidOf(bytes), bytes };
  }

  it("gives back what was put, also to a store opened later", async () => {
    const blocks = Array.from({ length: 600 }, (_, i) => block(`block ${i}`));
    await open().put(blocks);
    const store = open();
    for (const { cid, bytes } of blocks) expect(await store.get(cid)).to.deep.equal(bytes);
  });

  it("holds the largest block and an empty one, and takes a block that comes twice", async () => {
    const store = open();
    const blocks = [new Uint8Array(MAX_BLOCK_BYTES).fill(7), new Uint8Array(0)].map((bytes) => ({
      cid: cidOf(bytes),
      bytes,
    }));
    await store.put([...blocks, ...blocks]);
    await store.put(blocks);
    for (const { cid, bytes } of blocks) expect(await store.get(cid)).to.deep.equal(bytes);
  });

  it("has no block in a folder that is not there, and makes the folder only when it writes", async () => {
    const store = open();
    expect(await store.get(block("none").cid)).to.equal(null);
    expect(await store.isPinned([block("none").cid])).to.deep.equal([false]);
    await store.put([]);
    expect(existsSync(root())).to.equal(false);
  });

  it("refuses bytes that are not the CID's, and too many of them, before it writes anything", async () => {
    const store = open();
    const large = new Uint8Array(MAX_BLOCK_BYTES + 1);
    const good = block("good");
    expect(await codeOfAsync(() => store.put([good, { cid: good.cid, bytes: fixedBytes("bad") }]))).to.equal(
      "BLOCK_HASH_MISMATCH",
    );
    expect(await codeOfAsync(() => store.put([good, { cid: cidOf(large), bytes: large }]))).to.equal("BLOCK_TOO_LARGE");
    expect(await store.get(good.cid)).to.equal(null);
  });

  for (const [title, change] of [
    ["emptied", () => new Uint8Array(0)],
    ["cut short", (bytes: Uint8Array) => bytes.slice(0, 16)],
    ["grown", (bytes: Uint8Array) => new Uint8Array([...bytes, 0])],
    ["with one bit flipped", (bytes: Uint8Array) => bytes.with(9, (bytes[9] ?? 0) ^ 1)],
    ["larger than a block can be", () => new Uint8Array(MAX_BLOCK_BYTES + 1)],
  ] as const) {
    it(`does not believe a block ${title}, and writes it again when it is put again`, async () => {
      const store = open();
      const one = block("one");
      await store.put([one]);
      damage(one.cid, change(one.bytes));
      expect(await store.get(one.cid)).to.equal(null);
      await store.put([one]);
      expect(await store.get(one.cid)).to.deep.equal(one.bytes);
    });
  }

  it("keeps every batch that it acknowledged, and all or nothing of the last, when its process is killed", async () => {
    const script = join(folder(), "writer.ts");
    const module = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
    writeFileSync(
      script,
      `import { EmbeddedStore } from ${module("../../io/content/embedded.ts")};
       import { cidOf } from ${module("../../protocol/cid.ts")};
       import { fixedBytes } from ${module("../fixtures/wallet.ts")};
       const store = new EmbeddedStore(${JSON.stringify(root())});
       for (let batch = 0; ; batch++) {
         const bytes = Array.from({ length: 50 }, (_, i) => fixedBytes(\`\${batch}/\${i}\`));
         await store.put(bytes.map((each) => ({ cid: cidOf(each), bytes: each })));
         process.stdout.write(".");
       }`,
    );
    const child = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
    let acknowledged = 0;
    for await (const chunk of child.stdout) {
      acknowledged += (chunk as Buffer).length;
      if (acknowledged >= 20) break;
    }
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    const store = open();
    const batchOf = (batch: number) =>
      Promise.all(Array.from({ length: 50 }, (_, i) => store.get(block(`${batch}/${i}`).cid)));
    for (let batch = 0; batch < acknowledged; batch++) expect(await batchOf(batch)).not.to.include(null);
    for (let batch = acknowledged; batch < acknowledged + 20; batch++) {
      const found = (await batchOf(batch)).filter((bytes) => bytes !== null).length;
      expect(found).to.be.oneOf([0, 50]);
    }
  });

  it("says by code that it cannot write, or cannot read, which is another thing than not having a block", async () => {
    const one = block("one");
    writeFileSync(join(folder(), "file"), "");
    expect(await codeOfAsync(() => open(join(folder(), "file")).put([one]))).to.equal("CONTENT_WRITE_FAILED");
    mkdirSync(root());
    writeFileSync(file(), "no database, but long enough to look like a file that was one, once upon a time".repeat(20));
    expect(await codeOfAsync(() => open().get(one.cid))).to.equal("CONTENT_UNREACHABLE");
    expect(readFileSync(file(), "utf8")).to.match(/^no database/);
  });

  it("remembers pins, those of another process too", async () => {
    const [one, two, three] = ["one", "two", "three"].map(block) as [Block, Block, Block];
    const store = open();
    const other = open();
    await store.put([one, two, three]);
    await store.pin([one.cid]);
    await store.pin([one.cid]);
    await other.pin([two.cid]);
    expect(await store.isPinned([one.cid, two.cid, three.cid])).to.deep.equal([true, true, false]);
  });

  it("pins nothing that it does not have", async () => {
    const store = open();
    expect(await codeOfAsync(() => store.pin([block("none").cid]))).to.equal("CONTENT_MISSING");
  });

  it("lets a server have its turn while many blocks are read", async () => {
    const store = open();
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
