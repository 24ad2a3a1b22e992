import Database from "better-sqlite3";
import { expect } from "chai";

import { WaitingCids } from "../../indexer/store/waiting-cids.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf } from "../../protocol/cid.ts";

const MAX_KEPT = 4_096;

describe("The blocks that rows wait for", () => {
  const cids = Array.from({ length: MAX_KEPT + 10 }, (_, i) => cidOf(encode([i])));
  let database: Database.Database;
  let waiting: WaitingCids;

  beforeEach(() => {
    database = new Database(":memory:");
    database.exec("CREATE TABLE rows (cid TEXT NOT NULL)");
    waiting = new WaitingCids(database, "SELECT cid FROM rows");
  });
  afterEach(() => database.close());

  function add(from: number, to: number): void {
    const insert = database.prepare("INSERT INTO rows VALUES (?)");
    for (const cid of cids.slice(from, to)) {
      insert.run(cid);
      waiting.add(cid);
    }
  }

  function remove(from: number, to: number): void {
    const statement = database.prepare("DELETE FROM rows WHERE cid = ?");
    for (const cid of cids.slice(from, to)) {
      statement.run(cid);
      waiting.forget();
    }
  }

  it("are known, those that were there and those that came, and any other is known not to be among them", () => {
    add(0, 2);
    expect(cids.slice(0, 3).map((cid) => waiting.mayHave(cid))).to.deep.equal([true, true, false]);
    add(2, 3);
    expect(waiting.mayHave(cids[2]!)).to.equal(true);
    expect(waiting.mayHave(cids[3]!)).to.equal(false);
  });

  it("may be any block where there are too many to keep, until there are fewer", () => {
    add(0, MAX_KEPT);
    expect(waiting.mayHave(cids.at(-1)!)).to.equal(false);
    add(MAX_KEPT, MAX_KEPT + 9);
    expect(cids.every((cid) => waiting.mayHave(cid))).to.equal(true);
    remove(0, 2_000);
    expect(waiting.mayHave(cids.at(-1)!)).to.equal(false);
    expect(cids.slice(2_000, MAX_KEPT + 9).every((cid) => waiting.mayHave(cid))).to.equal(true);
  });
});
