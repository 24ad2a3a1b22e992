import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";
import fc from "fast-check";

import { decodeCar, encodeCar, rootsOfCar } from "../../io/content/car.ts";
import { CarFileSource } from "../../io/content/car-source.ts";
import { Sources } from "../../io/content/sources.ts";
import type { ContentSource } from "../../io/content/store.ts";
import { Link, MAX_BLOCK_BYTES, mapOf } from "../../protocol/cbor.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { bytesOfCid, cidOf, linkTo, type Cid } from "../../protocol/cid.ts";
import type { Block } from "../../protocol/manifest.ts";
import { useFolder } from "../fixtures/folder.ts";
import { codeOf, codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

function blockOf(bytes: Uint8Array): Block {
  return { cid: cidOf(bytes), bytes };
}

/** The bytes in pieces of these sizes, the last piece as long as it has to be. */
async function* pieces(bytes: Uint8Array, sizes: readonly number[] = []): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const size of sizes) yield await Promise.resolve(bytes.subarray(at, (at += size)));
  yield bytes.subarray(at);
}

async function read(bytes: Uint8Array, sizes?: readonly number[]): Promise<{ cid: Cid; bytes: Uint8Array }[]> {
  const found: { cid: Cid; bytes: Uint8Array }[] = [];
  for await (const section of decodeCar(pieces(bytes, sizes))) {
    found.push({ cid: section.cid, bytes: section.bytes.slice() });
    expect(bytes.subarray(section.offset, section.offset + section.bytes.length)).to.deep.equal(section.bytes);
  }
  return found;
}

function carOf(roots: readonly Cid[], blocks: readonly Block[]): Uint8Array {
  return new Uint8Array(Buffer.concat([...encodeCar(roots, blocks)]));
}

/** A CARv2 with a gap before the CARv1 and an index behind it. */
function wrap(car: Uint8Array, said: { offset?: number; size?: number | bigint } = {}): Uint8Array {
  const header = Buffer.alloc(40);
  const offset = 11 + header.length + 7;
  header.writeBigUInt64LE(BigInt(said.offset ?? offset), 16);
  header.writeBigUInt64LE(BigInt(said.size ?? car.length), 24);
  header.writeBigUInt64LE(BigInt(offset + car.length), 32);
  const pragma = Buffer.from("0aa16776657273696f6e02", "hex");
  return new Uint8Array(Buffer.concat([pragma, header, Buffer.alloc(7), car, Buffer.from("8108", "hex")]));
}

const one = blockOf(fixedBytes("one"));
const two = blockOf(fixedBytes("two"));

describe("A CAR file", () => {
  it("has the bytes that the specification gives them", () => {
    const header = encode(mapOf({ roots: [linkTo(one.cid)], version: 1 }));
    const expected = Buffer.concat([
      Uint8Array.of(header.length),
      header,
      Uint8Array.of(36 + 32),
      bytesOfCid(two.cid),
      two.bytes,
    ]);
    expect(carOf([one.cid], [two])).to.deep.equal(new Uint8Array(expected));
    expect(header.length).to.equal(58);
  });

  it("gives back its roots and its blocks, in whatever pieces it comes", async () => {
    const bytes = fc.uint8Array({ maxLength: 400 });
    const sizes = fc.array(fc.integer({ min: 0, max: 90 }), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(bytes, { maxLength: 8 }),
        fc.array(bytes, { maxLength: 4 }),
        sizes,
        async (a, b, cut) => {
          const blocks = a.map(blockOf);
          const roots = b.map((each) => cidOf(each));
          const car = carOf(roots, blocks);
          expect(await read(car, cut)).to.deep.equal(blocks);
          expect(await rootsOfCar(pieces(car, cut))).to.deep.equal(roots);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("is read where a CARv2 wraps it, as go-car writes, in whatever pieces it comes", async () => {
    const wrapped = wrap(carOf([one.cid], [one, two]));
    for (const cut of [[], [1], [11, 40], [11, 40, 7, 59], Array<number>(wrapped.length).fill(1)]) {
      expect(await read(wrapped, cut)).to.deep.equal([one, two]);
      expect(await rootsOfCar(pieces(wrapped, cut))).to.deep.equal([one.cid]);
    }
  });

  it("names as many roots as a history has anchors, up to a million", async () => {
    const roots = Array.from({ length: 70_000 }, (_, i) => cidOf(encode(i)));
    expect(await rootsOfCar(pieces(carOf(roots, []), [65_536, 1]))).to.deep.equal(roots);
    const tooMany = Array.from({ length: 1_000_001 }, () => roots[0]!);
    expect(codeOf(() => [...encodeCar(tooMany, [])])).to.equal("CAR_MALFORMED");
  });

  it("holds the largest block, and says of a larger one that it is too large", async () => {
    const large = blockOf(new Uint8Array(MAX_BLOCK_BYTES).fill(1));
    expect(await read(carOf([], [large, one]), [5, 100_000])).to.deep.equal([large, one]);
    const larger = blockOf(new Uint8Array(MAX_BLOCK_BYTES + 1));
    expect(await codeOfAsync(() => read(carOf([], [larger])))).to.equal("BLOCK_TOO_LARGE");
  });

  it("ends where it is cut off: every prefix is refused but those that end after a block", async () => {
    const car = carOf([one.cid], [one, two]);
    const whole = new Set([59, 59 + 69, 59 + 2 * 69]);
    for (let length = 0; length <= car.length; length++) {
      const code = await codeOfAsync(() => read(car.subarray(0, length)));
      expect(code, `${length} bytes`).to.equal(whole.has(length) ? null : "CAR_MALFORMED");
    }
  });

  it("passes over blocks of other codecs and hashes", async () => {
    const raw = Buffer.concat([Uint8Array.of(1, 0x55, 0x12, 0x20), createHash("sha256").update("x").digest()]);
    const cidV0 = Buffer.concat([Uint8Array.of(0x12, 0x20), createHash("sha256").update("y").digest()]);
    const sections = [raw, cidV0].flatMap((cid) => [Uint8Array.of(cid.length + 1), cid, Uint8Array.of(0x78)]);
    const car = Buffer.concat([carOf([], [one]), ...sections, carOf([], [two]).subarray(18)]);
    expect(carOf([], []).length).to.equal(18);
    expect(await read(new Uint8Array(car))).to.deep.equal([one, two]);
  });

  const header = (value: Parameters<typeof encode>[0]): Uint8Array => {
    const bytes = encode(value);
    return new Uint8Array(Buffer.concat([Uint8Array.of(bytes.length), bytes]));
  };
  for (const [title, bytes] of [
    ["nothing", new Uint8Array(0)],
    ["a web page", new TextEncoder().encode("<!doctype html><html></html>")],
    ["a header of no bytes", Uint8Array.of(0)],
    ["a header that claims 2^34 bytes", Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x40)],
    ["a length of ten bytes", new Uint8Array(10).fill(0x80)],
    ["a length that is not in its shortest form", Uint8Array.of(0x81, 0x00, 0xa0)],
    ["the head of a CARv2 and nothing else", header(mapOf({ version: 2 }))],
    ["version 3", header(mapOf({ version: 3 }))],
    ["a CARv2 in a CARv2", wrap(wrap(carOf([], [])))],
    ["a CARv2 whose blocks lie in its header", wrap(carOf([], []), { offset: 50 })],
    ["a CARv2 that claims more than it has", wrap(carOf([], []), { size: 2 ** 40 })],
    ["a CARv2 whose blocks lie behind its end", wrap(carOf([], []), { offset: 2 ** 40 })],
    ["a CARv2 that claims 2^63 bytes", wrap(carOf([], []), { size: 2n ** 63n })],
    ["a CARv2 without blocks", wrap(new Uint8Array(0))],
    ["version 2", header(mapOf({ roots: [], version: 2 }))],
    ["no roots", header(mapOf({ version: 1 }))],
    ["roots that are no links", header(mapOf({ roots: ["x"], version: 1 }))],
    ["a header that is not canonical", Uint8Array.of(2, 0xa0, 0x00)],
    ["an empty section", new Uint8Array([...carOf([], []), 0])],
  ] as const) {
    it(`is not ${title}`, async () => {
      expect(await codeOfAsync(() => read(bytes))).to.equal("CAR_MALFORMED");
    });
  }

  it("names roots of other kinds, which are not among its roots", async () => {
    const roots = [new Link(Uint8Array.of(1, 0x55, 0, 0)), linkTo(one.cid)];
    expect(await rootsOfCar(pieces(header(mapOf({ roots, version: 1 }))))).to.deep.equal([one.cid]);
  });
});

describe("A CAR file as a source", () => {
  const folder = useFolder();
  const sources: CarFileSource[] = [];

  function open(bytes: Uint8Array): CarFileSource {
    const path = join(folder(), "history.car");
    writeFileSync(path, bytes);
    const source = new CarFileSource(path);
    sources.push(source);
    return source;
  }
  afterEach(async () => {
    for (const source of sources.splice(0)) await source.close();
  });

  it("gives every block that is in it, of thousands, and no other", async () => {
    const blocks = Array.from({ length: 5_000 }, (_, i) => blockOf(fixedBytes(`block ${i}`)));
    const source = open(carOf([], blocks));
    for (const { cid, bytes } of blocks) expect(await source.fetch(cid)).to.deep.equal(bytes);
    for (let i = 0; i < 1_000; i++) expect(await source.fetch(cidOf(fixedBytes(`other ${i}`)))).to.equal(null);
  });

  it("does not believe a block's name, and finds the right one behind a wrong one", async () => {
    const wrong = { cid: one.cid, bytes: two.bytes };
    expect(await codeOfAsync(() => open(carOf([], [wrong])).fetch(one.cid))).to.equal("BLOCK_HASH_MISMATCH");
    expect(await open(carOf([], [wrong, one])).fetch(one.cid)).to.deep.equal(one.bytes);
  });

  it("gives the blocks of a CARv2", async () => {
    const source = open(wrap(carOf([], [one, two])));
    expect(await source.fetch(two.cid)).to.deep.equal(two.bytes);
    expect(await source.fetch(one.cid)).to.deep.equal(one.bytes);
  });

  it("is told of among others when it is none, and the block is missing", async () => {
    const told: string[] = [];
    const near: ContentSource = {
      name: "near",
      isLocal: true,
      fetch: () => Promise.resolve(null),
      close: () => Promise.resolve(),
    };
    const all = new Sources([near, open(fixedBytes("no CAR"))], { onFault: ({ code }) => void told.push(code) });
    expect(await all.get(one.cid)).to.equal(null);
    expect(await all.get(two.cid)).to.equal(null);
    expect(told).to.deep.equal(["CAR_MALFORMED"]);
  });

  it("refuses a file that is cut off, and says which one is not there", async () => {
    expect(await codeOfAsync(() => open(carOf([], [one]).subarray(0, -1)).fetch(one.cid))).to.equal("CAR_MALFORMED");
    const gone = new CarFileSource(join(folder(), "gone.car"));
    expect(await codeOfAsync(() => gone.fetch(one.cid))).to.equal("FILE_UNREADABLE");
  });
});
