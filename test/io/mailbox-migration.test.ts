import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import { Mailbox } from "../../io/mailbox/mailbox.ts";
import { SCHEMA_VERSION } from "../../io/mailbox/schema.ts";
import { toHex } from "../../protocol/bytes.ts";
import { decodeEnvelope } from "../../protocol/envelope.ts";
import type { Tip } from "../../protocol/manifest.ts";
import { State } from "../../protocol/state.ts";
import { adopt } from "../fixtures/adopt.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, DEPLOYMENT, History } from "../fixtures/history.ts";
import { writeVersion1 } from "../fixtures/mailbox-version-1.ts";
import { codeOf } from "../fixtures/refusal.ts";

describe("A mailbox of version 1", () => {
  const folder = useFolder();
  const history = new History();
  for (const person of [ALICE, BOB, CAROL]) history.register(person);
  const [first, second] = [history.message(ALICE, BOB), history.message(ALICE, CAROL)];
  history.anchor(deltaOf([history.room(ALICE, BOB), [first]], [history.room(ALICE, CAROL), [second]]));
  history.anchor(deltaOf([history.room(ALICE, BOB), [history.message(BOB, ALICE)]]));
  const tip = history.replay().tip!;

  const file = (name = "") => join(folder(), name, "mailbox.sqlite");
  const text = (of: Tip | null) =>
    of && { ...of, state: toHex(of.state.root), rooms: [...of.state.rooms()].map((room) => JSON.stringify(room)) };

  function withMailbox<T>(use: (mailbox: Mailbox) => T): T {
    const mailbox = Mailbox.open(folder(), DEPLOYMENT);
    try {
      return use(mailbox);
    } finally {
      mailbox.close();
    }
  }

  function change(sql: string): void {
    const database = new Database(file());
    expect(database.prepare(sql).run().changes).to.equal(1);
    database.close();
  }

  it("becomes one of this version when it is opened, with the tip and rooms that it had", () => {
    writeVersion1(folder(), DEPLOYMENT, tip);
    for (let time = 0; time < 2; time++) {
      withMailbox((mailbox) => {
        expect(text(mailbox.anchors.tip())).to.deep.equal(text(tip));
        expect(mailbox.anchors.known().count).to.equal(2);
        expect(mailbox.anchors.known().isSettled).to.equal(true);
        const { database } = mailbox as unknown as { database: Database.Database };
        expect(database.pragma("user_version", { simple: true })).to.equal(SCHEMA_VERSION);
      });
    }
  });

  it("has then the same tables as a new one, and the same rows as one that recorded the same", () => {
    writeVersion1(folder(), DEPLOYMENT, tip);
    withMailbox(() => undefined);
    const fresh = Mailbox.open(join(folder(), "fresh"), DEPLOYMENT);
    fresh.anchors.recordTip({ ...tip, state: State.of(tip.state.rooms()) });
    fresh.close();
    const dump = (path: string) => {
      const database = new Database(path, { readonly: true });
      const tables = ["meta", "line", "branches", "rooms"];
      const content = tables.map((table) => database.prepare(`SELECT * FROM ${table} ORDER BY 1`).all());
      const schema = database.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").all();
      database.close();
      return { schema, content };
    };
    expect(dump(file())).to.deep.equal(dump(file("fresh")));
  });

  it("is brought up with nothing anchored, and goes on from there", () => {
    writeVersion1(folder(), DEPLOYMENT, null);
    withMailbox((mailbox) => {
      expect(mailbox.anchors.tip()).to.equal(null);
      expect(mailbox.anchors.known()).to.deep.equal({ count: 0, head: new Uint8Array(32), isSettled: true });
      const block = history.blocks.get(first)!;
      mailbox.add([{ cid: first, block, envelope: decodeEnvelope(block) }]);
      adopt(mailbox, history.replay(), history.get);
      expect(text(mailbox.anchors.tip())).to.deep.equal(text(tip));
    });
  });

  for (const [title, sql] of [
    ["a room too few", `DELETE FROM rooms WHERE room = '${history.room(ALICE, BOB)}'`],
    ["another size", `UPDATE rooms SET size = size + 1 WHERE room = '${history.room(ALICE, BOB)}'`],
    ["a room that is none", `UPDATE rooms SET room = 'x' WHERE room = '${history.room(ALICE, BOB)}'`],
    ["another root", "UPDATE meta SET value = zeroblob(32) WHERE name = 'tip_state'"],
    ["no CID", "UPDATE meta SET value = 'x' WHERE name = 'tip_cid'"],
    ["no count", "DELETE FROM meta WHERE name = 'anchor_count'"],
  ]) {
    it(`that is damaged, with ${title}, is still told to be, and is put right by a replay`, () => {
      writeVersion1(folder(), DEPLOYMENT, tip);
      change(sql!);
      withMailbox((mailbox) => {
        expect(codeOf(() => mailbox.anchors.tip())).to.equal("MAILBOX_DAMAGED");
        expect(mailbox.anchors.known().isSettled).to.equal(false);
        adopt(mailbox, history.replay(), history.get);
        expect(text(mailbox.anchors.tip())).to.deep.equal(text(tip));
      });
    });
  }

  it("that says of no version is refused", () => {
    writeVersion1(folder(), DEPLOYMENT, tip);
    const database = new Database(file());
    database.pragma("user_version = 0");
    database.close();
    expect(codeOf(() => Mailbox.open(folder(), DEPLOYMENT))).to.equal("MAILBOX_DAMAGED");
  });
});
