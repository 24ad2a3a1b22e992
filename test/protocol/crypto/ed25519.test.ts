import nodeCrypto from "node:crypto";
import { expect } from "chai";
import fc from "fast-check";
import { portable } from "../../../protocol/crypto/portable.ts";
import type { SignatureClaim } from "../../../protocol/crypto/primitives.ts";
import { itWithVectors } from "../../fixtures/vectors.ts";
import {
  add,
  BASE,
  challenge,
  encodeNumber,
  encodePoint,
  decodeNumber,
  L,
  mod,
  multiply,
  TORSION,
  verifyByZip215,
} from "./edwards25519.ts";
import { anyBytes, flipBit, fromHex, IMPLEMENTATIONS, native, toHex } from "./implementations.ts";

interface CctvCase {
  readonly number: number;
  readonly key: string;
  readonly sig: string;
  readonly msg: string;
  readonly flags: readonly string[] | null;
}

interface SpeccheckCase {
  readonly message: string;
  readonly pub_key: string;
  readonly signature: string;
}

interface WycheproofEddsa {
  readonly testGroups: readonly {
    readonly publicKey: { readonly pk: string };
    readonly tests: readonly {
      readonly tcId: number;
      readonly msg: string;
      readonly sig: string;
      readonly result: string;
    }[];
  }[];
}

const CCTV = "ed25519/cctv_ed25519vectors.json";
const SPECCHECK = "ed25519/speccheck_cases.json";
const WYCHEPROOF = "wycheproof/ed25519_test.json";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function toCctvClaim({ key, msg, sig }: CctvCase): SignatureClaim {
  return { publicKey: fromHex(key), message: encode(msg), signature: fromHex(sig) };
}

function toSpeccheckClaim({ pub_key, message, signature }: SpeccheckCase): SignatureClaim {
  return { publicKey: fromHex(pub_key), message: fromHex(message), signature: fromHex(signature) };
}

/**
 * What ZIP 215 says of a CCTV vector, by its flags alone.
 *
 * Low-order parts vanish under the cofactor and encodings are free, so all verify, but for those whose k was computed
 * over other bytes than the ones sent (`reencoded_k`); and k matters not where A itself vanishes.
 */
function expectByFlags({ flags }: CctvCase): boolean {
  return !(flags ?? []).includes("reencoded_k") || (flags ?? []).includes("low_order_A");
}

/** Node's verifier alone, without the second opinion that `native` asks for. */
function verifyByNode({ publicKey, message, signature }: SignatureClaim): boolean {
  const x = Buffer.from(publicKey).toString("base64url");
  const key = nodeCrypto.createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return nodeCrypto.verify(null, message, key, signature);
}

/** The signature with n times the group order added to S, which the equation alone can't tell from the signature. */
function addOrder(signature: Uint8Array, n: bigint): Uint8Array {
  return Uint8Array.of(...signature.subarray(0, 32), ...encodeNumber(decodeNumber(signature.subarray(32)) + n * L));
}

describe("Ed25519", () => {
  for (const primitives of IMPLEMENTATIONS) {
    describe(`by ${primitives.name}`, () => {
      const verify = (claim: SignatureClaim): boolean | undefined => primitives.ed25519Verify([claim])[0];

      it("gives the keys and signatures of RFC 8032, 7.1", () => {
        const examples = [
          [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
          ],
          [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
          ],
        ] as const;
        for (const [seed, publicKey, message, signature] of examples) {
          const signer = primitives.ed25519Signer(fromHex(seed));
          expect(toHex(signer.publicKey)).to.equal(publicKey);
          expect(toHex(signer.sign(fromHex(message)))).to.equal(signature);
          expect(
            verify({ publicKey: fromHex(publicKey), message: fromHex(message), signature: fromHex(signature) }),
          ).to.equal(true);
        }
      });

      itWithVectors<CctvCase[]>("answers CCTV's 914 vectors as ZIP 215 does: 826 yes, 88 no", CCTV, (vectors) => {
        const answers = primitives.ed25519Verify(vectors.map(toCctvClaim));
        expect(answers).to.deep.equal(vectors.map(expectByFlags));
        expect(answers.filter(Boolean)).to.have.length(826);
        expect(answers).to.have.length(914);
      });

      itWithVectors<SpeccheckCase[]>("answers speccheck's 12 cases as ZIP 215 does", SPECCHECK, (vectors) => {
        // 6 and 7 have S >= L; 8 has a k computed over a re-encoded R.
        const expected = [true, true, true, true, true, true, false, false, false, true, true, true];
        expect(primitives.ed25519Verify(vectors.map(toSpeccheckClaim))).to.deep.equal(expected);
      });

      itWithVectors<WycheproofEddsa>(
        "answers Wycheproof's 151 cases, one of them by ZIP 215 against RFC 8032",
        WYCHEPROOF,
        (vectors) => {
          const counts = { valid: 0, invalid: 0, differing: 0 };
          for (const { publicKey, tests } of vectors.testGroups) {
            for (const { tcId, msg, sig, result } of tests) {
              const answer = verify({
                publicKey: fromHex(publicKey.pk),
                message: fromHex(msg),
                signature: fromHex(sig),
              });
              // R is the identity with the sign of x set, an encoding that only ZIP 215 allows.
              const isDiffering = tcId === 151;
              counts[isDiffering ? "differing" : (result as "valid" | "invalid")]++;
              expect(answer, `tcId ${String(tcId)}`).to.equal(isDiffering || result === "valid");
            }
          }
          expect(counts).to.deep.equal({ valid: 88, invalid: 62, differing: 1 });
        },
      );

      it("verifies what it signed, whatever the message", () => {
        fc.assert(
          fc.property(anyBytes(32), anyBytes(0, 300), (seed, message) => {
            const signer = primitives.ed25519Signer(seed);
            expect(verify({ publicKey: signer.publicKey, message, signature: signer.sign(message) })).to.equal(true);
          }),
          { numRuns: 50 },
        );
      });

      it("keeps its own copy of the seed", () => {
        const seed = new Uint8Array(32).fill(7);
        const signer = primitives.ed25519Signer(seed);
        const before = signer.sign(encode("message"));
        seed.fill(0);
        expect(signer.sign(encode("message"))).to.deep.equal(before);
      });

      it("refuses a signature, message or key of which any one bit was flipped", () => {
        const signer = primitives.ed25519Signer(new Uint8Array(32).fill(1));
        const claim = {
          publicKey: signer.publicKey,
          message: encode("to Bob"),
          signature: signer.sign(encode("to Bob")),
        };
        const flips = (["publicKey", "message", "signature"] as const).flatMap((part) =>
          Array.from({ length: claim[part].length * 8 }, (_, index) => ({
            ...claim,
            [part]: flipBit(claim[part], index),
          })),
        );
        expect(flips).to.have.length(256 + 48 + 512);
        expect(primitives.ed25519Verify(flips)).not.to.include(true);
      }).timeout(20_000);

      it("refuses every other S of the same signature (malleability)", () => {
        const signer = primitives.ed25519Signer(new Uint8Array(32).fill(2));
        const claim = { publicKey: signer.publicKey, message: encode("once"), signature: signer.sign(encode("once")) };
        const others = Array.from({ length: 15 }, (_, n) => ({
          ...claim,
          signature: addOrder(claim.signature, BigInt(n + 1)),
        }));
        expect(primitives.ed25519Verify([claim, ...others])).to.deep.equal([true, ...others.map(() => false)]);
        expect(others.map(verifyByNode)).not.to.include(true);
      });

      it("answers many claims in their order, and none with none", () => {
        const signer = primitives.ed25519Signer(new Uint8Array(32).fill(3));
        const good = { publicKey: signer.publicKey, message: encode("a"), signature: signer.sign(encode("a")) };
        const bad = { ...good, message: encode("b") };
        expect(primitives.ed25519Verify([good, bad, bad, good])).to.deep.equal([true, false, false, true]);
        expect(primitives.ed25519Verify([])).to.deep.equal([]);
      });

      it("answers no to wrong lengths without throwing, and refuses to sign with them", () => {
        const signer = primitives.ed25519Signer(new Uint8Array(32).fill(4));
        const claim = { publicKey: signer.publicKey, message: encode("a"), signature: signer.sign(encode("a")) };
        for (const length of [0, 31, 33, 63, 65, 128]) {
          expect(verify({ ...claim, publicKey: new Uint8Array(length) })).to.equal(false);
          expect(verify({ ...claim, signature: new Uint8Array(length) })).to.equal(false);
          expect(() => primitives.ed25519Signer(new Uint8Array(length))).to.throw(RangeError);
        }
        expect(verify({ ...claim, signature: Uint8Array.of(...claim.signature, 0) })).to.equal(false);
      });
    });
  }

  itWithVectors<CctvCase[]>("has in its slow twin a ZIP 215 that gives CCTV's answers too", CCTV, (vectors) => {
    expect(vectors.map(toCctvClaim).map(verifyByZip215)).to.deep.equal(vectors.map(expectByFlags));
  });

  itWithVectors<CctvCase[]>(
    "finds that Node alone accepts 43 of CCTV's vectors, none of them against ZIP 215",
    CCTV,
    (vectors) => {
      const accepted = vectors.filter((vector) => verifyByNode(toCctvClaim(vector)));
      expect(accepted).to.have.length(43);
      expect(accepted.map(expectByFlags)).not.to.include(false);
    },
  );

  itWithVectors<SpeccheckCase[]>("finds that Node alone accepts one of speccheck's cases", SPECCHECK, (vectors) => {
    expect(
      vectors
        .map(toSpeccheckClaim)
        .map(verifyByNode)
        .flatMap((isAccepted, index) => (isAccepted ? [index] : [])),
    ).to.deep.equal([3]);
  });

  it("gives the same signatures natively and portably", () => {
    fc.assert(
      fc.property(anyBytes(32), anyBytes(0, 300), (seed, message) => {
        const [ours, theirs] = [native.ed25519Signer(seed), portable.ed25519Signer(seed)];
        expect(ours.publicKey).to.deep.equal(theirs.publicKey);
        expect(ours.sign(message)).to.deep.equal(theirs.sign(message));
      }),
      { numRuns: 50 },
    );
  });

  it("gives the twin's answer natively and portably where A and R have parts of low order, flipped or not", () => {
    const anyScalar = fc.bigInt({ min: 1n, max: L - 1n });
    const anyTorsion = fc.constantFrom(...TORSION);
    fc.assert(
      fc.property(anyScalar, anyScalar, anyTorsion, anyTorsion, fc.nat(511), (a, r, torsionOfA, torsionOfR, bit) => {
        const message = encode("low order");
        const publicKey = encodePoint(add(multiply(a, BASE), torsionOfA));
        const R = encodePoint(add(multiply(r, BASE), torsionOfR));
        const S = mod(r + challenge(R, publicKey, message) * a, L);
        const claim = { publicKey, message, signature: Uint8Array.of(...R, ...encodeNumber(S)) };
        const flipped = { ...claim, signature: flipBit(claim.signature, bit) };
        const expected = [true, verifyByZip215(flipped)];
        expect(verifyByZip215(claim)).to.equal(true);
        for (const primitives of IMPLEMENTATIONS) {
          expect(primitives.ed25519Verify([claim, flipped])).to.deep.equal(expected);
        }
        if (verifyByNode(flipped)) expect(verifyByZip215(flipped)).to.equal(true);
      }),
      { numRuns: 60 },
    );
  }).timeout(30_000);

  it("gives the same answer natively and portably to any bytes", () => {
    fc.assert(
      fc.property(anyBytes(32), anyBytes(0, 40), anyBytes(64), (publicKey, message, signature) => {
        // With the top bits of S clear, half of the random signatures get past the check of S < L.
        signature[63] = (signature[63] ?? 0) & 0x1f;
        const claim = { publicKey, message, signature };
        for (const primitives of IMPLEMENTATIONS)
          expect(primitives.ed25519Verify([claim])).to.deep.equal(portable.ed25519Verify([claim]));
      }),
    );
  });
});
