import { expect } from "chai";
import fc from "fast-check";
import { portable } from "../../../protocol/crypto/portable.ts";
import { itWithVectors } from "../../fixtures/vectors.ts";
import { anyBytes, flipBit, fromHex, IMPLEMENTATIONS, native, toHex } from "./implementations.ts";

interface WycheproofAead {
  readonly testGroups: readonly {
    readonly keySize: number;
    readonly ivSize: number;
    readonly tagSize: number;
    readonly tests: readonly Readonly<
      Record<"key" | "iv" | "aad" | "msg" | "ct" | "tag" | "result", string> & { tcId: number }
    >[];
  }[];
}

const anySealing = fc.record({
  key: anyBytes(32),
  iv: anyBytes(12),
  plaintext: anyBytes(0, 300),
  aad: anyBytes(0, 64),
});

describe("AES-256-GCM", () => {
  for (const primitives of IMPLEMENTATIONS) {
    describe(`by ${primitives.name}`, () => {
      itWithVectors<WycheproofAead>(
        "seals and opens Wycheproof's 66 cases that apply (the 250 with another key or IV length do not)",
        "wycheproof/aes_gcm_test.json",
        (vectors) => {
          const counts = { valid: 0, invalid: 0, notApplicable: 0 };
          for (const { keySize, ivSize, tagSize, tests } of vectors.testGroups) {
            if (keySize !== 256 || ivSize !== 96 || tagSize !== 128) {
              counts.notApplicable += tests.length;
              continue;
            }
            for (const { key, iv, aad, msg, ct, tag, result, tcId } of tests) {
              const opened = primitives.aesGcmOpen(fromHex(key), fromHex(iv), fromHex(ct + tag), fromHex(aad));
              const sealed = primitives.aesGcmSeal(fromHex(key), fromHex(iv), fromHex(msg), fromHex(aad));
              if (result === "valid") {
                counts.valid++;
                expect(toHex(opened), `tcId ${String(tcId)}`).to.equal(msg);
                expect(toHex(sealed), `tcId ${String(tcId)}`).to.equal(ct + tag);
              } else {
                counts.invalid++;
                expect(opened, `tcId ${String(tcId)}`).to.equal(null);
                expect(toHex(sealed), `tcId ${String(tcId)}`).not.to.equal(ct + tag);
              }
            }
          }
          expect(counts).to.deep.equal({ valid: 39, invalid: 27, notApplicable: 250 });
        },
      );

      it("refuses to seal with a key that is not 32 bytes or an IV that is not 12", () => {
        const empty = new Uint8Array();
        for (const length of [0, 16, 24, 31, 33]) {
          expect(() => primitives.aesGcmSeal(new Uint8Array(length), new Uint8Array(12), empty, empty)).to.throw(
            RangeError,
          );
        }
        for (const length of [0, 8, 11, 13, 16]) {
          expect(() => primitives.aesGcmSeal(new Uint8Array(32), new Uint8Array(length), empty, empty)).to.throw(
            RangeError,
          );
        }
      });

      it("opens nothing that has a wrong length, and does not throw", () => {
        const [key, iv, empty] = [new Uint8Array(32), new Uint8Array(12), new Uint8Array()];
        const sealed = primitives.aesGcmSeal(key, iv, empty, empty);
        expect(primitives.aesGcmOpen(key, iv, sealed, empty)).to.deep.equal(empty);
        for (let length = 0; length < 16; length++) {
          expect(primitives.aesGcmOpen(key, iv, sealed.subarray(0, length), empty), String(length)).to.equal(null);
        }
        expect(primitives.aesGcmOpen(key, iv, Uint8Array.of(...sealed, 0), empty)).to.equal(null);
        expect(primitives.aesGcmOpen(new Uint8Array(16), iv, sealed, empty)).to.equal(null);
        expect(primitives.aesGcmOpen(key, new Uint8Array(16), sealed, empty)).to.equal(null);
      });

      it("opens what it sealed, and nothing of which one bit was flipped", () => {
        fc.assert(
          fc.property(anySealing, fc.nat(), ({ key, iv, plaintext, aad }, position) => {
            const sealed = primitives.aesGcmSeal(key, iv, plaintext, aad);
            const flip = (bytes: Uint8Array): Uint8Array => flipBit(bytes, position % (bytes.length * 8));
            expect(primitives.aesGcmOpen(key, iv, sealed, aad)).to.deep.equal(Uint8Array.from(plaintext));
            expect(primitives.aesGcmOpen(key, iv, flip(sealed), aad)).to.equal(null);
            expect(primitives.aesGcmOpen(flip(key), iv, sealed, aad)).to.equal(null);
            expect(primitives.aesGcmOpen(key, flip(iv), sealed, aad)).to.equal(null);
            if (aad.length > 0) expect(primitives.aesGcmOpen(key, iv, sealed, flip(aad))).to.equal(null);
          }),
        );
      });
    });
  }

  it("seals to the same bytes natively and portably, and each opens the other's", () => {
    fc.assert(
      fc.property(anySealing, ({ key, iv, plaintext, aad }) => {
        const sealed = native.aesGcmSeal(key, iv, plaintext, aad);
        expect(portable.aesGcmSeal(key, iv, plaintext, aad)).to.deep.equal(sealed);
        expect(portable.aesGcmOpen(key, iv, sealed, aad)).to.deep.equal(native.aesGcmOpen(key, iv, sealed, aad));
      }),
    );
  });
});
