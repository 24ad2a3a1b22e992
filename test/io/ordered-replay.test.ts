import { expect } from "chai";

import { OrderedReplay } from "../../io/ordered-replay.ts";
import { toHex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { Entry } from "../../protocol/entry.ts";
import type { RoomId } from "../../protocol/room.ts";
import { ALICE, BOB, CAROL, deltaOf, History } from "../fixtures/history.ts";
import { hostility } from "../fixtures/hostility.ts";
import { SeededRandom } from "../fixtures/random.ts";

/** What an ordered replay says, and what the plain one of protocol/ says of the same. */
async function compare(history: History, absent: ReadonlySet<Cid> = new Set()): Promise<void> {
  const rooms = new Map<RoomId, Entry[]>();
  const get = (cid: Cid): Uint8Array | undefined => (absent.has(cid) ? undefined : history.get(cid));
  const content = { get: (cid: Cid) => Promise.resolve(get(cid) ?? null) };
  const ordered = new OrderedReplay(history.deployment, content, (entry) => {
    rooms.set(entry.room, [...(rooms.get(entry.room) ?? []), entry]);
  });
  for (const event of history.events) await ordered.take(event);
  const root = toHex(ordered.state().root);
  ordered.close();
  const plain = history.replay(get);
  expect(ordered.anchors.map(({ verdict }) => verdict)).to.deep.equal(plain.anchors.map(({ verdict }) => verdict));
  expect([...rooms.keys()].sort()).to.deep.equal(plain.rooms);
  for (const room of plain.rooms) expect(rooms.get(room)).to.deep.equal(plain.entries(room));
  expect(root).to.equal(toHex(plain.state.root));
}

describe("A replay in the order of the chain", () => {
  it("says what the plain replay says of what somebody made to break a reader", async () => {
    await compare(hostility(300).history);
  }).timeout(20_000);

  it("says what the plain replay says, whatever lines there are and whatever is missing", async () => {
    for (let seed = 1; seed <= 8; seed++) {
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
