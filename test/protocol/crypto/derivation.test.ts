import nodeCrypto from "node:crypto";
import { expect } from "chai";
import fc from "fast-check";
import { portable } from "../../../protocol/crypto/portable.ts";
import { itWithVectors } from "../../fixtures/vectors.ts";
import { anyBytes, fromHex, IMPLEMENTATIONS, native, toHex } from "./implementations.ts";

interface HkdfCase {
  readonly ikm: string;
  readonly salt: string;
  readonly info: string;
  readonly okm: string;
}

interface WycheproofHkdf {
  readonly testGroups: readonly {
    readonly tests: readonly (HkdfCase & { size: number; result: string; tcId: number })[];
  }[];
}

interface RfcVectors {
  readonly hkdf_sha256: readonly (HkdfCase & { readonly name: string; readonly L: number })[];
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("Hashing and key derivation", () => {
  for (const primitives of IMPLEMENTATIONS) {
    describe(`by ${primitives.name}`, () => {
      it("hashes the examples of FIPS 180-4", () => {
        expect(toHex(primitives.sha256(encode("")))).to.equal(
          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        );
        expect(toHex(primitives.sha256(encode("abc")))).to.equal(
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        );
      });

      itWithVectors<RfcVectors>("derives the keys of RFC 5869, A.1 to A.3", "rfc/rfc5869_rfc7748.json", (vectors) => {
        expect(vectors.hkdf_sha256).to.have.length(3);
        for (const { name, ikm, salt, info, L, okm } of vectors.hkdf_sha256) {
          expect(toHex(primitives.hkdf(fromHex(ikm), fromHex(salt), fromHex(info), L)), name).to.equal(okm);
        }
      });

      itWithVectors<WycheproofHkdf>(
        "derives Wycheproof's 83 HKDF keys and refuses the 3 that are too long",
        "wycheproof/hkdf_sha256_test.json",
        (vectors) => {
          const counts = { valid: 0, tooLong: 0 };
          for (const { ikm, salt, info, size, okm, result, tcId } of vectors.testGroups.flatMap(({ tests }) => tests)) {
            const derive = (): Uint8Array => primitives.hkdf(fromHex(ikm), fromHex(salt), fromHex(info), size);
            if (result === "valid") {
              counts.valid++;
              expect(toHex(derive()), `tcId ${String(tcId)}`).to.equal(okm);
            } else {
              counts.tooLong++;
              expect(derive, `tcId ${String(tcId)}`).to.throw(RangeError);
            }
          }
          expect(counts).to.deep.equal({ valid: 83, tooLong: 3 });
        },
      );

      it("refuses to derive nothing, a fraction of a byte, or more than RFC 5869 allows", () => {
        const empty = new Uint8Array();
        for (const length of [0, -1, 1.5, Number.NaN, 8161]) {
          expect(() => primitives.hkdf(empty, empty, empty, length), String(length)).to.throw(RangeError);
          expect(() => primitives.scrypt(empty, empty, { N: 16, r: 1, p: 1 }, length), String(length)).to.throw(
            RangeError,
          );
        }
        expect(primitives.hkdf(empty, empty, empty, 8160)).to.have.length(8160);
      });

      it("derives the keys of RFC 7914, section 12", () => {
        expect(toHex(primitives.scrypt(encode(""), encode(""), { N: 16, r: 1, p: 1 }, 64))).to.equal(
          "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
        );
        expect(toHex(primitives.scrypt(encode("password"), encode("NaCl"), { N: 1024, r: 8, p: 16 }, 64))).to.equal(
          "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
        );
      });

      it("lets scrypt use more than Node's usual 32 MiB", () => {
        const key = primitives.scrypt(encode("password"), encode("salt"), { N: 2 ** 16, r: 8, p: 1 }, 32);
        expect(key).to.deep.equal(
          new Uint8Array(nodeCrypto.scryptSync("password", "salt", 32, { N: 2 ** 16, r: 8, p: 1, maxmem: 2 ** 27 })),
        );
      }).timeout(20_000);

      it("refuses scrypt parameters outside RFC 7914, and those that need over 2 GiB", () => {
        const refused = [
          { N: 0, r: 8, p: 1 },
          { N: 1, r: 8, p: 1 },
          { N: 15, r: 8, p: 1 },
          { N: -16, r: 8, p: 1 },
          { N: 16.5, r: 8, p: 1 },
          { N: Number.NaN, r: 8, p: 1 },
          { N: Number.POSITIVE_INFINITY, r: 8, p: 1 },
          { N: 2 ** 32, r: 8, p: 1 },
          { N: 2 ** 16, r: 1, p: 1 },
          { N: 16, r: 0, p: 1 },
          { N: 16, r: 1.5, p: 1 },
          { N: 16, r: 8, p: 0 },
          { N: 16, r: 8, p: 2 ** 27 },
          { N: 2 ** 21, r: 8, p: 1 },
        ];
        for (const parameters of refused) {
          expect(() => primitives.scrypt(encode(""), encode(""), parameters, 32), JSON.stringify(parameters)).to.throw(
            RangeError,
          );
        }
      });
    });
  }

  it("gives the same SHA-256 natively and portably", () => {
    fc.assert(
      fc.property(anyBytes(0, 600), (bytes) => {
        expect(native.sha256(bytes)).to.deep.equal(portable.sha256(bytes));
      }),
    );
  });

  it("gives node:crypto's HKDF natively and portably", () => {
    fc.assert(
      fc.property(
        anyBytes(0, 100),
        anyBytes(0, 100),
        anyBytes(0, 1024),
        fc.integer({ min: 1, max: 300 }),
        (ikm, salt, info, length) => {
          const expected = new Uint8Array(nodeCrypto.hkdfSync("sha256", ikm, salt, info, length));
          for (const primitives of IMPLEMENTATIONS)
            expect(primitives.hkdf(ikm, salt, info, length)).to.deep.equal(expected);
        },
      ),
    );
  });

  it("gives the same scrypt natively and portably", () => {
    const parameters = fc.record({
      N: fc.constantFrom(2, 4, 64, 256),
      r: fc.integer({ min: 1, max: 9 }),
      p: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(
        anyBytes(0, 80),
        anyBytes(0, 40),
        parameters,
        fc.integer({ min: 1, max: 99 }),
        (password, salt, cost, length) => {
          expect(native.scrypt(password, salt, cost, length)).to.deep.equal(
            portable.scrypt(password, salt, cost, length),
          );
        },
      ),
      { numRuns: 40 },
    );
  });
});
