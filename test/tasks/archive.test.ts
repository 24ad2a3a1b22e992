import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { expect } from "chai";

import { ArchiveFile } from "../../io/archive-file.ts";
import { ArchiveExport } from "../../io/archive.ts";
import { decodeCar, encodeCar, rootsOfCar } from "../../io/content/car.ts";
import { decodeArchive, encodeArchive, encodeEvents, type ArchiveScope } from "../../protocol/archive.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import type { ChainEvent } from "../../protocol/event.ts";
import type { Block } from "../../protocol/manifest.ts";
import { parseRoomId, roomIdOf } from "../../protocol/room.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit, auditArchive } from "../../tasks/audit.ts";
import { exportHistory } from "../../tasks/export.ts";
import { history } from "../../tasks/history.ts";
import { importHistory } from "../../tasks/import.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { terminal } from "../../tasks/terminal.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { useFolder } from "../fixtures/folder.ts";
import { SeededRandom } from "../fixtures/random.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

const WHOLE: ArchiveScope = { room: null, wallet: null, since: 0 };

/** Two rooms, three anchors, and a text that is no CID between them. */
describe("An archive", function () {
  this.timeout(60_000);
  const folder = useFolder();
  let chain: TestDeployment;
  let session: Session;
  let events: readonly ChainEvent[];
  let path: string;
  let whole: Buffer;

  const say = (from: "alice" | "bob" | "carol", to: "alice" | "bob" | "carol", text: string) =>
    send(session, chain[from], [{ to: chain[to], content: contentOfText(text) }]);

  before(async () => {
    chain = await openDeployment();
    session = chain.open();
    for (const person of [chain.alice, chain.bob, chain.carol]) await register(session, person);
    await say("alice", "bob", "one");
    await say("bob", "alice", "two");
    await anchor(session);
    await say("alice", "carol", "three");
    await anchor(session);
    await say("alice", "bob", "four");
    await anchor(session);
    ({ events } = await session.reader.allEvents());
    path = join(chain.dataDir, "whole.car");
    await exportHistory(session, path, WHOLE);
    whole = await readFile(path);
  });
  after(async () => {
    await session.close();
    await chain.close();
  });

  /** A machine that has nothing of it. */
  const elsewhere = (): Session => {
    const { environment } = chain.open();
    return chain.open({ environment: { ...environment, dataDir: folder() } });
  };
  const write = async (bytes: Uint8Array): Promise<string> => {
    const file = join(folder(), "changed.car");
    await writeFile(file, bytes);
    return file;
  };
  const sectionsOf = async (bytes: Uint8Array): Promise<Block[]> => {
    const blocks: Block[] = [];
    for await (const { cid, bytes: block } of decodeCar(chunk(bytes))) blocks.push({ cid, bytes: block });
    return blocks;
  };
  const refusalOf = async (bytes: Uint8Array): Promise<string | null> => {
    const file = await write(bytes);
    return codeOfAsync(async () => (await ArchiveFile.open(file)).close());
  };
  const carOf = (roots: readonly Cid[], blocks: readonly Block[]): Buffer =>
    Buffer.concat([...encodeCar(roots, blocks)]);

  it("has the manifests for its roots, and ends with what the chain logged", async () => {
    const manifests = events.flatMap((event) => (event.kind === "anchor" ? [event.cid] : []));
    expect(await rootsOfCar(chunk(whole))).to.deep.equal(manifests);
    const archive = decodeArchive((await sectionsOf(whole)).at(-1)!.bytes);
    expect(archive).to.deep.include({ deployment: session.deployment, scope: WHOLE, missing: 0 });
    expect(archive.events).to.deep.equal([...encodeEvents(events)].map(({ cid }) => cid));
  });

  it("is the same bytes from a source that answers in any order", async () => {
    const random = new SeededRandom(7);
    const slow = {
      get: async (cid: Cid) => {
        await new Promise((resolve) => setTimeout(resolve, random.integer(0, 6)));
        return session.content.get(cid);
      },
    };
    const again: Uint8Array[] = [];
    const subject = { deployment: session.deployment, events, scope: WHOLE };
    for await (const chunk of new ArchiveExport(subject, slow).bytes()) again.push(chunk);
    expect(Buffer.concat(again).equals(whole)).to.equal(true);
  });

  it("is verified without a chain and without any other source", async () => {
    const file = await ArchiveFile.open(path);
    try {
      const { data, text, error } = await auditArchive(file, terminal);
      const online = await audit(session);
      expect(error).to.equal(undefined);
      expect(data).to.deep.include({ messages: { verified: 4, rejected: 0, missing: 0 } });
      expect(data).to.have.property("state", (online.data as { state: string }).state);
      expect(text).to.include("what it says of chain");
    } finally {
      await file.close();
    }
  });

  it("gives a machine that had nothing all of it: chain, file and wallet are enough to read on", async () => {
    const other = elsewhere();
    try {
      const { data, error } = await importHistory(other, path);
      expect(error).to.equal(undefined);
      // Three key documents, and of three anchors manifest, shard, heads and the messages.
      expect(data).to.include({ put: 3 + 9 + 4 });
      expect((await audit(other)).error).to.equal(undefined);
      const read = await history(other, chain.bob, chain.alice);
      expect((read.data as { messages: { text: string }[] }).messages.map(({ text }) => text)).to.deep.equal([
        ...["one", "two", "four"],
      ]);
      const copy = join(folder(), "copy.car");
      await exportHistory(other, copy, WHOLE);
      expect((await readFile(copy)).equals(whole)).to.equal(true);
      expect((await importHistory(other, path)).data).to.include({ put: 0 });
    } finally {
      await other.close();
    }
  });

  const room = (): ArchiveScope => ({
    ...WHOLE,
    room: roomIdOf(session.deployment, chain.alice, chain.bob),
  });
  for (const [what, scope, messages, documents, others] of [
    ["a room", room, 3, 2, 1],
    ["a wallet's rooms", (): ArchiveScope => ({ ...WHOLE, wallet: chain.carol }), 1, 2, 3],
    ["everything since an anchor", (): ArchiveScope => ({ ...WHOLE, since: 1 }), 2, 3, 2],
    ["a room since an anchor", (): ArchiveScope => ({ ...room(), since: 1 }), 1, 2, 3],
  ] as const) {
    it(`holds ${what}, and is judged by that`, async () => {
      const part = join(folder(), "part.car");
      const { data } = await exportHistory(session, part, scope());
      expect(data).to.include({ messages, documents, anchors: 3, missing: 0 });
      const other = elsewhere();
      try {
        const imported = await importHistory(other, part);
        expect(imported.error).to.equal(undefined);
        expect(imported.data).to.deep.include({ others, messages: { verified: messages, rejected: 0, missing: 0 } });
        const seen = (await audit(other)).data as { messages: object };
        expect(seen.messages).to.deep.equal({ verified: messages, rejected: 0, missing: others });
        expect((await importHistory(other, part)).data).to.include({ put: 0 });
      } finally {
        await other.close();
      }
    });
  }

  it("is not taken for whole in a room that nobody wrote in", async () => {
    const unknown = parseRoomId(`0x${"5a".repeat(32)}`);
    expect(await codeOfAsync(() => audit(session, unknown))).to.equal("NOT_FOUND");
    const file = await ArchiveFile.open(path);
    expect(await codeOfAsync(() => auditArchive(file, terminal, { room: unknown }))).to.equal("NOT_FOUND");
    await file.close();
  });

  it("says what it lacks because nobody has it, and is whole as far as it goes", async () => {
    const lacking = session.mailbox.messages(room().room!)[0]!.cid;
    const other = elsewhere();
    try {
      const sections = (await sectionsOf(whole)).filter(({ cid }) => cid !== lacking);
      await other.content.put(sections.slice(0, -2));
      const part = join(folder(), "lacking.car");
      const { data, error } = await exportHistory(other, part, WHOLE);
      expect(error?.code).to.equal("HISTORY_INCOMPLETE");
      expect(data).to.deep.include({ missing: 1, lacks: [lacking] });
      expect((await importHistory(elsewhere(), part)).error?.code).to.equal("HISTORY_INCOMPLETE");
    } finally {
      await other.close();
    }
  });

  it("is refused when any bit of it is another", async function () {
    const random = new SeededRandom(11);
    const codes = new Set<string | null>();
    for (let i = 0; i < 60; i++) {
      const at = i < 20 ? i : random.integer(0, whole.length - 1);
      codes.add(await refusalOf(whole.with(at, (whole[at] ?? 0) ^ (1 << random.integer(0, 7)))));
    }
    expect([...codes].filter((code) => code === null)).to.deep.equal([]);
    for (const code of codes) {
      expect(code).to.be.oneOf([
        ...["ARCHIVE_MALFORMED", "BLOCK_HASH_MISMATCH", "BLOCK_NOT_CANONICAL", "BLOCK_TOO_LARGE", "CAR_MALFORMED"],
      ]);
    }
  });

  it("is refused when it ends early, between two blocks as well as inside one", async () => {
    const roots = await rootsOfCar(chunk(whole));
    const blocks = await sectionsOf(whole);
    for (let end = 0; end < blocks.length; end++) {
      const shorter = carOf(roots, blocks.slice(0, end));
      expect(whole.subarray(0, shorter.length).equals(shorter)).to.equal(true);
      expect(await refusalOf(shorter), `${end} blocks`).to.be.oneOf(["ARCHIVE_MALFORMED", "BLOCK_NOT_CANONICAL"]);
      expect(await refusalOf(whole.subarray(0, shorter.length + 9))).to.equal("CAR_MALFORMED");
    }
  });

  it("is refused with a block left out, added, repeated or moved, or other roots", async () => {
    const roots = await rootsOfCar(chunk(whole));
    const blocks = await sectionsOf(whole);
    const foreign = { cid: cidOf(Uint8Array.of(0xf6)), bytes: Uint8Array.of(0xf6) };
    const [first, second, ...rest] = blocks as [Block, Block, ...Block[]];
    expect(await refusalOf(carOf(roots, blocks))).to.equal(null);
    for (const changed of [
      carOf(roots, [first, ...rest]),
      carOf(roots, [foreign, ...blocks]),
      carOf(roots, [first, ...blocks]),
      carOf(roots, [second, first, ...rest]),
      carOf(roots.slice(1), blocks),
      carOf([], blocks),
    ]) {
      expect(await refusalOf(changed)).to.equal("ARCHIVE_MALFORMED");
    }
  });

  it("is refused when it says of the chain what the chain does not, and nothing is written", async () => {
    const roots = await rootsOfCar(chunk(whole));
    const blocks = (await sectionsOf(whole)).slice(0, -2);
    const told = async (said: readonly ChainEvent[], deployment = session.deployment): Promise<string | null> => {
      const pages = [...encodeEvents(said)];
      const record = encodeArchive({ deployment, scope: WHOLE, events: pages.map(({ cid }) => cid), missing: 0 });
      const file = await write(carOf(roots, [...blocks, ...pages, record]));
      const other = elsewhere();
      try {
        const code = await codeOfAsync(() => importHistory(other, file));
        expect((await other.content.missing(roots, 10)).length, "nothing was written").to.equal(roots.length);
        return code;
      } finally {
        await other.close();
      }
    };
    // By itself it is without fault: only the chain can tell.
    const later = events.map((event, i) => (i === 0 ? { ...event, blockNumber: event.blockNumber + 1 } : event));
    const [last] = events.slice(-1) as [ChainEvent];
    const more = { ...last, kind: "revocation", index: 3, wallet: chain.carol, version: 2, logIndex: 9 } as ChainEvent;
    expect(await told(later)).to.equal("ARCHIVE_UNTRUE");
    expect(await told([...events, more])).to.equal("ARCHIVE_UNTRUE");
    expect(await told(events, { ...session.deployment, chainId: 5 })).to.equal("ARCHIVE_UNTRUE");
    const { cidStore: keyRegistry, keyRegistry: cidStore, chainId } = session.deployment;
    expect(await told(events, { chainId, cidStore, keyRegistry })).to.equal("ARCHIVE_UNTRUE");
  });

  it("is read where a CARv2 wraps it", async () => {
    const header = Buffer.alloc(40);
    header.writeBigUInt64LE(51n, 16);
    header.writeBigUInt64LE(BigInt(whole.length), 24);
    const wrapped = Buffer.concat([Buffer.from("0aa16776657273696f6e02", "hex"), header, whole]);
    expect(await refusalOf(wrapped)).to.equal(null);
    expect(await refusalOf(wrapped.subarray(0, -1))).to.equal("CAR_MALFORMED");
  });

  it("follows no link that lies where its part is written", async () => {
    const [victim, file] = [join(folder(), "victim"), join(folder(), "linked.car")];
    await writeFile(victim, "precious");
    for (const part of [`${file}.part`, `${file}.${process.pid}.part`]) await symlink(victim, part);
    await exportHistory(session, file, WHOLE);
    expect(await readFile(victim, "utf8")).to.equal("precious");
    expect((await readFile(file)).equals(whole)).to.equal(true);
  });

  it("leaves what was there when it cannot be written, and no part of itself", async () => {
    const blocked = join(folder(), "blocked.car");
    await mkdir(join(blocked, "in the way"), { recursive: true });
    expect(await codeOfAsync(() => exportHistory(session, blocked, WHOLE))).to.equal("FILE_UNWRITABLE");
    expect(await readdir(folder())).to.deep.equal(["blocked.car"]);
    await rm(blocked, { recursive: true });
    const gone = join(folder(), "no folder", "x.car");
    expect(await codeOfAsync(() => exportHistory(session, gone, WHOLE))).to.equal("FILE_UNWRITABLE");
  });
});

async function* chunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
