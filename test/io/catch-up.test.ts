import { expect } from "chai";

import { catchUp, type Standing } from "../../io/catch-up.ts";
import { headAfter } from "../../io/chain/events/stored-entry.ts";
import type { ChainClient } from "../../io/chain/client.ts";
import { Mailbox } from "../../io/mailbox/mailbox.ts";
import { toHex } from "../../protocol/bytes.ts";
import { cidOfDigest, digestOfCid, type Cid } from "../../protocol/cid.ts";
import { conversation, CountingStore } from "../fixtures/counting-store.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, deltaOf, DEPLOYMENT, History } from "../fixtures/history.ts";
import { IDENTITY } from "../fixtures/identity.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const MINUTE = 60_000;

describe("The mailbox, brought up to the chain", () => {
  const folder = useFolder();
  let mailbox: Mailbox;
  let history: History;
  let store: CountingStore;
  let reads: number;
  let now: number;
  /** Empty blocks after the events. */
  let blocks: number;
  /** An entry of CIDStore about which the node lies. */
  let forged: { readonly index: number; readonly cid: Cid; readonly text: string } | null;

  beforeEach(() => {
    mailbox = Mailbox.open(folder(), IDENTITY);
    ({ history } = conversation());
    store = new CountingStore(history);
    reads = 0;
    blocks = 0;
    forged = null;
    now = 1_800_000_000_000;
  });
  afterEach(() => mailbox.close());

  /** What catchUp uses of a reader, on the made-up chain, as long as nothing there is this mailbox's own. */
  function reader(): ChainClient {
    const at = {
      block: { number: 1_000, hash: `0x${String(1_000 * blocks + history.events.length).padStart(64, "0")}` },
      finalized: 0,
    };
    const events = history.events.map((event) =>
      event.kind === "anchor" && event.index === forged?.index ? { ...event, ...forged } : event,
    );
    const anchors = () => events.filter((event) => event.kind === "anchor");
    const entryHead = () => {
      const cid = anchors().at(-1)?.cid;
      const head = cid === null || cid === undefined ? new Uint8Array(32) : digestOfCid(cid);
      return Promise.resolve({ count: anchors().length, head, at });
    };
    const newEvents = (fromBlock: number) => {
      const found = events.filter(({ blockNumber }) => blockNumber >= fromBlock);
      if (found.length > 0) reads += 1;
      const anchorHead = headAfter(anchors().at(-1) ?? null);
      return Promise.resolve({ events: found, anchorHead });
    };
    const block = (number: number) => {
      const event = history.events.find(({ blockNumber }) => blockNumber === number);
      return Promise.resolve(event === undefined ? null : { number, hash: event.blockHash });
    };
    return { deployment: DEPLOYMENT, startBlock: 0, entryHead, newEvents, block } as unknown as ChainClient;
  }

  const look = (): Promise<Standing> => catchUp(mailbox, reader(), store, { now: () => now });

  it("reads the last entry again when CIDStore's head is another than it read from a node that lied", async () => {
    const cid = cidOfDigest(fixedBytes("forged"));
    const index = history.events.filter(({ kind }) => kind === "anchor").length - 1;
    forged = { index, cid, text: cid };
    await look();
    expect(mailbox.log.anchor(index)?.cid).to.equal(cid);
    forged = null;
    blocks += 1;
    await look();
    expect(mailbox.log.anchor(index)?.cid).to.equal(history.events.findLast((event) => event.kind === "anchor")?.cid);
  });

  it("adopts a chain that it does not know, and then is current without reading it again", async () => {
    const adopted = await look();
    expect(adopted.by).to.equal("replay");
    expect(mailbox.counts()).to.deep.equal({ messages: 12, unanchored: 0, unpinned: 12 });
    expect(toHex(mailbox.anchors.tip()?.state.root ?? new Uint8Array())).to.equal(toHex(history.replay().state.root));
    const current = await look();
    expect(current).to.deep.equal({ ...adopted, by: "current" });
    expect(reads).to.equal(1);
  });

  it("adopts what came on top, and takes from the store only what it does not hold", async () => {
    await look();
    const added = history.message(ALICE, BOB, { seq: 5 });
    history.anchor(deltaOf([history.room(ALICE, BOB), [added]]));
    store.asked.length = 0;
    expect((await look()).by).to.equal("replay");
    expect(mailbox.message(added)?.anchorIndex).to.equal(5);
    expect(store.asked.filter((cid) => mailbox.block(cid) !== null)).to.deep.equal([added]);
  });

  it("looks again for what is missing, after pauses that double from a minute to an hour, and no longer once it is there", async () => {
    const [absent] = history.replay().entries(history.room(ALICE, BOB));
    store.absent.add(absent!.cid);
    expect((await look()).by).to.equal("replay");
    const pauses: number[] = [];
    for (let i = 0; i < 9; i++) {
      const from = now;
      while ((await look()).by === "current") now += MINUTE / 2;
      pauses.push((now - from) / MINUTE);
    }
    expect(pauses).to.deep.equal([1, 2, 4, 8, 16, 32, 60, 60, 60]);
    expect(mailbox.counts().messages).to.equal(11);
    store.absent.clear();
    now += 60 * MINUTE;
    expect((await look()).by).to.equal("replay");
    expect(mailbox.counts().messages).to.equal(12);
    expect((await look()).by).to.equal("current");
  });

  it("looks at once when the chain has gone on, or the clock was put back", async () => {
    store.absent.add(history.replay().entries(history.room(ALICE, BOB))[0]!.cid);
    await look();
    history.anchor(deltaOf([history.room(ALICE, BOB), [history.message(ALICE, BOB, { seq: 5 })]]));
    expect((await look()).by).to.equal("replay");
    expect((await look()).by).to.equal("current");
    now -= 24 * 60 * MINUTE;
    expect((await look()).by).to.equal("replay");
  });

  it("is current on an empty chain without reading it", async () => {
    history = new History();
    expect(await look()).to.deep.include({ by: "current", count: 0, head: new Uint8Array(32) });
    expect(reads).to.equal(0);
  });
});
