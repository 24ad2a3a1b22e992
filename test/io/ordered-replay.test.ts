import { expect } from "chai";

import { rebuild, type BlockReader } from "../../io/history.ts";
import { OrderedReplay } from "../../io/ordered-replay.ts";
import { toHex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { Entry } from "../../protocol/entry.ts";
import type { Replay } from "../../protocol/replay/replay.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { crossReferences } from "../fixtures/cross-references.ts";
import { ALICE, BOB, CAROL, deltaOf, History } from "../fixtures/history.ts";
import { hostility } from "../fixtures/hostility.ts";
import { chooseSize } from "../fixtures/long-form.ts";
import { SeededRandom } from "../fixtures/random.ts";

interface Said {
  readonly anchors: readonly Verdict[];
  readonly rooms: readonly (readonly [RoomId, readonly Entry[]])[];
  readonly root: string;
}

/** Compares what three replays say of the same: the plain one of protocol/, the one that fetches, and the ordered one. */
async function compare(history: History, absent: ReadonlySet<Cid> = new Set()): Promise<void> {
  const get = (cid: Cid): Uint8Array | undefined => (absent.has(cid) ? undefined : history.get(cid));
  const content = { get: (cid: Cid) => Promise.resolve(get(cid) ?? null) };
  const plain = saidBy(history.replay(get));
  expect(saidBy(await rebuild(history.deployment, history.events, content))).to.deep.equal(plain);
  expect(await replayInOrder(history, content)).to.deep.equal(plain);
}

function saidBy(replay: Replay): Said {
  return {
    anchors: replay.anchors.map(({ verdict }) => verdict),
    rooms: replay.rooms.map((room) => [room, replay.entries(room)]),
    root: toHex(replay.state.root),
  };
}

async function replayInOrder(history: History, content: BlockReader): Promise<Said> {
  const rooms = new Map<RoomId, Entry[]>();
  const ordered = new OrderedReplay(history.deployment, content, (entry) => {
    rooms.set(entry.room, [...(rooms.get(entry.room) ?? []), entry]);
  });
  try {
    for (const event of history.events) await ordered.take(event);
    return {
      anchors: ordered.anchors.map(({ verdict }) => verdict),
      rooms: [...rooms].sort(([a], [b]) => (a < b ? -1 : 1)),
      root: toHex(ordered.state().root),
    };
  } finally {
    ordered.close();
  }
}

describe("A replay in the order of the chain", () => {
  it("says what the plain replay says of what somebody made to break a reader", async () => {
    await compare(hostility(300).history);
  }).timeout(20_000);

  it("says what the plain replay says of a message at several places of an anchor, in whatever order they are decided", async () => {
    const history = new History();
    for (const person of [ALICE, BOB]) history.register(person);
    const room = history.room(ALICE, BOB);
    const foreign = `0x${"ff".repeat(32)}` as RoomId;
    const [first, second] = [1, 2].map((seq) => history.message(ALICE, BOB, { seq }));
    // The foreign place needs no signature: it is decided before the earlier one.
    history.anchor(deltaOf([room, [first!]], [foreign, [first!]]));
    // The first message is known by now, the second one is not.
    history.anchor(deltaOf([room, [first!, second!]]));
    expect(history.replay().tip?.index).to.equal(1);
    await compare(history);
  });

  it("says what the plain replay says, whatever roles a block has", async () => {
    for (let seed = 1; seed <= chooseSize(10, 30); seed++) {
      const random = new SeededRandom(seed);
      const history = crossReferences(random);
      const blocks = [...history.blocks.keys()];
      const absent = random.chance(0.4) ? Array.from({ length: 3 }, () => random.pick(blocks)) : [];
      await compare(history, new Set(absent));
    }
  }).timeout(60_000);

  it("fetches no heads of an anchor whose base is missing", async () => {
    const history = new History();
    for (const person of [ALICE, BOB]) history.register(person);
    const room = history.room(ALICE, BOB);
    const [base, next] = [1, 2].map((seq) => {
      const draft = history.draft(deltaOf([room, [history.message(ALICE, BOB, { seq })]]));
      history.anchorText(draft.cid);
      return draft;
    });
    const fetched: Cid[] = [];
    const { anchors } = await replayInOrder(history, {
      get: (cid) => {
        fetched.push(cid);
        return Promise.resolve(cid === base!.manifest.rooms[0] ? null : (history.get(cid) ?? null));
      },
    });
    expect(anchors.map(({ status }) => status)).to.deep.equal(["missing", "missing"]);
    expect(fetched).to.include.members(next!.manifest.rooms).and.not.include.members(next!.manifest.heads);
  });

  it("says what the plain replay says, whatever lines there are and whatever is missing", async () => {
    for (let seed = 1; seed <= chooseSize(2, 8); seed++) {
      const random = new SeededRandom(seed);
      const history = new History();
      const people = [ALICE, BOB, CAROL];
      for (const person of people) history.register(person);
      const said: Cid[] = [];
      for (let i = 0; i < 25; i++) {
        const from = random.pick(people);
        const to = random.pick(people.filter((person) => person !== from));
        const signer = random.chance(0.1) ? { signer: CAROL.identity() } : {};
        const cids = Array.from({ length: random.integer(1, 4) }, () =>
          history.message(from, to, { seq: i, ...signer }),
        );
        if (said.length > 0 && random.chance(0.3)) cids.push(random.pick(said));
        said.push(...cids);
        const { anchors } = history.replay();
        const base = anchors.length > 0 && random.chance(0.4) ? random.pick(anchors).tip : undefined;
        history.anchor(deltaOf([history.room(from, to), cids]), base);
        if (random.chance(0.1))
          history.anchorText(
            random.pick(history.events.flatMap((each) => (each.kind === "anchor" ? [each.text] : []))),
          );
        if (random.chance(0.05)) history.revoke(from);
      }
      const blocks = [...history.blocks.keys()];
      await compare(history);
      await compare(history, new Set(Array.from({ length: random.integer(1, 6) }, () => random.pick(blocks))));
    }
  }).timeout(60_000);
});
