import { expect } from "chai";

import type { ChainReader } from "../../io/chain/reader.ts";
import { catchUp, rebuild } from "../../io/history.ts";
import type { ContentStore } from "../../io/content/store.ts";
import { Mailbox } from "../../io/mailbox/mailbox.ts";
import { equal, toHex } from "../../protocol/bytes.ts";
import { digestOfCid, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Replay } from "../../protocol/replay.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, DEPLOYMENT, History } from "../fixtures/history.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

/** A store that has what the history has, but for some blocks; counts what is asked for. */
class CountingStore implements ContentStore {
  readonly name = "a test's blocks";
  readonly asked: Cid[] = [];
  readonly absent = new Set<Cid>();
  private readonly history: History;

  constructor(history: History) {
    this.history = history;
  }

  get(cid: Cid): Promise<Uint8Array | null> {
    this.asked.push(cid);
    return Promise.resolve(this.absent.has(cid) ? null : (this.history.blocks.get(cid) ?? null));
  }
  put(): Promise<void> {
    return Promise.resolve();
  }
  pin(): Promise<void> {
    return Promise.resolve();
  }
  isPinned(cids: readonly Cid[]): Promise<boolean[]> {
    return Promise.resolve(cids.map(() => false));
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** What a replay says, as text that can be compared. */
function report(replay: Replay): unknown {
  return {
    anchors: replay.anchors.map(({ event, verdict }) => [event.index, verdict]),
    rooms: replay.rooms.map((room) => [room, replay.entries(room)]),
    state: toHex(replay.state.root),
  };
}

/** Five anchors in two rooms, one of them invalid and skipped by the next one's base. */
function conversation(): { history: History; cids: Cid[] } {
  const history = new History();
  for (const person of [ALICE, BOB, CAROL]) history.register(person);
  const cids: Cid[] = [];
  const room = history.room(ALICE, BOB);
  for (let i = 0; i < 4; i++) {
    const ours = [history.message(ALICE, BOB, { seq: i + 1 }), history.message(BOB, ALICE, { seq: i + 1 })];
    const others = history.message(ALICE, CAROL, { seq: i + 1 });
    cids.push(...ours, others);
    history.anchor(deltaOf([room, ours], [history.room(ALICE, CAROL), [others]]));
    if (i === 1) history.anchorText("not a CID");
  }
  return { history, cids };
}

describe("A history rebuilt from chain and content", () => {
  it("is what a replay with all blocks at hand gives, and each block is fetched once", async () => {
    const { history } = conversation();
    const store = new CountingStore(history);
    const kept = new Map<Cid, string>();
    const progress: number[] = [];
    const replay = await rebuild(DEPLOYMENT, history.events, store, {
      keep: (cid, _bytes, kind) => kept.set(cid, kind),
      onProgress: ({ missing }) => progress.push(missing),
    });
    expect(report(replay)).to.deep.equal(report(history.replay()));
    expect(new Set(store.asked).size).to.equal(store.asked.length);
    expect([...kept.values()].filter((kind) => kind === "message").length).to.equal(12);
    expect(kept.size).to.equal(store.asked.length);
    expect(progress.at(-1)).to.equal(0);
    expect(replay.anchors.map(({ verdict }) => verdict.status)).to.deep.equal([
      ...["verified", "verified", "rejected", "verified", "verified"],
    ]);
  });

  it("takes few rounds for a long line of anchors, not one for each", async () => {
    const history = new History();
    for (const person of [ALICE, BOB]) history.register(person);
    for (let i = 0; i < 40; i++)
      history.anchor(deltaOf([history.room(ALICE, BOB), [history.message(ALICE, BOB, { seq: i + 1 })]]));
    let rounds = 0;
    const replay = await rebuild(DEPLOYMENT, history.events, new CountingStore(history), {
      onProgress: () => (rounds += 1),
    });
    expect(report(replay)).to.deep.equal(report(history.replay()));
    expect(rounds).to.be.lessThan(5);
  });

  it("leaves missing what no source has, decides all that can be decided, and ends", async () => {
    const { history, cids } = conversation();
    for (const absent of [
      cids[0],
      history.events.findLast((event) => event.kind === "anchor")?.cid,
      history.replay().anchors[1]?.manifest?.rooms[0],
    ]) {
      const store = new CountingStore(history);
      store.absent.add(absent!);
      const replay = await rebuild(DEPLOYMENT, history.events, store);
      expect(report(replay)).to.deep.equal(
        report(history.replay((cid) => (cid === absent ? undefined : history.get(cid)))),
      );
      expect(replay.missing().has(absent!)).to.equal(true);
    }
  });

  it("does not believe a store that gives other bytes", async () => {
    const { history, cids } = conversation();
    const store = new CountingStore(history);
    const get = store.get.bind(store);
    store.get = async (cid) => (cid === cids[3] ? Uint8Array.of(1) : get(cid));
    const replay = await rebuild(DEPLOYMENT, history.events, store);
    expect([...replay.missing()]).to.deep.equal([cids[3]]);
  });

  it("ends with the store's error when the store itself fails", async () => {
    const { history } = conversation();
    const store = new CountingStore(history);
    store.get = () => Promise.reject(new DmtpError("CONTENT_UNREACHABLE", "gone"));
    expect(await codeOfAsync(() => rebuild(DEPLOYMENT, history.events, store))).to.equal("CONTENT_UNREACHABLE");
  });

  it("is empty for an empty chain", async () => {
    const replay = await rebuild(DEPLOYMENT, [], new CountingStore(new History()));
    expect(replay.rooms).to.deep.equal([]);
  });
});

describe("The mailbox, brought up to the chain", () => {
  const folder = useFolder();
  let mailbox: Mailbox;
  let history: History;
  let store: CountingStore;
  let reads: number;

  beforeEach(() => {
    mailbox = Mailbox.open(folder(), DEPLOYMENT);
    ({ history } = conversation());
    store = new CountingStore(history);
    reads = 0;
  });
  afterEach(() => mailbox.close());

  /** The three methods of a reader that catchUp uses, on the made-up chain. */
  function reader(): ChainReader {
    const anchors = () => history.events.filter((event) => event.kind === "anchor");
    const entryHead = () => {
      const cid = anchors().at(-1)?.cid;
      return Promise.resolve({
        count: anchors().length,
        head: cid === null || cid === undefined ? new Uint8Array(32) : digestOfCid(cid),
      });
    };
    const allEvents = () => {
      reads += 1;
      return Promise.resolve({ events: history.events, head: { block: { number: 1_000 }, finalized: 0 } });
    };
    return { deployment: DEPLOYMENT, entryHead, allEvents } as unknown as ChainReader;
  }

  it("adopts a chain that it does not know, and then is current without reading it again", async () => {
    const adopted = await catchUp(mailbox, reader(), store);
    expect(adopted.status).to.equal("adopted");
    expect(mailbox.counts()).to.deep.equal({ messages: 12, unanchored: 0, unpinned: 12 });
    expect(toHex(mailbox.tip()?.state.root ?? new Uint8Array())).to.equal(toHex(history.replay().state.root));
    const current = await catchUp(mailbox, reader(), store);
    expect(current.status).to.equal("current");
    expect(equal(current.head, adopted.head)).to.equal(true);
    expect(reads).to.equal(1);
  });

  it("adopts what came on top, and takes from the store only what it does not hold", async () => {
    await catchUp(mailbox, reader(), store);
    const added = history.message(ALICE, BOB, { seq: 5 });
    history.anchor(deltaOf([history.room(ALICE, BOB), [added]]));
    store.asked.length = 0;
    expect((await catchUp(mailbox, reader(), store)).status).to.equal("adopted");
    expect(mailbox.message(added)?.anchorIndex).to.equal(5);
    expect(store.asked.filter((cid) => mailbox.block(cid) !== null)).to.deep.equal([added]);
  });

  it("looks again as long as something is missing, and no longer", async () => {
    const [absent] = history.replay().entries(history.room(ALICE, BOB));
    store.absent.add(absent!.cid);
    expect((await catchUp(mailbox, reader(), store)).status).to.equal("adopted");
    expect((await catchUp(mailbox, reader(), store)).status).to.equal("adopted");
    expect(mailbox.counts().messages).to.equal(11);
    store.absent.clear();
    expect((await catchUp(mailbox, reader(), store)).status).to.equal("adopted");
    expect(mailbox.counts().messages).to.equal(12);
    expect((await catchUp(mailbox, reader(), store)).status).to.equal("current");
  });

  it("is current on an empty chain without reading it", async () => {
    history = new History();
    expect(await catchUp(mailbox, reader(), store)).to.deep.equal({ status: "current", head: new Uint8Array(32) });
    expect(reads).to.equal(0);
  });
});
