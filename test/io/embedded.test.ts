import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import { EmbeddedStore } from "../../io/content/embedded.ts";
import { MAX_BLOCK_BYTES } from "../../protocol/cbor.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, digestOfCid, linkTo, type Cid } from "../../protocol/cid.ts";
import type { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, History } from "../fixtures/history.ts";
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

  it("gives many at once, in the order that was asked for, without those that it does not have", async () => {
    const store = open();
    const blocks = Array.from({ length: 600 }, (_, i) => block(`block ${i}`));
    const [first, damaged, ...others] = blocks;
    const asked = [...others.toReversed(), block("none"), damaged!, first!].map(({ cid }) => cid);
    expect(await store.getAll(asked, Infinity)).to.deep.equal(new Map());
    await store.put(blocks);
    damage(damaged!.cid, new Uint8Array(0));
    const expected = [...others.toReversed(), first!].map(({ cid, bytes }) => [cid, bytes]);
    expect([...(await store.getAll(asked, Infinity))]).to.deep.equal(expected);
    // Until they have so many bytes, or more.
    const [size] = expected.map(([, bytes]) => bytes!.length);
    expect([...(await store.getAll(asked, 2 * size!))]).to.deep.equal(expected.slice(0, 2));
    expect([...(await store.getAll(asked, 2 * size! - 1))]).to.deep.equal(expected.slice(0, 2));
    expect(await store.getAll(asked, 0)).to.deep.equal(new Map());
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
    expect(await codeOfAsync(() => open().getAll([one.cid], 1))).to.equal("CONTENT_UNREACHABLE");
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

  describe("with a manifest", () => {
    const history = new History();
    const messages = [history.message(ALICE, BOB), history.message(ALICE, CAROL), history.message(BOB, ALICE)];
    const draft = history.draft(
      deltaOf([history.room(ALICE, BOB), [messages[0]!, messages[2]!]], [history.room(ALICE, CAROL), [messages[1]!]]),
    );
    const blocks = [...history.blocks].map(([cid, bytes]) => ({ cid, bytes }));
    const all = [...messages, ...draft.blocks.map(({ cid }) => cid)];

    function remove(cid: Cid): void {
      const database = new Database(file());
      expect(database.prepare("DELETE FROM blocks WHERE digest = ?").run(digestOfCid(cid)).changes).to.equal(1);
      database.close();
    }

    it("pins it when all that it links to is there, which is every block of the history", async () => {
      const store = open();
      await store.put(blocks);
      expect([...history.blocks.keys()]).to.have.members(all);
      expect(await store.missing([draft.cid], 10)).to.deep.equal([]);
      await store.pin([draft.cid]);
      expect(await store.isPinned([draft.cid, messages[0]!])).to.deep.equal([true, false]);
    });

    for (const [i, cid] of all.entries()) {
      it(`refuses to pin it without block ${i + 1} of ${all.length}, names that one, and takes it again`, async () => {
        const store = open();
        await store.put(blocks);
        remove(cid);
        const refusal = await store.pin([draft.cid]).catch((error: unknown) => error as DmtpError);
        expect(refusal).to.have.property("code", "CONTENT_MISSING");
        expect(refusal?.message).to.include(cid);
        expect(await store.isPinned([draft.cid])).to.deep.equal([false]);
        expect(await store.missing([draft.cid], 10)).to.deep.equal([cid]);
        await store.put([{ cid, bytes: history.blocks.get(cid)! }]);
        await store.pin([draft.cid]);
      });
    }

    it("misses nothing for bytes in it that only look like a link", async () => {
      const store = open();
      const inner = encode([linkTo(block("nowhere").cid)]);
      const bytes = encode([inner, linkTo(messages[0]!)]);
      const root = encode([linkTo(cidOf(bytes))]);
      await store.put([...blocks, { cid: cidOf(bytes), bytes }, { cid: cidOf(root), bytes: root }]);
      expect(await store.missing([cidOf(root), cidOf(bytes)], 10)).to.deep.equal([]);
      remove(messages[0]!);
      expect(await store.missing([cidOf(root)], 10)).to.deep.equal([messages[0]]);
    });

    it("takes a shard with other bytes for missing, and names no more than it is asked for", async () => {
      const store = open();
      await store.put(blocks);
      const [shard] = draft.manifest.rooms;
      damage(shard!, history.blocks.get(shard!)!.with(20, 0x30));
      expect(await store.missing([draft.cid], 10)).to.deep.equal([shard]);
      for (const cid of messages) remove(cid);
      await store.put([{ cid: shard!, bytes: history.blocks.get(shard!)! }]);
      expect(await store.missing([draft.cid], 10)).to.have.members(messages);
      expect(await store.missing([draft.cid], 2)).to.have.length(2);
      expect(await open(join(folder(), "none")).missing([draft.cid], 10)).to.deep.equal([draft.cid]);
    });
  });

  it("keeps blocks and pins of a file of its first layout", async () => {
    const [one, two] = [block("one"), block("two")];
    mkdirSync(root());
    const old = new Database(file());
    old.exec(`
      CREATE TABLE IF NOT EXISTS blocks (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS pins (digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
    `);
    for (const { cid, bytes } of [one, two])
      old.prepare("INSERT INTO blocks VALUES (?, ?)").run(digestOfCid(cid), bytes);
    old.prepare("INSERT INTO pins VALUES (?)").run(digestOfCid(two.cid));
    old.close();
    for (let time = 0; time < 2; time++) {
      const store = open();
      expect(await store.isPinned([one.cid, two.cid])).to.deep.equal([false, true]);
      for (const { cid, bytes } of [one, two]) expect(await store.get(cid)).to.deep.equal(bytes);
    }
  });

  it("lets a server have its turn while many blocks are read", async () => {
    // Every look at the clock is a millisecond later, however fast or busy the machine is.
    let nowMs = 0;
    const store = new EmbeddedStore(root(), () => nowMs++);
    stores.push(store);
    const blocks = Array.from({ length: 200 }, (_, i) => block(`block ${i}`));
    await store.put(blocks);
    let turns = 0;
    let isReading = true;
    const turn = (): void => {
      turns += 1;
      if (isReading) setImmediate(turn);
    };
    setImmediate(turn);
    try {
      for (const { cid } of blocks) await store.get(cid);
      expect(turns).to.be.within(10, 20);
      turns = 0;
      const cids = Array.from({ length: 200 }, () => blocks.map(({ cid }) => cid)).flat();
      await store.getAll(cids, Infinity);
      expect(turns).to.be.within(10, 20);
    } finally {
      isReading = false;
    }
  });
});
