import { expect } from "chai";
import fc from "fast-check";

import { Lru } from "../../protocol/lru.ts";
import { OldestFirst } from "../../protocol/oldest-first.ts";

describe("What was used last", () => {
  it("is remembered: of a capacity the half that was used last for certain, and never more than the capacity", () => {
    const use = fc.record({ key: fc.integer({ min: 0, max: 20 }), isRead: fc.boolean() });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(use), (capacity, uses) => {
        const lru = new Lru<number, number>(capacity);
        const order: number[] = [];
        uses.forEach(({ key, isRead }, i) => {
          const isFound = isRead && lru.get(key) !== undefined;
          if (!isRead) lru.set(key, i);
          if (!isFound && isRead) return;
          if (order.includes(key)) order.splice(order.indexOf(key), 1);
          order.unshift(key);
        });
        const last = order.slice(0, Math.ceil(capacity / 2));
        // Each is looked at in an order that drops none of the others.
        expect(last.toReversed().filter((key) => lru.get(key) === undefined)).to.deep.equal([]);
        const all = Array.from({ length: 21 }, (_, key) => key).filter((key) => lru.get(key) !== undefined);
        expect(all.length).to.be.at.most(capacity + (capacity % 2));
      }),
    );
  });

  it("is forgotten when it is deleted, or all is", () => {
    const lru = new Lru<string, number>(2);
    lru.set("a", 1);
    lru.set("b", 2);
    lru.delete("a");
    expect([lru.get("a"), lru.get("b")]).to.deep.equal([undefined, 2]);
    lru.clear();
    expect(lru.get("b")).to.equal(undefined);
  });
});

describe("What was put in first", () => {
  it("is taken first, whatever was put in, taken out or cleared in between", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("put" as const), key: fc.integer({ min: 0, max: 30 }) }),
      fc.record({ kind: fc.constant("delete" as const), key: fc.integer({ min: 0, max: 30 }) }),
      fc.record({ kind: fc.constant("take" as const), key: fc.constant(0) }),
      fc.record({ kind: fc.constant("clear" as const), key: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const map = new Map<number, string>();
        const oldest = new OldestFirst(map);
        let expected: number[] = [];
        for (const { kind, key } of steps) {
          if (kind === "put") {
            map.set(key, `value ${key}`);
            if (!expected.includes(key)) expected.push(key);
          } else if (kind === "delete") {
            map.delete(key);
            expected = expected.filter((each) => each !== key);
          } else if (kind === "clear") {
            map.clear();
            expected = [];
          } else {
            const first = expected.shift();
            expect(oldest.take()).to.deep.equal(first === undefined ? undefined : [first, `value ${first}`]);
          }
          expect([...map.keys()]).to.deep.equal(expected);
        }
      }),
    );
  });
});
