import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import type { Cid } from "../../protocol/cid.ts";
import type { RoomId } from "../../protocol/room.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, History, Person } from "../fixtures/history.ts";
import { get, getAll, getOk, waitForBlock } from "../fixtures/indexer-client.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { conversation, forkOf, useIndexers } from "../fixtures/served-history.ts";

describe("the indexer's pages", () => {
  const start = useIndexers();
  const folder = useFolder();

  /** Every list, with a page size that leaves more behind it. */
  function lists(history: History): string[] {
    const room = history.room(ALICE, BOB);
    return [
      `/v1/rooms/${room}/messages?limit=2`,
      `/v1/rooms/${room}/messages?limit=2&order=desc`,
      "/v1/anchors?limit=2",
      "/v1/anchors?limit=2&order=desc",
      `/v1/anchors?limit=2&room=${room}`,
    ];
  }

  it("go on where they stopped, whatever was anchored in between", async () => {
    const history = conversation(5);
    const chain = new ScriptedChain(history);
    const { url } = await start(chain, new WithheldStore(history.blocks));
    await waitForBlock(url, 106);
    const room = history.room(ALICE, BOB);
    const first = await getOk(url, `/v1/rooms/${room}/messages?limit=2`);
    history.anchor(deltaOf([room, [history.message(BOB, ALICE, { text: "newer" })]]));
    chain.grow();
    await waitForBlock(url, 107);
    const rest = await getOk(url, `/v1/rooms/${room}/messages?limit=200&cursor=${first.next}`);
    expect([...first.items, ...rest.items].map(({ anchorIndex }) => anchorIndex)).to.deep.equal([0, 1, 2, 3, 4, 5]);
    expect([first.room.n, rest.room.n]).to.deep.equal([5, 6]);
  });

  it("show a message where it counts, though a hundred other rooms listed it before", async () => {
    const history = conversation(1);
    const cid = history.message(BOB, ALICE);
    const foreign = Array.from({ length: 101 }, (_, i): [RoomId, Cid[]] => [
      `0x${i.toString(16).padStart(64, "0")}` as RoomId,
      [cid],
    ]);
    history.anchor(deltaOf(...foreign));
    history.anchor(deltaOf([history.room(ALICE, BOB), [cid]]));
    const { url } = await start(new ScriptedChain(history), new WithheldStore(history.blocks));
    await waitForBlock(url, 104);
    const { message, elsewhere } = await getOk(url, `/v1/messages/${cid}`);
    expect(message).to.deep.include({ anchorIndex: 2, verdict: { status: "verified" } });
    expect(elsewhere.length).to.equal(100);
  });

  it("say so when a reorg took back what they were read from, and only then", async () => {
    const history = conversation(5);
    const chain = new ScriptedChain(history);
    const { fork, from } = forkOf(history, 5, ["other", "and another"]);
    const { url } = await start(chain, new WithheldStore(fork.blocks));
    await waitForBlock(url, 106);
    const cursors = new Map<string, string>();
    for (const list of lists(history)) cursors.set(list, (await getOk(url, list)).next);
    chain.replace(fork, from, "fork");
    await waitForBlock(url, 107);
    for (const [list, cursor] of cursors) {
      const { status, body } = await get(url, `${list}&cursor=${cursor}`);
      // Anchors 3 and 4 were taken back: pages that began at the newest saw them, the others did not.
      if (list.includes("desc")) expect([status, body.code], list).to.deep.equal([410, "CURSOR_ORPHANED"]);
      else expect([status, body.items?.length], list).to.deep.equal([200, 2]);
    }
  });

  it("carry what they rest on from page to page", async () => {
    const history = conversation(6);
    const chain = new ScriptedChain(history);
    const { fork, from } = forkOf(history, 7, ["other"]);
    const { url } = await start(chain, new WithheldStore(fork.blocks));
    await waitForBlock(url, 107);
    const list = "/v1/anchors?limit=2&order=desc";
    const { next } = await getOk(url, list);
    // The second page holds anchors 3 and 2 only, the first held 5.
    const second = await getOk(url, `${list}&cursor=${next}`);
    chain.replace(fork, from, "fork");
    await waitForBlock(url, 108);
    expect((await get(url, `${list}&cursor=${second.next}`)).body.code).to.equal("CURSOR_ORPHANED");
  });

  it("of rooms and keys say so too", async () => {
    const history = conversation(1);
    const others = [new Person("X"), new Person("Y")];
    for (const other of others) history.register(other);
    history.anchor(
      deltaOf(...others.map((other) => [history.room(ALICE, other), [history.message(ALICE, other)]] as const)),
    );
    for (let i = 0; i < 2; i++) history.register(CAROL);
    history.anchorText("the last");
    const chain = new ScriptedChain(history);
    // Carol's second key goes, and with it the last anchor.
    const { fork, from } = forkOf(history, 7, ["other", "more", "most"]);
    const { url } = await start(chain, new WithheldStore(fork.blocks));
    await waitForBlock(url, 108);
    const rooms = await getOk(url, "/v1/rooms?limit=1");
    const one = await getOk(url, `/v1/wallets/${CAROL.address}/keys?limit=1`);
    chain.replace(fork, from, "fork");
    await waitForBlock(url, 109);
    expect((await get(url, `/v1/rooms?limit=1&cursor=${rooms.next}`)).body.code).to.equal("CURSOR_ORPHANED");
    // Its page held the first key only, which stands.
    expect((await getOk(url, `/v1/wallets/${CAROL.address}/keys?cursor=${one.next}`)).items).to.deep.equal([]);
  });

  it("ask to wait for an index that has not read what the cursor rests on", async () => {
    const history = conversation(4);
    const content = new WithheldStore(history.blocks);
    const { url } = await start(new ScriptedChain(history), content);
    await waitForBlock(url, 105);
    const { next } = await getOk(url, "/v1/anchors?order=desc&limit=2");
    const behind = new ScriptedChain(conversation(2));
    const other = await start(behind, content, { name: "behind" });
    await waitForBlock(other.url, 103);
    const { status, body } = await get(other.url, `/v1/anchors?order=desc&limit=2&cursor=${next}`);
    expect([status, body.code]).to.deep.equal([503, "INDEX_BEHIND"]);
    const current = await start(new ScriptedChain(history), content, { name: "another" });
    await waitForBlock(current.url, 105);
    expect((await getOk(current.url, `/v1/anchors?order=desc&limit=2&cursor=${next}`)).items).to.have.length(2);
  });

  it("filter messages, anchors and rooms as the unfiltered lists say", async () => {
    const history = new History();
    for (const person of [ALICE, BOB, CAROL]) history.register(person);
    const [ab, ac, bc] = [history.room(ALICE, BOB), history.room(ALICE, CAROL), history.room(BOB, CAROL)];
    let lost: Cid | undefined;
    for (let i = 0; i < 6; i++) {
      const cids = [
        history.message(ALICE, BOB, { seq: 3 * i + 1 }),
        history.message(ALICE, BOB, { seq: 3 * i + 2, signer: CAROL.identity() }),
        history.message(ALICE, BOB, { seq: 3 * i + 3 }),
      ];
      if (i === 4) [lost] = cids;
      history.anchor(deltaOf(i % 2 === 0 ? [ab, cids] : [ac, [history.message(CAROL, ALICE, { seq: i })]]));
      if (i === 3) history.anchorText("nothing");
    }
    history.anchor(deltaOf([bc, [history.message(BOB, CAROL)]]));
    history.blocks.delete(lost!);
    const { url } = await start(new ScriptedChain(history), new WithheldStore(history.blocks));
    await waitForBlock(url, history.events.at(-1)!.blockNumber, 1);

    const messages = await getAll(url, `/v1/rooms/${ab}/messages`);
    for (const verdict of ["verified", "rejected", "missing"]) {
      for (const since of [0, 1, 4, 99]) {
        for (const order of ["asc", "desc"]) {
          const expected = messages.filter((m) => m.verdict.status === verdict && m.anchorIndex >= since);
          if (order === "desc") expected.reverse();
          const path = `/v1/rooms/${ab}/messages?verdict=${verdict}&since=${since}&order=${order}`;
          expect(await getAll(url, path, 2), path).to.deep.equal(expected);
        }
      }
    }
    const anchors = await getAll(url, "/v1/anchors");
    const touching = new Map([
      [ab, [0, 2, 5]],
      [ac, [1, 3, 6]],
      [bc, [7]],
      [history.room(ALICE, new Person("nobody")), []],
    ]);
    for (const [room, indices] of touching) {
      for (const since of [0, 2, 6]) {
        for (const order of ["asc", "desc"]) {
          const expected = indices.filter((index) => index >= since);
          if (order === "desc") expected.reverse();
          const found = await getAll(url, `/v1/anchors?room=${room}&since=${since}&order=${order}`, 1);
          expect(found.map(({ index }) => index)).to.deep.equal(expected);
        }
      }
    }
    const rejected = await getAll(url, "/v1/anchors?verdict=rejected", 1);
    expect(rejected).to.deep.equal(anchors.filter(({ verdict }) => verdict.status === "rejected"));
    expect(await getAll(url, `/v1/anchors?verdict=rejected&room=${ab}`)).to.deep.equal([]);

    const rooms = await getAll(url, "/v1/rooms");
    const newest = new Map([
      [ab, 5],
      [ac, 6],
      [bc, 7],
    ]);
    for (const since of [0, 6, 7, 8]) {
      const expected = rooms.filter(({ id }) => newest.get(id)! >= since);
      expect(await getAll(url, `/v1/rooms?since=${since}`, 1)).to.deep.equal(expected);
      const carols = expected.filter(({ members }) => members.includes(CAROL.address));
      expect(await getAll(url, `/v1/rooms?since=${since}&wallet=${CAROL.address}`, 1)).to.deep.equal(carols);
    }
  });

  it("go on behind what they looked at in vain", async () => {
    const history = conversation(2);
    const room = history.room(ALICE, BOB);
    const indexPath = join(folder(), "index");
    const { url } = await start(new ScriptedChain(history), new WithheldStore(history.blocks), { indexPath });
    await waitForBlock(url, history.events.at(-1)!.blockNumber);
    const paths = ["/v1/rooms?since=0", ...["asc", "desc"].map((order) => messages(room, "verified", order))];
    const expected = await Promise.all(paths.map((path) => getAll(url, path)));
    expect(expected.map(({ length }) => length)).to.deep.equal([1, 2, 2]);
    // More than a page looks at, on either side of what fits: rooms without messages, and messages that were rejected.
    const database = new Database(indexPath);
    const count = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)";
    database.exec(`${count} INSERT INTO rooms (id) SELECT printf('0x%064x', i) FROM n`);
    for (const anchor of [0, 1]) {
      database.exec(`${count} INSERT INTO entries (anchor_index, ordinal, room_number, cid_id, status, code, reason)
        SELECT ${anchor}, i + 1, room_number, cid_id, 'rejected', 'KEY_UNKNOWN', '' FROM n, entries
        WHERE anchor_index = 0 AND ordinal = 0`);
    }
    database.close();
    for (const [i, path] of paths.entries()) {
      for (const limit of [1, 200])
        expect(await getAll(url, path, limit), `${path} ${limit}`).to.deep.equal(expected[i]);
    }
    expect(await getAll(url, messages(room, "rejected", "asc"))).to.have.length(5_002);
  });
});

function messages(room: string, verdict: string, order: string): string {
  return `/v1/rooms/${room}/messages?verdict=${verdict}&order=${order}`;
}
