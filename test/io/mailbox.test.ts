import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import type { JournalRow } from "../../io/mailbox/journal.ts";
import { Mailbox } from "../../io/mailbox/mailbox.ts";
import { SCHEMA_VERSION } from "../../io/mailbox/schema.ts";
import { parseAddress } from "../../protocol/address.ts";
import { cidOf, digestOfCid } from "../../protocol/cid.ts";
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { DmtpError } from "../../protocol/error.ts";
import { readLog } from "../fixtures/adopt.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, DEPLOYMENT, History, type MessageOptions, type Person } from "../fixtures/history.ts";
import { IDENTITY, makeIdentity } from "../fixtures/identity.ts";
import { codeOf } from "../fixtures/refusal.ts";

type NewMessage = Parameters<Mailbox["add"]>[0][number];

describe("The mailbox", () => {
  const folder = useFolder();
  const history = new History();
  for (const person of [ALICE, BOB, CAROL]) history.register(person);
  const file = () => join(folder(), "mailbox.sqlite");
  const room = history.room(ALICE, BOB);

  function message(from: Person, to: Person, options: MessageOptions = {}): NewMessage {
    const envelope = history.envelope(from, to, options);
    const block = encodeEnvelope(envelope);
    return { cid: cidOf(block), block, envelope };
  }

  function withMailbox<T>(use: (mailbox: Mailbox) => T): T {
    const mailbox = Mailbox.open(folder(), IDENTITY);
    try {
      return use(mailbox);
    } finally {
      mailbox.close();
    }
  }

  it("gives back, after it was opened again, exactly what was added", () => {
    const first = message(ALICE, BOB, { text: "one" });
    const second = message(BOB, ALICE, { text: "two", seen: [first.cid] });
    withMailbox((mailbox) => mailbox.add([first, second]));
    withMailbox((mailbox) => {
      expect(mailbox.messages(room).map(({ cid }) => cid)).to.deep.equal([first.cid, second.cid]);
      expect(mailbox.message(second.cid)).to.deep.equal({
        cid: second.cid,
        room,
        sender: BOB.address,
        receiver: ALICE.address,
        seq: 1,
        timestamp: 1_700_000_000_000,
        seen: [digestOfCid(first.cid)],
        envelope: second.block,
        anchorIndex: null,
        pinned: false,
      });
      expect(mailbox.block(first.cid)).to.deep.equal(first.block);
      expect(mailbox.block(cidOf(Uint8Array.of(1)))).to.equal(null);
      expect(mailbox.message(cidOf(Uint8Array.of(1)))).to.equal(null);
      expect(mailbox.counts()).to.deep.equal({ messages: 2, unanchored: 2, unpinned: 2 });
    });
  });

  it("writes durably at every open: WAL and synchronous FULL, also in a file that exists", () => {
    for (let time = 0; time < 2; time++) {
      withMailbox((mailbox) => {
        const { database } = mailbox as unknown as { database: Database.Database };
        expect(database.pragma("journal_mode", { simple: true })).to.equal("wal");
        expect(database.pragma("synchronous", { simple: true })).to.equal(2);
        expect(database.pragma("foreign_keys", { simple: true })).to.equal(1);
        expect(database.pragma("busy_timeout", { simple: true })).to.equal(5000);
        expect(database.pragma("user_version", { simple: true })).to.equal(SCHEMA_VERSION);
      });
    }
  });

  it("has the documented tables messages and cids", () => {
    withMailbox((mailbox) => mailbox.add([message(ALICE, BOB)]));
    const database = new Database(file(), { readonly: true });
    const columns = database.pragma("table_info(cids)") as { name: string }[];
    database.close();
    expect(columns.map(({ name }) => name)).to.include.members(["cid", "room", "pinned", "anchor_index"]);
  });

  it("ignores a message that it holds", () => {
    const one = message(ALICE, BOB);
    withMailbox((mailbox) => {
      mailbox.add([one, one]);
      mailbox.add([one]);
      expect(mailbox.counts().messages).to.equal(1);
    });
  });

  it("counts each key version of a sender in each room on its own", () => {
    withMailbox((mailbox) => {
      expect(mailbox.nextSeq(room, ALICE.address, 1)).to.equal(1);
      mailbox.add([message(ALICE, BOB, { seq: 1 }), message(ALICE, BOB, { seq: 7 }), message(BOB, ALICE, { seq: 2 })]);
      expect(mailbox.nextSeq(room, ALICE.address, 1)).to.equal(8);
      expect(mailbox.nextSeq(room, ALICE.address, 2)).to.equal(1);
      expect(mailbox.nextSeq(room, BOB.address, 1)).to.equal(3);
      expect(mailbox.nextSeq(history.room(ALICE, CAROL), ALICE.address, 1)).to.equal(1);
    });
  });

  it("names as heads what no known message names, in whichever order messages come", () => {
    const a = message(ALICE, BOB, { seq: 1 });
    const b = message(BOB, ALICE, { seq: 1, seen: [a.cid] });
    const c = message(ALICE, BOB, { seq: 2, seen: [a.cid] });
    const other = message(ALICE, CAROL);
    const heads = [b, c].map(({ cid }) => digestOfCid(cid)).sort((x, y) => Buffer.compare(x, y));
    for (const order of [
      [a, b, c, other],
      [c, other, b, a],
      [b, a, other, c],
    ]) {
      const mailbox = Mailbox.open(join(folder(), order.map(({ cid }) => cid.slice(-4)).join("-")), IDENTITY);
      mailbox.add(order);
      expect(mailbox.heads(room)).to.deep.equal(heads);
      mailbox.close();
    }
  });

  it("names the newest 16 of more heads, ascending", () => {
    const messages = Array.from({ length: 20 }, (_, i) => message(ALICE, BOB, { seq: i + 1 }));
    const newest = messages.slice(4).map(({ cid }) => digestOfCid(cid));
    withMailbox((mailbox) => {
      mailbox.add(messages);
      expect(mailbox.heads(room)).to.deep.equal(newest.sort((x, y) => Buffer.compare(x, y)));
    });
  });

  it("lists what is not pinned and not anchored in the order in which it came", () => {
    const messages = [message(ALICE, BOB), message(ALICE, CAROL), message(BOB, ALICE)];
    const cids = messages.map(({ cid }) => cid);
    withMailbox((mailbox) => {
      mailbox.add(messages);
      expect(mailbox.unanchored()).to.deep.equal(messages.map(({ cid, envelope }) => ({ room: envelope.room, cid })));
      const page = mailbox.unpinned(0, 2);
      expect(page.cids).to.deep.equal(cids.slice(0, 2));
      mailbox.add([message(CAROL, ALICE)]);
      mailbox.markPinned(page);
      expect(messages.map(({ cid }) => mailbox.message(cid)?.pinned)).to.deep.equal([true, true, false]);
      expect(mailbox.unpinned(0, 10).cids).to.have.length(2);
      expect(mailbox.unpinned(0, 10).cids[0]).to.equal(cids[2]);
      expect(mailbox.unpinned(page.lastId, 1).cids).to.deep.equal([cids[2]]);
      // A page begins with its first message, not with what was pinned before it.
      expect([...mailbox.blocks(mailbox.unpinned(0, 1), 1_000_000)].flat().map(({ cid }) => cid)).to.deep.equal([
        cids[2],
      ]);
      expect(mailbox.unpinned(mailbox.unpinned(0, 10).lastId, 1).cids).to.deep.equal([]);
    });
  });

  it("gives the blocks of a page, as many at a time as their size allows", () => {
    const messages = Array.from({ length: 5 }, (_, i) => message(ALICE, BOB, { seq: i + 1 }));
    withMailbox((mailbox) => {
      mailbox.add(messages);
      const page = mailbox.unpinned(mailbox.unpinned(0, 1).lastId, 3);
      const blocks = messages.slice(1, 4).map(({ cid, block }) => ({ cid, bytes: block }));
      for (const [maxBytes, sizes] of [
        [1, [1, 1, 1]],
        [messages[1]!.block.length + 1, [2, 1]],
        [1_000_000, [3]],
      ] as const) {
        const batches = [...mailbox.blocks(page, maxBytes)];
        expect(batches.map((batch) => batch.length)).to.deep.equal(sizes);
        expect(batches.flat()).to.deep.equal(blocks);
      }
    });
  });

  it("shows in a snapshot what was there when it began, and lets others write meanwhile", () => {
    withMailbox((mailbox) => {
      withMailbox((other) => {
        mailbox.snapshot(() => {
          expect(mailbox.counts().messages).to.equal(0);
          other.add([message(ALICE, BOB)]);
          expect(mailbox.counts().messages).to.equal(0);
        });
        expect(mailbox.counts().messages).to.equal(1);
      });
    });
  });

  it("plans what waits, by room and in order, and gives the same again while more is sent", () => {
    const messages = [message(ALICE, BOB), message(ALICE, CAROL), message(BOB, ALICE), message(BOB, CAROL)];
    const cids = messages.map(({ cid }) => cid);
    const head = new Uint8Array(32);
    withMailbox((mailbox) => {
      const { anchors } = mailbox;
      const chain = new History();
      for (const person of [ALICE, BOB, CAROL]) chain.register(person);
      const keys = [...chain.events];
      readLog(mailbox, chain);
      const mine = (row: JournalRow): void => {
        anchors.write(row, cidOf(Uint8Array.of(row.index)));
        chain.anchorText(cidOf(Uint8Array.of(row.index)));
        readLog(mailbox, chain);
        expect(anchors.follow()).to.equal("journal");
      };
      const indices = () => cids.map((cid) => mailbox.message(cid)?.anchorIndex);
      expect(anchors.plan(head, 0, 10)).to.equal(null);
      mailbox.add(messages.slice(0, 3));
      const row = anchors.plan(head, 0, 10)!;
      expect(row.count).to.equal(3);
      const expected = [
        [room, [cids[0], cids[2]]],
        [history.room(ALICE, CAROL), [cids[1]]],
      ].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
      expect([...anchors.delta(row)]).to.deep.equal(expected);
      mailbox.add(messages.slice(3));
      expect([...anchors.delta(row)]).to.deep.equal(expected);
      // The next plan begins behind this one, mined or not.
      const next = anchors.plan(head, 1, 10)!;
      expect([...anchors.delta(next)]).to.deep.equal([[history.room(BOB, CAROL), [cids[3]]]]);
      mine(row);
      expect(indices()).to.deep.equal([0, 0, 0, null]);
      mine(next);
      expect(indices()).to.deep.equal([0, 0, 0, 1]);
      // A reorg takes both back: their messages wait again, and still are in these rows.
      chain.events.splice(keys.length);
      readLog(mailbox, chain);
      expect(anchors.follow()).to.equal("journal");
      expect(indices()).to.deep.equal([null, null, null, null]);
      expect([...anchors.delta(row)]).to.deep.equal(expected);
      expect(anchors.plan(head, 2, 10)).to.equal(null);
      anchors.abandon(next, "a test");
      expect(anchors.plan(head, 2, 10)?.count).to.equal(1);
    });
  });

  it("plans no more than it is told to, and the rest next time", () => {
    withMailbox((mailbox) => {
      mailbox.add(Array.from({ length: 5 }, (_, i) => message(ALICE, BOB, { seq: i + 1 })));
      readLog(mailbox, history);
      const head = new Uint8Array(32);
      expect([0, 1, 2, 3].map((index) => mailbox.anchors.plan(head, index, 2)?.count)).to.deep.equal([
        2,
        2,
        1,
        undefined,
      ]);
    });
  });

  for (const [column, value] of [
    ["cid", cidOf(Uint8Array.of(1))],
    ["room", history.room(ALICE, CAROL)],
  ] as const) {
    for (const table of ["cids", "messages"]) {
      it(`gives no delta when the ${column} of a message is another one in ${table}`, () => {
        const one = message(ALICE, BOB);
        withMailbox((mailbox) => mailbox.add([one]));
        const database = new Database(file());
        database.prepare(`UPDATE ${table} SET ${column} = ?`).run(value);
        database.close();
        withMailbox((mailbox) => {
          readLog(mailbox, history);
          const { anchors } = mailbox;
          const row = anchors.plan(new Uint8Array(32), 0, 10)!;
          expect(codeOf(() => [...anchors.delta(row)])).to.equal("DATABASE_DAMAGED");
        });
      });
    }
  }

  it("keeps nothing of a transaction that fails, and undoes an inner one alone", () => {
    const [a, b, c] = [message(ALICE, BOB), message(ALICE, BOB), message(ALICE, BOB)];
    withMailbox((mailbox) => {
      expect(() =>
        mailbox.transaction(() => {
          mailbox.add([a]);
          throw new Error("no");
        }),
      ).to.throw("no");
      expect(mailbox.counts().messages).to.equal(0);
      mailbox.transaction(() => {
        mailbox.add([b]);
        expect(() =>
          mailbox.transaction(() => {
            mailbox.add([c]);
            throw new SyntaxError("inner");
          }),
        ).to.throw(SyntaxError);
      });
      expect(mailbox.unanchored().map(({ cid }) => cid)).to.deep.equal([b.cid]);
    });
  });

  it("refuses the file of another deployment, whichever of its three parts differs", () => {
    withMailbox(() => undefined);
    const other = parseAddress(`0x${"3".repeat(40)}`);
    for (const change of [{ chainId: 1 }, { cidStore: other }, { keyRegistry: other }]) {
      expect(codeOf(() => Mailbox.open(folder(), makeIdentity({ ...DEPLOYMENT, ...change })))).to.equal(
        "DATABASE_FOREIGN",
      );
    }
  });

  it("refuses the database of another program, and leaves it as it is", () => {
    const database = new Database(file());
    database.exec("CREATE TABLE theirs (x)");
    database.close();
    expect(codeOf(() => Mailbox.open(folder(), IDENTITY))).to.equal("DATABASE_FOREIGN");
    const again = new Database(file(), { readonly: true });
    expect(again.prepare("SELECT name FROM sqlite_schema").pluck().all()).to.deep.equal(["theirs"]);
    again.close();
  });

  for (const [title, version, code] of [
    ["a newer version", SCHEMA_VERSION + 1, "DATABASE_NEWER"],
    ["an older version", SCHEMA_VERSION - 1, "DATABASE_OLDER"],
    ["no version", 0, "DATABASE_DAMAGED"],
  ] as const) {
    it(`refuses a file of ${title}, and leaves it as it is`, () => {
      withMailbox((mailbox) => mailbox.add([message(ALICE, BOB)]));
      const database = new Database(file());
      database.pragma(`user_version = ${version}`);
      database.pragma("wal_checkpoint(TRUNCATE)");
      database.close();
      const before = readFileSync(file());
      expect(() => Mailbox.open(folder(), IDENTITY))
        .to.throw(DmtpError, /^the mailbox .*version/)
        .with.property("code", code);
      expect(readFileSync(file()).equals(before)).to.equal(true);
    });
  }

  it("tells that a file is damaged: no database, a torn one, an overwritten page, other bytes in a block", () => {
    const messages = Array.from({ length: 40 }, (_, i) => message(ALICE, BOB, { text: "x".repeat(400), seq: i + 1 }));
    withMailbox((mailbox) => mailbox.add(messages));
    const whole = readFileSync(file());
    const read = () => withMailbox((mailbox) => mailbox.messages(room).length);
    expect(read()).to.equal(40);

    writeFileSync(file(), "this is no database, and long enough to see that".repeat(10));
    expect(codeOf(read)).to.equal("DATABASE_DAMAGED");

    writeFileSync(file(), whole);
    truncateSync(file(), Math.floor(statSync(file()).size / 2 / 4096) * 4096);
    expect(codeOf(read)).to.equal("DATABASE_DAMAGED");

    writeFileSync(file(), whole);
    const pages = openSync(file(), "r+");
    for (let page = 3; page * 4096 < whole.length; page++)
      writeSync(pages, Buffer.alloc(4096, 0xa5), 0, 4096, page * 4096);
    closeSync(pages);
    expect(codeOf(read)).to.equal("DATABASE_DAMAGED");

    const block = messages[7]?.block ?? new Uint8Array();
    const at = whole.indexOf(block.subarray(0, 100));
    expect(at).to.be.greaterThan(0);
    const flipped = Buffer.from(whole);
    flipped[at + 50] = (flipped[at + 50] ?? 0) ^ 1;
    writeFileSync(file(), flipped);
    expect(codeOf(read)).to.equal("DATABASE_DAMAGED");
  });

  it("says that the folder cannot be written, by code", () => {
    const path = join(folder(), "a file");
    writeFileSync(path, "");
    expect(codeOf(() => Mailbox.open(join(path, "in it"), IDENTITY))).to.equal("DATABASE_WRITE_FAILED");
  });

  it("waits for another writer, and says busy when that one does not end", function () {
    this.timeout(15_000);
    withMailbox((mailbox) => {
      const other = new Database(file());
      other.exec("BEGIN IMMEDIATE");
      const start = performance.now();
      expect(codeOf(() => mailbox.add([message(ALICE, BOB)]))).to.equal("DATABASE_BUSY");
      expect(performance.now() - start).to.be.greaterThan(4_000);
      other.close();
      mailbox.add([message(ALICE, BOB)]);
      expect(mailbox.counts().messages).to.equal(1);
    });
  });

  it("loses and doubles nothing when processes write at once, the making of the file included", async function () {
    this.timeout(30_000);
    const script = `
      import { Mailbox } from ${JSON.stringify(new URL("../../io/mailbox/mailbox.ts", import.meta.url).href)};
      import { History, ALICE, BOB } from ${JSON.stringify(new URL("../fixtures/history.ts", import.meta.url).href)};
      import { IDENTITY } from ${JSON.stringify(new URL("../fixtures/identity.ts", import.meta.url).href)};
      import { encodeEnvelope } from ${JSON.stringify(new URL("../../protocol/envelope.ts", import.meta.url).href)};
      import { cidOf } from ${JSON.stringify(new URL("../../protocol/cid.ts", import.meta.url).href)};
      const history = new History();
      const room = history.room(ALICE, BOB);
      const mailbox = Mailbox.open(${JSON.stringify(folder())}, IDENTITY);
      for (let i = 0; i < 20; i++) {
        mailbox.transaction(() => {
          const seq = mailbox.nextSeq(room, ALICE.address, 1);
          const block = encodeEnvelope(history.envelope(ALICE, BOB, { seq }));
          const envelope = history.envelope(ALICE, BOB, { seq, header: { seen: mailbox.heads(room) } });
          const bytes = encodeEnvelope(envelope);
          mailbox.add([{ cid: cidOf(bytes), block: bytes, envelope }]);
        });
      }
      mailbox.close();`;
    const run = async (): Promise<number> => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
        stdio: ["ignore", "ignore", "inherit"],
      });
      try {
        const [code] = (await once(child, "exit")) as [number];
        return code;
      } finally {
        child.kill("SIGKILL");
      }
    };
    expect(await Promise.all([run(), run(), run()])).to.deep.equal([0, 0, 0]);
    withMailbox((mailbox) => {
      const messages = mailbox.messages(room);
      expect(messages.map(({ seq }) => seq)).to.deep.equal(Array.from({ length: 60 }, (_, i) => i + 1));
      expect(mailbox.heads(room)).to.deep.equal([digestOfCid(messages.at(-1)!.cid)]);
    });
  });

  it("keeps what was committed when its process is killed at once", async function () {
    this.timeout(15_000);
    const one = message(ALICE, BOB);
    writeFileSync(join(folder(), "block"), one.block);
    const script = `
      import { readFileSync } from "node:fs";
      import { Mailbox } from ${JSON.stringify(new URL("../../io/mailbox/mailbox.ts", import.meta.url).href)};
      import { IDENTITY } from ${JSON.stringify(new URL("../fixtures/identity.ts", import.meta.url).href)};
      import { decodeEnvelope } from ${JSON.stringify(new URL("../../protocol/envelope.ts", import.meta.url).href)};
      import { cidOf } from ${JSON.stringify(new URL("../../protocol/cid.ts", import.meta.url).href)};
      const block = new Uint8Array(readFileSync(${JSON.stringify(join(folder(), "block"))}));
      Mailbox.open(${JSON.stringify(folder())}, IDENTITY).add([{ cid: cidOf(block), block, envelope: decodeEnvelope(block) }]);
      process.kill(process.pid, "SIGKILL");`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit" });
    await once(child, "exit");
    expect(readdirSync(folder())).to.include("mailbox.sqlite-wal");
    withMailbox((mailbox) => expect(mailbox.block(one.cid)).to.deep.equal(one.block));
  });
});
