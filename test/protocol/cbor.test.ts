import * as dagCbor from "@ipld/dag-cbor";
import { expect } from "chai";
import fc from "fast-check";
import { CID } from "multiformats/cid";

import { concat, fromHex, toHex, utf8 } from "../../protocol/bytes.ts";
import { Float, Link, MAX_BLOCK_BYTES, MAX_DEPTH, MAX_PARTS, type CborValue } from "../../protocol/cbor.ts";
import { decode } from "../../protocol/cbor-decoder.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { linkTo, type Cid } from "../../protocol/cid.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { itWithVectorFile } from "../fixtures/vector-file.ts";
import { itWithVectors } from "../fixtures/vectors.ts";

const CID_BYTES = linkTo("bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua" as Cid).bytes;

function hex(digits: string): Uint8Array {
  return fromHex(`0x${digits}`);
}

function refusal(digits: string): string | null {
  return codeOf(() => decode(hex(digits)));
}

/** The same value as @ipld/dag-cbor takes and gives it. */
function toIpld(value: CborValue): unknown {
  if (value instanceof Float) return value.value;
  if (value instanceof Link) return CID.decode(value.bytes);
  if (value instanceof Uint8Array) return value;
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, item]) => [key, toIpld(item as CborValue)]));
  if (Array.isArray(value)) return value.map((item) => toIpld(item as CborValue));
  return value;
}

const key = fc.string({ unit: "grapheme", maxLength: 30 }).filter((text) => text !== "__proto__");
const scalar: fc.Arbitrary<CborValue> = fc.oneof(
  fc.constantFrom(
    null,
    true,
    false,
    0,
    23,
    24,
    255,
    256,
    65_535,
    65_536,
    2 ** 32 - 1,
    2 ** 32,
    -24,
    -25,
    -(2 ** 32) - 1,
  ),
  fc.maxSafeInteger(),
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: -(2n ** 64n), max: -(2n ** 53n) }),
  fc.string({ unit: "grapheme" }),
  fc.uint8Array({ maxLength: 300 }),
  fc
    .double({ noNaN: true, noDefaultInfinity: true })
    // An integral float is an integer to @ipld/dag-cbor.
    .filter((value) => !Number.isInteger(value))
    .map((value) => new Float(value)),
  fc.constant(new Link(CID_BYTES)),
);
const { value: anyValue } = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true, maxDepth: 6 },
    scalar,
    fc.array(tie("value"), { maxLength: 6 }),
    fc
      .uniqueArray(fc.tuple(key, tie("value")), { maxLength: 6, selector: ([name]) => name })
      .map((list) => new Map(list)),
  ),
}));

describe("DAG-CBOR", () => {
  it("encodes and decodes what @ipld/dag-cbor encodes, byte for byte", () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const bytes = encode(value);
        expect(bytes).to.deep.equal(dagCbor.encode(toIpld(value)));
        expect(encode(decode(bytes))).to.deep.equal(bytes);
        expect(toIpld(decode(bytes))).to.deep.equal(dagCbor.decode(bytes));
      }),
      { numRuns: 1000 },
    );
  });

  it("accepts of random bytes only what it encodes again to the same bytes", () => {
    let accepted = 0;
    fc.assert(
      fc.property(anyValue, fc.nat(), fc.nat(255), (value, at, byte) => {
        const bytes = encode(value);
        bytes[at % bytes.length] = byte;
        if (codeOf(() => decode(bytes)) !== null) return;
        accepted += 1;
        expect(encode(decode(bytes))).to.deep.equal(bytes);
      }),
      { numRuns: 3000 },
    );
    expect(accepted).to.be.greaterThan(100);
  });

  it("gives arrays that do not share memory with a Buffer", () => {
    const block = Buffer.from(encode(new Uint8Array([1, 2, 3])));
    const value = decode(block);
    block.fill(0);
    expect(value).to.deep.equal(new Uint8Array([1, 2, 3]));
  });

  const REFUSED: Record<string, string> = {
    "nothing at all": "",
    "a second value behind the first": "0000",
    "an integer in two bytes that fits in one": "1817",
    "an integer in three bytes that fits in two": "1900ff",
    "an integer in five bytes that fits in three": "1a0000ffff",
    "an integer in nine bytes that fits in five": "1b00000000ffffffff",
    "a negative integer that is not in its shortest form": "3817",
    "a length that is not in its shortest form": "580100",
    "a count that is not in its shortest form": "980100",
    "a tag that is not in its shortest form": "d9002a" + "5825" + "00" + toHex(CID_BYTES).slice(2),
    "indefinite bytes": "5f4100ff",
    "an indefinite text": "7f6161ff",
    "an indefinite array": "9f00ff",
    "an indefinite map": "bf616100ff",
    "a reserved head": "1c",
    undefined: "f7",
    "an unassigned simple value": "f0",
    "a simple value of two bytes": "f820",
    "a break outside of anything": "ff",
    "a half-precision float": "f93c00",
    "a single-precision float": "fa3f800000",
    NaN: "fb7ff8000000000000",
    infinity: "fb7ff0000000000000",
    "minus infinity": "fbfff0000000000000",
    "keys out of order by length": "a262616100616200",
    "keys out of order by bytes": "a2616200616100",
    "a key twice": "a2616100616101",
    "a key that is not a text": "a10000",
    "a text that is not UTF-8": "61ff",
    "a key that is not UTF-8": "a161ff00",
    "an overlong UTF-8 sequence": "62c080",
    "a surrogate in UTF-8": "63eda080",
    "a long text that is not UTF-8": "781e" + "61".repeat(29) + "ff",
    "tag 0": "c0" + "60",
    "tag 43": "d82b" + "5825" + "00" + toHex(CID_BYTES).slice(2),
    "a link that is a text": "d82a6100",
    "a link without its prefix byte": "d82a" + "5824" + toHex(CID_BYTES).slice(2),
    "a link of nothing but its prefix byte": "d82a4100",
    "an empty link": "d82a40",
    "a value that ends in its head": "19ff",
    "a text that ends early": "6261",
    "an array that ends early": "820000".slice(0, 4),
    "a float that ends early": "fb00",
  };
  for (const [what, digits] of Object.entries(REFUSED)) {
    it(`refuses ${what}`, () => {
      expect(refusal(digits)).to.equal("BLOCK_NOT_CANONICAL");
    });
  }

  it("keeps apart an integer and a float, a byte order mark and none, zero and minus zero", () => {
    for (const digits of ["fb3ff0000000000000", "fb8000000000000000", "63efbbbf", "66efbbbf616263"]) {
      expect(toHex(encode(decode(hex(digits))))).to.equal(`0x${digits}`);
    }
  });

  it("takes integers of 64 bits to the last one", () => {
    expect(decode(hex("1b001fffffffffffff"))).to.equal(Number.MAX_SAFE_INTEGER);
    expect(decode(hex("1b0020000000000000"))).to.equal(2n ** 53n);
    expect(decode(hex("1bffffffffffffffff"))).to.equal(2n ** 64n - 1n);
    expect(decode(hex("3b001ffffffffffffe"))).to.equal(Number.MIN_SAFE_INTEGER);
    expect(decode(hex("3b001fffffffffffff"))).to.equal(-(2n ** 53n));
    expect(decode(hex("3bffffffffffffffff"))).to.equal(-(2n ** 64n));
  });

  it(`takes a value at level ${MAX_DEPTH} and refuses one at the next, in arrays and in maps`, () => {
    expect(refusal("81".repeat(MAX_DEPTH - 1) + "00")).to.equal(null);
    expect(refusal("81".repeat(MAX_DEPTH - 1) + "80")).to.equal(null);
    expect(refusal("81".repeat(MAX_DEPTH) + "00")).to.equal("BLOCK_NOT_CANONICAL");
    expect(refusal("81".repeat(MAX_DEPTH) + "80")).to.equal("BLOCK_NOT_CANONICAL");
    expect(refusal("a16161".repeat(MAX_DEPTH - 1) + "00")).to.equal(null);
    expect(refusal("a16161".repeat(MAX_DEPTH) + "00")).to.equal("BLOCK_NOT_CANONICAL");
  });

  it("refuses at once what would exhaust the stack or the memory", () => {
    const started = performance.now();
    for (const digits of [
      "81".repeat(5_000) + "80",
      "a16161".repeat(5_000) + "00",
      "9affffffff",
      "baffffffff",
      "9b0020000000000000",
      "bb0020000000000000",
      "9bffffffffffffffff",
      "bbffffffffffffffff",
      "5b7fffffffffffffff",
      "7b0020000000000000",
      "5affffffff",
    ]) {
      expect(refusal(digits)).to.equal("BLOCK_NOT_CANONICAL");
    }
    expect(performance.now() - started).to.be.lessThan(200);
  });

  it(`takes a block of ${MAX_PARTS} parts and refuses one of more, whatever they are`, () => {
    const link = "d82a" + "5825" + "00" + toHex(CID_BYTES).slice(2);
    for (const [part, most] of [
      ["40", MAX_PARTS],
      ["4100", MAX_PARTS],
      ["80", MAX_PARTS],
      ["8100", MAX_PARTS],
      ["a0", MAX_PARTS],
      ["a16000", MAX_PARTS],
      ["8140", MAX_PARTS / 2],
      // There is room for no more.
      [link, 25_000],
    ] as const) {
      // The array around them is a part too.
      const head = (count: number): string =>
        count < 0x1_0000 ? `99${count.toString(16).padStart(4, "0")}` : `9a${count.toString(16).padStart(8, "0")}`;
      const block = (count: number): Uint8Array => hex(head(count) + part.repeat(count));
      expect(
        codeOf(() => decode(block(most - 1))),
        part,
      ).to.equal(null);
      if (part !== link)
        expect(
          codeOf(() => decode(block(most))),
          part,
        ).to.equal("BLOCK_NOT_CANONICAL");
    }
  });

  it("refuses a block over 1 MiB before it looks at it, and takes one of exactly that size", () => {
    const head = hex("5a000ffffb");
    expect(decode(concat(head, new Uint8Array(MAX_BLOCK_BYTES - 5)))).to.have.length(MAX_BLOCK_BYTES - 5);
    expect(codeOf(() => decode(new Uint8Array(MAX_BLOCK_BYTES + 1)))).to.equal("BLOCK_TOO_LARGE");
  });
});

describe("The codec fixtures of IPLD", () => {
  itWithVectorFile(
    "are round-tripped, every dag-cbor block of fixtures.car",
    "ipld-codec-fixtures/fixtures.car",
    (car) => {
      let count = 0;
      for (const { cid, bytes } of readCar(car)) {
        if (cid[1] !== 0x71) continue;
        count += 1;
        expect(toHex(encode(decode(bytes)))).to.equal(toHex(bytes));
      }
      expect(count).to.be.greaterThan(100);
    },
  );

  const negative = "ipld-codec-fixtures/negative-fixtures/dag-cbor_decode_duplicate-keys.json";
  itWithVectors<{ name: string; hex: string }[]>(
    "are refused, the negative ones for dag-cbor",
    negative,
    (fixtures) => {
      expect(fixtures).to.have.length(1);
      for (const fixture of fixtures) expect(refusal(fixture.hex), fixture.name).to.equal("BLOCK_NOT_CANONICAL");
    },
  );

  itWithVectorFile("are refused, Kubo's with keys out of order", "ipld-codec-fixtures/kubo-non-canon.cbor", (block) => {
    expect(codeOf(() => decode(block))).to.equal("BLOCK_NOT_CANONICAL");
  });
});

/** The sections of a CARv1: a varint length, a binary CID, the block (https://ipld.io/specs/transport/car/carv1/). */
function* readCar(car: Uint8Array): Generator<{ cid: Uint8Array; bytes: Uint8Array }> {
  let offset = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = car[offset++]!;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  const headerSize = varint();
  offset += headerSize;
  while (offset < car.length) {
    const size = varint();
    const section = car.subarray(offset, offset + size);
    offset += size;
    const [, remainder] = CID.decodeFirst(section);
    yield { cid: section.subarray(0, section.length - remainder.length), bytes: remainder };
  }
}

describe("Texts", () => {
  it("are encoded as UTF-8", () => {
    expect(toHex(encode("é🚀"))).to.equal(toHex(concat(Uint8Array.of(0x66), utf8("é🚀"))));
  });
});
