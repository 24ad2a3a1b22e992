import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import type { JournalRow } from "../../io/mailbox/journal.ts";
import { Mailbox } from "../../io/mailbox/mailbox.ts";
import { fromHex, toHex } from "../../protocol/bytes.ts";
import { digestOfCid, type Cid } from "../../protocol/cid.ts";
import { decodeEnvelope } from "../../protocol/envelope.ts";
import { draftRooms, type Tip } from "../../protocol/manifest.ts";
import { adopt, readLog } from "../fixtures/adopt.ts";
import { useFolder } from "../fixtures/folder.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { ALICE, BOB, CAROL, deltaOf, History } from "../fixtures/history.ts";
import { IDENTITY } from "../fixtures/identity.ts";

describe("The mailbox and the line of manifests", () => {
  const folder = useFolder();
  let history: History;
  let mailbox: Mailbox;

  beforeEach(() => {
    history = new History();
    for (const person of [ALICE, BOB, CAROL]) history.register(person);
    mailbox = Mailbox.open(folder(), IDENTITY);
  });
  afterEach(() => mailbox.close());

  function reopen(): void {
    mailbox.close();
    mailbox = Mailbox.open(folder(), IDENTITY);
  }

  function send(...cids: readonly Cid[]): void {
    mailbox.add(
      cids.map((cid) => {
        const block = history.blocks.get(cid)!;
        return { cid, block, envelope: decodeEnvelope(block) };
      }),
    );
  }

  /** Anchors what the mailbox has, as the task does it, up to the block that is not final yet. */
  function mine(): JournalRow {
    const { anchors } = mailbox;
    readLog(mailbox, history);
    const { count, head } = anchors.known();
    const row = anchors.plan(head, count, 1_000)!;
    const draft = draftRooms(anchors.tip(), anchors.delta(row));
    for (const { bytes } of draft.blocks) history.put(bytes);
    anchors.write(row, draft.cid);
    const { index } = history.anchorText(draft.cid);
    expect(index).to.equal(row.index);
    readLog(mailbox, history);
    expect(anchors.follow()).to.equal("journal");
    return anchors.row(row.id)!;
  }

  function anchor(): Tip {
    mailbox.anchors.finalize(mine());
    return mailbox.anchors.tip()!;
  }

  const text = (tip: Tip | null) =>
    tip && { ...tip, state: toHex(tip.state.root), rooms: [...tip.state.rooms()].map((room) => JSON.stringify(room)) };

  it("begins with no tip and nothing accounted for", () => {
    expect(mailbox.anchors.tip()).to.equal(null);
    expect(mailbox.anchors.known().count).to.equal(0);
    expect(mailbox.anchors.known().head).to.deep.equal(new Uint8Array(32));
  });

  it("gives back the tip that it recorded, and what a replay of the chain gives is the same", () => {
    send(history.message(ALICE, BOB), history.message(BOB, ALICE), history.message(ALICE, CAROL));
    anchor();
    send(history.message(BOB, CAROL), history.message(ALICE, BOB, { seq: 2 }));
    const tip = anchor();
    const expected = text(tip);
    reopen();
    expect(text(mailbox.anchors.tip())).to.deep.equal(expected);
    expect(text(mailbox.anchors.tip())).to.deep.equal(text(history.replay().tip));
    expect(mailbox.anchors.known().count).to.equal(2);
    expect(mailbox.anchors.known().head).to.deep.equal(digestOfCid(tip.cid));
    expect(mailbox.counts().unanchored).to.equal(0);
  });

  it("keeps the newer line when an anchor is settled that a replay has gone past", () => {
    send(history.message(ALICE, BOB));
    const row = mine();
    history.anchor(deltaOf([history.room(ALICE, CAROL), [history.message(ALICE, CAROL)]]));
    adopt(mailbox, history);
    const second = mailbox.anchors.tip();
    expect(second?.index).to.equal(1);
    mailbox.anchors.finalize(row);
    expect(text(mailbox.anchors.tip())).to.deep.equal(text(second));
    expect(mailbox.anchors.known().count).to.equal(2);
    expect(mailbox.anchors.row(row.id)?.state).to.equal("adopted");
  });

  it("is put right by a replay when its rooms do not give the recorded state", () => {
    send(history.message(ALICE, BOB), history.message(ALICE, CAROL));
    const expected = text(anchor());
    const database = new Database(join(folder(), "mailbox.sqlite"));
    const room = fromHex(history.room(ALICE, BOB));
    expect(database.prepare("DELETE FROM state_nodes WHERE instr(node, ?) > 0").run(room).changes).to.equal(1);
    database.close();
    expect(codeOf(() => mailbox.anchors.tip()?.state.room(history.room(ALICE, BOB)))).to.equal("DATABASE_DAMAGED");
    expect(mailbox.anchors.tip()?.state.room(history.room(ALICE, CAROL))?.range.size).to.equal(1);
    adopt(mailbox, history);
    expect(text(mailbox.anchors.tip())).to.deep.equal(expected);
  });

  it("adopts a history that it did not know: messages, marks, tip", () => {
    const cids = [history.message(ALICE, BOB), history.message(BOB, ALICE)];
    const room = history.room(ALICE, BOB);
    history.anchor(deltaOf([room, [cids[0]!]]));
    history.anchor(deltaOf([room, [cids[1]!]]));
    const mine = history.message(ALICE, BOB, { seq: 2 });
    send(mine);
    const replay = history.replay();
    adopt(mailbox, history);
    reopen();
    expect(mailbox.messages(room).map(({ cid, anchorIndex }) => [cid, anchorIndex])).to.deep.equal([
      [mine, null],
      [cids[0], 0],
      [cids[1], 1],
    ]);
    expect(text(mailbox.anchors.tip())).to.deep.equal(text(replay.tip));
    expect(mailbox.anchors.known().count).to.equal(2);
    expect(mailbox.anchors.known().isSettled).to.equal(true);
    expect(mailbox.nextSeq(room, BOB.address, 1)).to.equal(2);
  });

  it("takes marks back that a reorg took from the chain", () => {
    send(history.message(ALICE, BOB));
    anchor();
    expect(mailbox.counts().unanchored).to.equal(0);
    adopt(mailbox, new History());
    expect(mailbox.counts()).to.deep.equal({ messages: 1, unanchored: 1, unpinned: 1 });
    expect(mailbox.anchors.tip()).to.equal(null);
    expect(mailbox.anchors.known().count).to.equal(0);
  });

  it("skips an anchor that is rejected: its messages wait, the tip stays, the count goes on", () => {
    send(history.message(ALICE, BOB));
    const tip = anchor();
    history.anchorText("not a CID");
    const waiting = history.message(BOB, ALICE);
    send(waiting);
    adopt(mailbox, history);
    expect(text(mailbox.anchors.tip())).to.deep.equal(text(tip));
    expect(mailbox.anchors.known().count).to.equal(2);
    expect(mailbox.unanchored().map(({ cid }) => cid)).to.deep.equal([waiting]);
    anchor();
    const replayed = history.replay();
    expect(replayed.anchors.map(({ verdict }) => verdict.status)).to.deep.equal(["verified", "rejected", "verified"]);
    expect(text(mailbox.anchors.tip())).to.deep.equal(text(replayed.tip));
  });

  it("keeps what it knows of its own anchor when nobody gives its blocks, and looks again", () => {
    send(history.message(ALICE, BOB));
    anchor();
    send(history.message(ALICE, BOB, { seq: 2 }));
    const tip = anchor();
    adopt(mailbox, history, (cid) => (cid === tip.cid ? undefined : history.get(cid)));
    expect(mailbox.counts().unanchored).to.equal(0);
    expect(text(mailbox.anchors.tip())).to.deep.equal(text(tip));
    expect(mailbox.anchors.known().isSettled).to.equal(false);
    adopt(mailbox, history);
    expect(text(mailbox.anchors.tip())).to.deep.equal(text(history.replay().tip));
    expect(mailbox.anchors.known().isSettled).to.equal(true);
  });

  it("imports nothing that was rejected, and does not anchor again what a verified anchor lists", () => {
    const room = history.room(ALICE, BOB);
    const forged = history.message(ALICE, BOB, { signer: BOB.identity() });
    const foreign = history.message(ALICE, CAROL);
    const mine = history.message(ALICE, BOB, { signer: CAROL.identity() });
    send(mine, foreign);
    history.anchor(deltaOf([room, [forged, foreign, mine]]));
    adopt(mailbox, history);
    expect(mailbox.message(forged)).to.equal(null);
    expect(mailbox.message(mine)?.anchorIndex).to.equal(0);
    // Listed in a room it does not belong to: it still has to be anchored in its own.
    expect(mailbox.message(foreign)?.anchorIndex).to.equal(null);
  });
});
