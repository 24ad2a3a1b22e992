import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import { History } from "../../indexer/history.ts";
import { IndexReader } from "../../indexer/read/index-reader.ts";
import { readRooms } from "../../indexer/read/rooms.ts";
import { Snapshots } from "../../indexer/read/snapshot.ts";
import { openIndex } from "../../indexer/store/database.ts";
import { toHex } from "../../protocol/bytes.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, History as Story } from "../fixtures/history.ts";

describe("What the API reads of an index", () => {
  const folder = useFolder();

  it("is read by a connection of its own, beside the writer, with the same answers", () => {
    const story = new Story();
    story.register(ALICE);
    story.register(BOB);
    story.revoke(BOB);
    const cid = story.message(ALICE, BOB);
    story.anchor(deltaOf([story.room(ALICE, BOB), [cid]]));
    const path = join(folder(), "index");
    const index = openIndex(path, story.deployment, () => undefined);
    const history = new History(index.database, story.deployment);
    const { blockNumber, blockHash } = story.events.at(-1)!;
    const cursor = { number: blockNumber, hash: blockHash, timestamp: 1, isProved: true };
    history.extend({ events: story.events, cursor, finalized: 1 });
    const other = new Database(path);
    const reader = new IndexReader(other, story.deployment);
    expect([reader.isMissing(cid), reader.missingCount]).to.deep.equal([false, 3]);
    while (history.missing.size > 0)
      history.receive(new Map([...history.missing].map((each) => [each, story.blocks.get(each)!])));
    expect(reader.missingCount).to.equal(0);
    expect(reader.block(cid)).to.deep.equal(story.blocks.get(cid));
    expect(toHex(reader.openState().root)).to.equal(toHex(story.replay().state.root));
    expect([ALICE, BOB, CAROL].map(({ address }) => reader.findCurrentKey(address))).to.deep.equal([
      { status: "usable", version: 1 },
      { status: "revoked", version: 1 },
      null,
    ]);
    expect(reader.changes.end).to.equal(history.changes.end);
    expect(reader.log.finalized).to.equal(history.log.finalized);
    const query = { wallet: ALICE.address, since: null, after: "", limit: 10 };
    const [mine, theirs] = [index.database, other].map((database) =>
      new Snapshots(database, story.deployment).read((snapshot) => [snapshot.at, readRooms(snapshot, query)]),
    );
    expect(mine).to.deep.equal(theirs);
    expect(JSON.stringify(mine)).to.include(story.room(ALICE, BOB));
    other.close();
    index.close();
  });
});
