import { expect } from "chai";
import fc from "fast-check";
import { portable } from "../../../protocol/crypto/portable.ts";
import { itWithVectors } from "../../fixtures/vectors.ts";
import { anyBytes, fromHex, IMPLEMENTATIONS, native, toHex } from "./implementations.ts";

interface WycheproofXdh {
  readonly testGroups: readonly {
    readonly tests: readonly Readonly<
      Record<"public" | "private" | "shared" | "result", string> & { tcId: number; flags: string[] }
    >[];
  }[];
}

interface RfcVectors {
  readonly x25519_iterated: { readonly start_k_and_u: string; readonly after: Readonly<Record<"1" | "1000", string>> };
}

describe("X25519", () => {
  for (const primitives of IMPLEMENTATIONS) {
    describe(`by ${primitives.name}`, () => {
      itWithVectors<WycheproofXdh>(
        "gives the secrets of Wycheproof's 518 cases, null for the 31 that are all zero",
        "wycheproof/x25519_test.json",
        (vectors) => {
          const counts = { valid: 0, acceptable: 0, zero: 0 };
          for (const {
            public: publicKey,
            private: privateKey,
            shared,
            result,
            tcId,
            flags,
          } of vectors.testGroups.flatMap(({ tests }) => tests)) {
            const isZero = flags.includes("ZeroSharedSecret");
            counts[isZero ? "zero" : (result as "valid" | "acceptable")]++;
            const secret = primitives.x25519(fromHex(privateKey), fromHex(publicKey));
            expect(toHex(secret), `tcId ${String(tcId)}`).to.equal(isZero ? null : shared);
          }
          expect(counts).to.deep.equal({ valid: 264, acceptable: 223, zero: 31 });
        },
      );

      itWithVectors<RfcVectors>(
        "iterates 1000 times as in RFC 7748, 5.2",
        "rfc/rfc5869_rfc7748.json",
        ({ x25519_iterated }) => {
          let [k, u] = [fromHex(x25519_iterated.start_k_and_u), fromHex(x25519_iterated.start_k_and_u)];
          for (let round = 1; round <= 1000; round++) {
            [k, u] = [primitives.x25519(k, u) ?? new Uint8Array(), k];
            if (round === 1) expect(toHex(k)).to.equal(x25519_iterated.after["1"]);
          }
          expect(toHex(k)).to.equal(x25519_iterated.after["1000"]);
        },
      );

      it("gives the public keys and the secret of RFC 7748, 6.1", () => {
        const alice = fromHex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        const bob = fromHex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        const alicePublic = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
        const bobPublic = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
        const secret = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
        expect(toHex(primitives.x25519PublicKey(alice))).to.equal(alicePublic);
        expect(toHex(primitives.x25519PublicKey(bob))).to.equal(bobPublic);
        expect(toHex(primitives.x25519(alice, fromHex(bobPublic)))).to.equal(secret);
        expect(toHex(primitives.x25519(bob, fromHex(alicePublic)))).to.equal(secret);
      });

      it("refuses keys that are not 32 bytes", () => {
        const key = new Uint8Array(32).fill(9);
        for (const length of [0, 31, 33, 64]) {
          const wrong = new Uint8Array(length).fill(9);
          expect(() => primitives.x25519PublicKey(wrong)).to.throw(RangeError);
          expect(() => primitives.x25519(wrong, key)).to.throw(RangeError);
          expect(() => primitives.x25519(key, wrong)).to.throw(RangeError);
        }
      });

      it("gives two people the same secret", () => {
        fc.assert(
          fc.property(anyBytes(32), anyBytes(32), (alice, bob) => {
            const secret = primitives.x25519(alice, primitives.x25519PublicKey(bob));
            expect(secret).not.to.equal(null);
            expect(primitives.x25519(bob, primitives.x25519PublicKey(alice))).to.deep.equal(secret);
          }),
          { numRuns: 30 },
        );
      });
    });
  }

  it("gives the same natively and portably, for public keys of any 32 bytes", () => {
    fc.assert(
      fc.property(anyBytes(32), anyBytes(32), (privateKey, publicKey) => {
        expect(native.x25519PublicKey(privateKey)).to.deep.equal(portable.x25519PublicKey(privateKey));
        expect(native.x25519(privateKey, publicKey)).to.deep.equal(portable.x25519(privateKey, publicKey));
      }),
    );
  });
});
