import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import { Mailbox } from "../../io/mailbox/mailbox.ts";
import { toHex } from "../../protocol/bytes.ts";
import { digestOfCid, type Cid } from "../../protocol/cid.ts";
import { decodeEnvelope } from "../../protocol/envelope.ts";
import { draftManifest, type Tip } from "../../protocol/manifest.ts";
import { State, type Delta } from "../../protocol/state.ts";
import { useFolder } from "../fixtures/folder.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { ALICE, BOB, CAROL, deltaOf, DEPLOYMENT, History } from "../fixtures/history.ts";

describe("The mailbox and the line of manifests", () => {
  const folder = useFolder();
  let history: History;
  let mailbox: Mailbox;

  beforeEach(() => {
    history = new History();
    for (const person of [ALICE, BOB, CAROL]) history.register(person);
    mailbox = Mailbox.open(folder(), DEPLOYMENT);
  });
  afterEach(() => mailbox.close());

  function reopen(): void {
    mailbox.close();
    mailbox = Mailbox.open(folder(), DEPLOYMENT);
  }

  function send(...cids: readonly Cid[]): void {
    mailbox.add(
      cids.map((cid) => {
        const block = history.blocks.get(cid)!;
        return { cid, block, envelope: decodeEnvelope(block) };
      }),
    );
  }

  /** Anchors what the mailbox has, as the task does it. */
  function anchor(): Tip {
    const delta = new Map<string, Cid[]>();
    for (const { room, cid } of mailbox.unanchored()) delta.set(room, [...(delta.get(room) ?? []), cid]);
    const before = mailbox.tip();
    const draft = draftManifest(before, delta as unknown as Delta);
    for (const { bytes } of draft.blocks) history.put(bytes);
    const { index } = history.anchorText(draft.cid);
    const state = (before?.state ?? State.EMPTY).after(delta as unknown as Delta, index);
    const tip: Tip = { index, cid: draft.cid, seq: draft.manifest.seq, state };
    mailbox.recordAnchor(tip, delta as unknown as Delta);
    return tip;
  }

  const text = (tip: Tip | null) =>
    tip && { ...tip, state: toHex(tip.state.root), rooms: [...tip.state.rooms()].map((room) => JSON.stringify(room)) };

  it("begins with no tip and nothing accounted for", () => {
    expect(mailbox.tip()).to.equal(null);
    expect(mailbox.anchorCount()).to.equal(0);
    expect(mailbox.accounted().head).to.deep.equal(new Uint8Array(32));
  });

  it("gives back the tip that it recorded, and what a replay of the chain gives is the same", () => {
    send(history.message(ALICE, BOB), history.message(BOB, ALICE), history.message(ALICE, CAROL));
    anchor();
    send(history.message(BOB, CAROL), history.message(ALICE, BOB, { seq: 2 }));
    const tip = anchor();
    const expected = text(tip);
    reopen();
    expect(text(mailbox.tip())).to.deep.equal(expected);
    expect(text(mailbox.tip())).to.deep.equal(text(history.replay().tip));
    expect(mailbox.anchorCount()).to.equal(2);
    expect(mailbox.accounted().head).to.deep.equal(digestOfCid(tip.cid));
    expect(mailbox.counts().unanchored).to.equal(0);
  });

  it("keeps the newer line when an anchor is recorded that another process has gone past", () => {
    send(history.message(ALICE, BOB));
    const first = anchor();
    const delta = new Map([
      [history.room(ALICE, BOB), [...mailbox.messages(history.room(ALICE, BOB))].map(({ cid }) => cid)],
    ]);
    send(history.message(ALICE, CAROL));
    const second = anchor();
    mailbox.recordAnchor(first, delta);
    expect(text(mailbox.tip())).to.deep.equal(text(second));
    expect(mailbox.anchorCount()).to.equal(2);
  });

  it("is put right by a replay when its rooms do not give the recorded state", () => {
    send(history.message(ALICE, BOB), history.message(ALICE, CAROL));
    const tip = anchor();
    const database = new Database(join(folder(), "mailbox.sqlite"));
    database.prepare("DELETE FROM rooms WHERE room = ?").run(history.room(ALICE, BOB));
    database.close();
    expect(codeOf(() => mailbox.tip()?.state.room(history.room(ALICE, BOB)))).to.equal("MAILBOX_DAMAGED");
    expect(mailbox.tip()?.state.room(history.room(ALICE, CAROL))?.range.size).to.equal(1);
    mailbox.adopt(history.replay(), history.get);
    expect(text(mailbox.tip())).to.deep.equal(text(tip));
  });

  it("adopts a history that it did not know: messages, marks, tip", () => {
    const cids = [history.message(ALICE, BOB), history.message(BOB, ALICE)];
    const room = history.room(ALICE, BOB);
    history.anchor(deltaOf([room, [cids[0]!]]));
    history.anchor(deltaOf([room, [cids[1]!]]));
    const mine = history.message(ALICE, BOB, { seq: 2 });
    send(mine);
    const replay = history.replay();
    mailbox.adopt(replay, history.get);
    reopen();
    expect(mailbox.messages(room).map(({ cid, anchorIndex }) => [cid, anchorIndex])).to.deep.equal([
      [mine, null],
      [cids[0], 0],
      [cids[1], 1],
    ]);
    expect(text(mailbox.tip())).to.deep.equal(text(replay.tip));
    expect(mailbox.anchorCount()).to.equal(2);
    expect(mailbox.accounted().isSettled).to.equal(true);
    expect(mailbox.nextSeq(room, BOB.address)).to.equal(2);
  });

  it("takes marks back that a reorg took from the chain", () => {
    send(history.message(ALICE, BOB));
    anchor();
    expect(mailbox.counts().unanchored).to.equal(0);
    mailbox.adopt(new History().replay(), () => undefined);
    expect(mailbox.counts()).to.deep.equal({ messages: 1, unanchored: 1, unpinned: 1 });
    expect(mailbox.tip()).to.equal(null);
    expect(mailbox.anchorCount()).to.equal(0);
  });

  it("skips an anchor that is rejected: its messages wait, the tip stays, the count goes on", () => {
    send(history.message(ALICE, BOB));
    const tip = anchor();
    history.anchorText("not a CID");
    const waiting = history.message(BOB, ALICE);
    send(waiting);
    mailbox.adopt(history.replay(), history.get);
    expect(text(mailbox.tip())).to.deep.equal(text(tip));
    expect(mailbox.anchorCount()).to.equal(2);
    expect(mailbox.unanchored().map(({ cid }) => cid)).to.deep.equal([waiting]);
    anchor();
    const replayed = history.replay();
    expect(replayed.anchors.map(({ verdict }) => verdict.status)).to.deep.equal(["verified", "rejected", "verified"]);
    expect(text(mailbox.tip())).to.deep.equal(text(replayed.tip));
  });

  it("keeps what it knows of its own anchor when nobody gives its blocks, and looks again", () => {
    send(history.message(ALICE, BOB));
    anchor();
    send(history.message(ALICE, BOB, { seq: 2 }));
    const tip = anchor();
    const lost = history.replay((cid) => (cid === tip.cid ? undefined : history.get(cid)));
    mailbox.adopt(lost, history.get);
    expect(mailbox.counts().unanchored).to.equal(0);
    expect(text(mailbox.tip())).to.deep.equal(text(tip));
    expect(mailbox.accounted().isSettled).to.equal(false);
    mailbox.adopt(history.replay(), history.get);
    expect(text(mailbox.tip())).to.deep.equal(text(history.replay().tip));
    expect(mailbox.accounted().isSettled).to.equal(true);
  });

  it("imports nothing that was rejected, and does not anchor again what a verified anchor lists", () => {
    const room = history.room(ALICE, BOB);
    const forged = history.message(ALICE, BOB, { signer: BOB.identity() });
    const foreign = history.message(ALICE, CAROL);
    const mine = history.message(ALICE, BOB, { signer: CAROL.identity() });
    send(mine, foreign);
    history.anchor(deltaOf([room, [forged, foreign, mine]]));
    mailbox.adopt(history.replay(), history.get);
    expect(mailbox.message(forged)).to.equal(null);
    expect(mailbox.message(mine)?.anchorIndex).to.equal(0);
    // Listed in a room it does not belong to: it still has to be anchored in its own.
    expect(mailbox.message(foreign)?.anchorIndex).to.equal(null);
  });
});
