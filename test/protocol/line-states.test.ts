import { expect } from "chai";

import { toHex } from "../../protocol/bytes.ts";
import { cidOf } from "../../protocol/cid.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { LineStates } from "../../protocol/line-states.ts";
import type { RoomId } from "../../protocol/room.ts";
import { State } from "../../protocol/state.ts";
import { deltaOf } from "../fixtures/history.ts";
import { SeededRandom } from "../fixtures/random.ts";

describe("The states after verified anchors", () => {
  it("are what they were, however old and in whatever line, though few of them are kept", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new SeededRandom(seed);
      const states = new LineStates();
      const expected: State[] = [];
      for (let index = 0; index < 150; index++) {
        // Mostly the newest, sometimes any, sometimes none.
        const base =
          index === 0 || random.chance(0.03) ? null : random.chance(0.8) ? index - 1 : random.integer(0, index - 1);
        const room = `0x${random.integer(0, 5).toString(16).repeat(64)}` as RoomId;
        const delta = deltaOf([
          room,
          Array.from({ length: random.integer(1, 3) }, (_, i) => cidOf(encode([seed, index, i]))),
        ]);
        const before = base === null ? State.EMPTY : states.at(base);
        const state = before.after(delta, index);
        states.add(index, { base, delta }, state);
        expected.push(state);
      }
      for (let look = 0; look < 300; look++) {
        const index = random.integer(0, expected.length - 1);
        expect(toHex(states.at(index).root)).to.equal(toHex(expected[index]!.root));
        const [room] = [...states.at(index).rooms()];
        expect(room).to.deep.equal([...expected[index]!.rooms()][0]);
      }
    }
  });

  it("are none of an anchor that was never verified", () => {
    expect(() => new LineStates().at(0)).to.throw(RangeError);
  });
});
