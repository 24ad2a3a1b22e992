import { expect } from "chai";
import fc from "fast-check";

import { padmeLength, pad, unpad } from "../../protocol/padding.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { flipBit } from "./crypto/implementations.ts";

/** Padmé as in the paper, on integers: the low E − S bits of the length become zero, upwards. */
function padmeTwin(length: number): number {
  if (length <= 128) return 128;
  const e = BigInt(length.toString(2).length - 1);
  const s = BigInt(e.toString(2).length);
  const mask = (1n << (e - s)) - 1n;
  return Number((BigInt(length) + mask) & ~mask);
}

describe("Padding", () => {
  it("has the sizes of Padmé", () => {
    for (let length = 0; length < 70_000; length++) {
      if (padmeLength(length) !== padmeTwin(length)) expect.fail(`length ${length}`);
    }
    for (let exponent = 7; exponent < 32; exponent++) {
      for (const near of [-2, -1, 0, 1, 2]) {
        const length = 2 ** exponent + near;
        expect(padmeLength(length), String(length)).to.equal(padmeTwin(length));
      }
    }
  });

  it("adds at most 12 % to what has more than 128 bytes", () => {
    for (let length = 129; length < 70_000; length++) {
      const padded = padmeLength(length);
      if (padded < length || padded > length * 1.12) expect.fail(`${length} became ${padded}`);
    }
  });

  it("comes off again, for every length up to 5000", () => {
    for (let length = 0; length <= 5000; length++) {
      const bytes = new Uint8Array(length).fill(0xa5);
      const padded = pad(bytes);
      if (Buffer.compare(unpad(padded), bytes) !== 0) expect.fail(`length ${length}`);
    }
  });

  it("is refused when any bit behind the content is set", () => {
    for (const length of [0, 1, 123, 124, 125, 200, 1000]) {
      const padded = pad(new Uint8Array(length).fill(0xff));
      for (let bit = (4 + length) * 8; bit < padded.length * 8; bit++) {
        expect(codeOf(() => unpad(flipBit(padded, bit)))).to.equal("CONTENT_MALFORMED");
      }
    }
  });

  it("is refused when a bit of the length is changed and the content is not zero there", () => {
    for (const length of [1, 100, 124, 125, 1000, 5000]) {
      const padded = pad(new Uint8Array(length).fill(0xff));
      for (let bit = 0; bit < 32; bit++) {
        const code = codeOf(() => unpad(flipBit(padded, bit)));
        // A longer length of the same padded size takes zeros for content: only authentication can tell that.
        if (code === null) expect(unpad(flipBit(padded, bit)).length).to.be.greaterThan(length);
        else expect(code).to.equal("CONTENT_MALFORMED");
      }
    }
  });

  it("is refused in any other size", () => {
    fc.assert(
      fc.property(fc.nat(3000), fc.nat(3000), (length, size) => {
        const padded = pad(new Uint8Array(length));
        if (padded.length === size) return;
        const resized = new Uint8Array(size);
        resized.set(padded.subarray(0, size));
        expect(codeOf(() => unpad(resized))).to.equal("CONTENT_MALFORMED");
      }),
    );
  });
});
