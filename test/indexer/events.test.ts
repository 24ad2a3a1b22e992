import type { ServerResponse } from "node:http";
import { join } from "node:path";

import { expect } from "chai";

import { findMismatch } from "../../client/api/check.ts";
import { eventSchemas } from "../../client/api/events.ts";
import { History } from "../../indexer/history.ts";
import { Stream, type Sink } from "../../http/live/stream.ts";
import { Streams } from "../../http/live/streams.ts";
import { ChangeEvents, type ChangeFilter } from "../../indexer/read/changes.ts";
import { Snapshots } from "../../indexer/read/snapshot.ts";
import { openIndex } from "../../indexer/store/database.ts";
import type { Cid } from "../../protocol/cid.ts";
import { useFolder } from "../fixtures/folder.ts";
import { Listening, type ReceivedEvent } from "../fixtures/event-stream.ts";
import { ALICE, BOB, CAROL, deltaOf, type History as MadeHistory } from "../fixtures/history.ts";
import { get, getAll, waitFor, waitForBlock } from "../fixtures/indexer-client.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { conversation, forkOf, useIndexers } from "../fixtures/served-history.ts";

interface MessageEvent {
  readonly cid: Cid;
  readonly anchorIndex: number;
  readonly ordinal: number;
  readonly blockNumber: number;
  readonly verdict: { readonly status: string };
}

/** What a client that only listens believes the history to be. */
class Mirror {
  readonly messages = new Map<string, MessageEvent>();

  apply({ name, data }: ReceivedEvent): void {
    if (name === "message") {
      const message = data as MessageEvent;
      this.messages.set(`${message.anchorIndex} ${message.ordinal}`, message);
    }
    if (name !== "reorg") return;
    const { to } = data as { to: { block: number } | null };
    for (const [place, { blockNumber }] of this.messages) {
      if (blockNumber > (to?.block ?? -1)) this.messages.delete(place);
    }
  }

  get rows(): [number, number, Cid, string][] {
    return [...this.messages.values()]
      .map(({ anchorIndex, ordinal, cid, verdict }): [number, number, Cid, string] => [
        anchorIndex,
        ordinal,
        cid,
        verdict.status,
      ])
      .sort(([a, b], [c, d]) => a - c || b - d);
  }
}

describe("the indexer's live updates", () => {
  const start = useIndexers();
  const folder = useFolder();
  const listening = new Set<Listening>();
  afterEach(() => {
    for (const each of listening) each.close();
    listening.clear();
  });

  async function listen(url: string, query = "", lastEventId = ""): Promise<Listening> {
    const each = new Listening(url, query, lastEventId);
    listening.add(each);
    await waitFor("the first height", () => Promise.resolve(each.named("height").length > 0));
    return each;
  }
  const reaches = (each: Listening, block: number): Promise<void> =>
    waitFor(`a height of ${block}`, () =>
      Promise.resolve(each.named("height").some(({ data }) => (data as { at: { block: number } }).at.block >= block)),
    );
  async function rowsOf(url: string, history: MadeHistory): Promise<[number, number, Cid, string][]> {
    const path = `/v1/rooms/${history.room(ALICE, BOB)}/messages`;
    // No anchor was read yet that lists messages of the room.
    if ((await get(url, path)).status === 404) return [];
    const messages = await getAll(url, path);
    return messages.map(({ anchorIndex, ordinal, cid, verdict }) => [anchorIndex, ordinal, cid, verdict.status]);
  }

  it("bring every anchor, key and message as they come, each as documented", async () => {
    const history = conversation(1);
    const chain = new ScriptedChain(history);
    const { url } = await start(chain, new WithheldStore(history.blocks));
    await waitForBlock(url, 102);
    const each = await listen(url);
    expect(each.named("message", "anchor", "key"), "only what is new").to.deep.equal([]);
    history.register(CAROL);
    history.anchor(deltaOf([history.room(ALICE, CAROL), [history.message(CAROL, ALICE)]]));
    history.revoke(CAROL);
    chain.grow();
    await reaches(each, 105);
    await waitFor("the message", () =>
      Promise.resolve(each.named("message").some(({ data }) => (data as MessageEvent).verdict.status === "verified")),
    );
    for (const { name, data } of each.events) {
      const schema = eventSchemas[name as keyof typeof eventSchemas];
      expect(findMismatch(schema, data, name, true), name).to.equal(null);
    }
    expect(each.named("key").map(({ data }) => (data as { key: { kind: string } }).key.kind)).to.include.members([
      "key",
      "revocation",
    ]);
    // Its counts follow from its messages' events.
    const { counts: _told, ...told } = each.named("anchor").at(-1)!.data as { counts: object };
    const { counts: _, ...anchor } = (await getAll(url, "/v1/anchors")).at(-1);
    expect(told).to.deep.equal(anchor);
    expect(each.named("message").at(-1)!.data).to.deep.equal(
      (await getAll(url, `/v1/rooms/${history.room(ALICE, CAROL)}/messages`))[0],
    );
    const ids = each.events.map(({ id }) => Number(id.split("-")[1]));
    expect(ids).to.deep.equal(ids.toSorted((a, b) => a - b));
  });

  it("resume at any event, without loss or duplicate, through late content, a reorg and a restart", async () => {
    const history = conversation(4, 3);
    const late = history.replay().entriesByAnchor(1)[1]!.cid;
    const { fork, from } = forkOf(history, 4, ["other", "another"]);
    const chain = new ScriptedChain(conversation(0));
    const content = new WithheldStore(fork.blocks);
    content.withheld.add(late);
    let indexer = await start(chain, content);
    await waitForBlock(indexer.url, 101);
    const whole: ReceivedEvent[] = [];
    let each = await listen(indexer.url);
    const restart = async (): Promise<void> => {
      whole.push(...each.events);
      const { lastEventId } = each;
      await indexer.close();
      indexer = await start(chain, content);
      each = await listen(indexer.url, "", lastEventId);
    };

    chain.replace(history, 102, "main");
    await reaches(each, 105);
    await waitFor(
      "all but one",
      async () => (await rowsOf(indexer.url, history)).filter((row) => row[3] === "missing").length === 1,
    );
    await restart();
    content.withheld.clear();
    await waitFor("the late one", () =>
      Promise.resolve(each.named("message").some(({ data }) => (data as MessageEvent).cid === late)),
    );
    await restart();
    // In place of an empty block that was seen: what the next reorg takes back is then the newest that was told.
    const newest = history.message(BOB, ALICE);
    history.anchor(deltaOf([history.room(ALICE, BOB), [newest]]));
    for (const [cid, bytes] of history.blocks) fork.blocks.set(cid, bytes);
    chain.grow();
    await waitFor("the newest", async () =>
      (await rowsOf(indexer.url, history)).some(([, , cid, verdict]) => cid === newest && verdict === "verified"),
    );
    await reaches(each, 106);
    chain.replace(fork, from, "fork");
    await waitFor(
      "the fork",
      async () => (await rowsOf(indexer.url, fork)).filter((row) => row[3] === "verified").length === 8,
    );
    await reaches(each, 107);
    whole.push(...each.events);

    // Who was there all the time has the history, and saw the reorg as an event of its own.
    const final = await rowsOf(indexer.url, fork);
    const reorgs = whole.filter(({ name }) => name === "reorg");
    expect(reorgs.map(({ data }) => (data as { to: { block: number }; cause: string }).to.block)).to.deep.equal([
      105, 103,
    ]);
    const mirror = new Mirror();
    for (const event of whole) mirror.apply(event);
    expect(mirror.rows).to.deep.equal(final);
    // No event comes twice.
    const told = whole.filter(({ name }) => name !== "height").map(({ id }) => id);
    expect(new Set(told).size).to.equal(told.length);

    // Who goes away after any event, and comes back now, ends at the same.
    const seen = new Mirror();
    for (const event of whole) {
      seen.apply(event);
      const resumed = await listen(indexer.url, "", event.id);
      const copy = new Mirror();
      for (const [place, message] of seen.messages) copy.messages.set(place, message);
      for (const later of resumed.events) copy.apply(later);
      expect(copy.rows, `resumed after ${event.name} ${event.id}`).to.deep.equal(final);
      expect(resumed.named("reset")).to.deep.equal([]);
      const places = resumed
        .named("message")
        .map(({ data }) => `${(data as MessageEvent).anchorIndex} ${(data as MessageEvent).ordinal}`);
      expect(new Set(places).size, "each message at most once").to.equal(places.length);
      resumed.close();
    }
  });

  it("say that a position is not known, of another index or of the future, and refuse what is none", async () => {
    const history = conversation(2);
    const first = await start(new ScriptedChain(history), new WithheldStore(history.blocks), { name: "first" });
    const second = await start(new ScriptedChain(history), new WithheldStore(history.blocks), { name: "second" });
    await waitForBlock(first.url, 103);
    await waitForBlock(second.url, 103);
    const { lastEventId } = await listen(first.url);
    const name = lastEventId.split("-")[0]!;
    expect((await listen(first.url, `?after=${lastEventId}`)).named("reset")).to.deep.equal([]);
    for (const [url, id] of [
      [second.url, lastEventId],
      [first.url, `${name}-999999`],
    ] as const) {
      const each = await listen(url, "", id);
      expect(each.events[0]!.name).to.equal("reset");
      expect(each.named("message")).to.deep.equal([]);
    }
    for (const id of ["1", "__proto__", `${name}-01`, `${name}--1`, `${name}-NaN`, "x".repeat(64)]) {
      const { status, body } = await get(first.url, `/v1/events?after=${id}`);
      expect([status, body.code], id).to.deep.equal([400, "PARAMETER_INVALID"]);
    }
    expect((await get(first.url, `/v1/events?room=x`)).body.code).to.equal("ROOM_ID_INVALID");
  });

  it("bring only what was asked for, and reorgs", async () => {
    const history = conversation(0);
    history.register(CAROL);
    const chain = new ScriptedChain(history);
    const { url } = await start(chain, new WithheldStore(history.blocks));
    await waitForBlock(url, 102);
    const [ab, bc] = [history.room(ALICE, BOB), history.room(BOB, CAROL)];
    const filters = [`?room=${ab}`, `?wallet=${CAROL.address}`, `?room=${ab}&wallet=${CAROL.address}`, ""];
    const all = await Promise.all(filters.map((filter) => listen(url, filter)));
    history.anchor(deltaOf([ab, [history.message(ALICE, BOB)]], [bc, [history.message(CAROL, BOB)]]));
    history.register(CAROL);
    history.register(BOB);
    chain.grow();
    const isOver = (each: Listening) =>
      each.named("message").filter(({ data }) => (data as MessageEvent).verdict.status === "verified").length === 2;
    await waitFor("both messages", () => Promise.resolve(isOver(all[3]!)));
    for (const each of all) await reaches(each, 105);
    const summary = all.map((each) => ({
      rooms: new Set(each.named("message").map(({ data }) => (data as { room: string }).room)),
      wallets: new Set(each.named("key").map(({ data }) => (data as { wallet: string }).wallet)),
      anchors: each.named("anchor").length > 0,
    }));
    expect(summary).to.deep.equal([
      { rooms: new Set([ab]), wallets: new Set(), anchors: false },
      { rooms: new Set([bc]), wallets: new Set([CAROL.address]), anchors: false },
      { rooms: new Set(), wallets: new Set(), anchors: false },
      { rooms: new Set([ab, bc]), wallets: new Set([CAROL.address, BOB.address]), anchors: true },
    ]);
  });

  it("beat while nothing happens, end with the service, and have a limit", async () => {
    const history = conversation(1);
    const chain = new ScriptedChain(history);
    const streams = { heartbeatMs: 10, maxStreams: 2 };
    const indexer = await start(chain, new WithheldStore(history.blocks), { streams });
    await waitForBlock(indexer.url, 102);
    const [first, second] = [await listen(indexer.url), await listen(indexer.url)];
    await waitFor("three beats", () => Promise.resolve(first.comments >= 3));
    const { status, body } = await get(indexer.url, "/v1/events");
    expect([status, body.code]).to.deep.equal([503, "SERVICE_BUSY"]);
    first.close();
    await first.ended;
    await waitFor("a free place", async () => {
      const third = new Listening(indexer.url);
      listening.add(third);
      while (third.status === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      return third.status === 200;
    });
    await indexer.close();
    await second.ended;
  });

  it("share a turn: of twenty that begin at the start, all together look at so many changes before others do", async () => {
    const made = conversation(2, 100);
    const index = openIndex(join(folder(), "index"), made.deployment, () => undefined);
    const history = new History(index.database, made.deployment);
    const { blockNumber, blockHash } = made.events.at(-1)!;
    const cursor = { number: blockNumber, hash: blockHash, timestamp: 0, isProved: true };
    history.extend({ events: made.events, cursor, finalized: 0 });
    history.receive(made.blocks);
    const snapshots = new Snapshots(index.database, made.deployment);
    const streams = new Streams(new ChangeEvents(snapshots), { changesPerTurn: 200 });
    let looked = 0;
    const { changes: log } = snapshots.index;
    const read = log.read.bind(log);
    log.read = (after, limit) => {
      const changes = read(after, limit);
      looked += changes.length;
      return changes;
    };
    const told = new Map<number, number>();
    const perTurn: number[] = [];
    for (let i = 0; i < 20; i++) {
      const response = {
        writeHead: () => response,
        once: () => response,
        end: () => response,
        writableNeedDrain: false,
        write: (text: string) => told.set(i, (told.get(i) ?? 0) + Number(text.includes("event: message"))),
      } as unknown as ServerResponse;
      streams.attach(response, { room: null, wallet: null }, `${history.changes.name}-0`);
    }
    const isOver = (): boolean => told.size === 20 && [...told.values()].every((count) => count === 200);
    for (let turns = 0; turns < 2_000 && !isOver(); turns++) {
      looked = 0;
      await new Promise(setImmediate);
      perTurn.push(looked);
    }
    expect(isOver(), "all of them have all of it").to.equal(true);
    // One stream's look may go above what is left.
    expect(Math.max(...perTurn)).to.be.at.most(200 + 100);
    streams.close();
    index.close();
  });

  it("hold nothing for a client that does not read, and go on where it stopped", () => {
    const made = conversation(4, 100);
    const index = openIndex(join(folder(), "index"), made.deployment, () => undefined);
    const history = new History(index.database, made.deployment);
    const { blockNumber, blockHash } = made.events.at(-1)!;
    const cursor = { number: blockNumber, hash: blockHash, timestamp: 0, isProved: true };
    history.extend({ events: made.events, cursor, finalized: 0 });
    history.receive(made.blocks);
    const snapshots = new Snapshots(index.database, made.deployment);
    let drain: () => void = () => undefined;
    const written: string[] = [];
    const sink: Sink = {
      writableNeedDrain: false,
      write(text: string) {
        written.push(text);
        Object.assign(sink, { writableNeedDrain: written.join("").length > 16_384 });
        return !sink.writableNeedDrain;
      },
      once(_name: string, resume: () => void) {
        drain = resume;
        return sink as never;
      },
    } as unknown as Sink;
    const readOn = (): void => {
      while (stream.read().hasMore);
    };
    const stream = new Stream<ChangeFilter>(
      sink,
      new ChangeEvents(snapshots),
      { room: null, wallet: null },
      0,
      "",
      readOn,
    );
    readOn();
    const first = written.join("").length;
    for (let i = 0; i < 100; i++) {
      readOn();
      stream.beat();
    }
    expect(first).to.be.within(16_384, 20_000);
    expect(written.join("").length, "not a byte more while it is full").to.equal(first);
    const taken: string[] = [];
    for (let round = 0; round < 1_000 && sink.writableNeedDrain; round++) {
      taken.push(...written.splice(0));
      Object.assign(sink, { writableNeedDrain: false });
      drain();
    }
    taken.push(...written);
    const ids = taken.flatMap((text) => /^id: \S+\nevent: message/.exec(text)?.[0] ?? []);
    expect([ids.length, new Set(ids).size]).to.deep.equal([400, 400]);
    index.close();
  });
});
