import { expect } from "chai";
import fc from "fast-check";
import {
  add,
  affine,
  BASE,
  decodeNumber,
  decodePoint,
  encodeNumber,
  encodePoint,
  IDENTITY,
  invert,
  isIdentity,
  L,
  mod,
  multiply,
  P,
  TORSION,
} from "./edwards25519.ts";
import { anyBytes, IMPLEMENTATIONS, toHex } from "./implementations.ts";

const SIGN = 1n << 255n;

/**
 * Every encoding that RFC 8032, 5.1.3 refuses though ZIP 215 decodes it or could: y from P to 2^255 - 1, and x = 0
 * with a sign.
 */
const NON_CANONICAL_POINTS = [
  ...Array.from({ length: 19 }, (_, index) => P + BigInt(index)).flatMap((y) => [y, y | SIGN]),
  1n | SIGN,
  (P - 1n) | SIGN,
].map(encodeNumber);

/** The u of the low-order points: those of the eight on Edwards form, and -1 on the twist. */
const LOW_ORDER_U = [
  ...new Set(
    TORSION.filter((point) => !isIdentity(point))
      .map((point) => affine(point)[1])
      .map((y) => mod((1n + y) * invert(1n - y))),
  ),
  P - 1n,
];

/** The definition, in the twin's arithmetic. */
function isAdmissibleByDefinition(publicKey: Uint8Array): boolean {
  const point = decodePoint(publicKey);
  if (point === null || toHex(encodePoint(point)) !== toHex(publicKey)) return false;
  return !isIdentity(point) && isIdentity(multiply(L, point));
}

for (const primitives of IMPLEMENTATIONS) {
  describe(`Admissibility of keys by ${primitives.name}`, () => {
    it("admits the signing keys of honest wallets", () => {
      fc.assert(
        fc.property(anyBytes(32), (seed) => {
          expect(primitives.isAdmissibleSigningKey(primitives.ed25519Signer(seed).publicKey)).to.equal(true);
        }),
        { numRuns: 30 },
      );
    });

    it("refuses the eight points of low order as signing keys", () => {
      expect(new Set(TORSION.map((point) => toHex(encodePoint(point)))).size).to.equal(8);
      for (const point of TORSION) {
        expect(primitives.isAdmissibleSigningKey(encodePoint(point)), String(toHex(encodePoint(point)))).to.equal(
          false,
        );
      }
    });

    it("refuses a signing key with any part of low order", () => {
      const honest = multiply(123456789n, BASE);
      const [, ...torsion] = TORSION;
      expect(primitives.isAdmissibleSigningKey(encodePoint(honest))).to.equal(true);
      for (const point of torsion) {
        const mixed = encodePoint(add(honest, point));
        expect(decodePoint(mixed)).not.to.equal(null);
        expect(primitives.isAdmissibleSigningKey(mixed), String(toHex(mixed))).to.equal(false);
      }
    });

    it("refuses all 40 non-canonical encodings as signing keys", () => {
      expect(NON_CANONICAL_POINTS).to.have.length(40);
      for (const encoding of NON_CANONICAL_POINTS) {
        expect(primitives.isAdmissibleSigningKey(encoding), String(toHex(encoding))).to.equal(false);
      }
    });

    it("admits of any 32 bytes the signing keys that the definition admits", () => {
      const counts = { admitted: 0, refused: 0 };
      const anyKey = fc.oneof(
        anyBytes(32),
        fc.bigInt({ min: 1n, max: L - 1n }).map((scalar) => encodePoint(multiply(scalar, BASE))),
      );
      fc.assert(
        fc.property(anyKey, (publicKey) => {
          const expected = isAdmissibleByDefinition(publicKey);
          counts[expected ? "admitted" : "refused"]++;
          expect(primitives.isAdmissibleSigningKey(publicKey)).to.equal(expected);
        }),
      );
      expect(counts.admitted).to.be.greaterThan(10);
      expect(counts.refused).to.be.greaterThan(10);
    }).timeout(20_000);

    it("admits the encryption keys of honest wallets", () => {
      fc.assert(
        fc.property(anyBytes(32), (privateKey) => {
          expect(primitives.isAdmissibleEncryptionKey(primitives.x25519PublicKey(privateKey))).to.equal(true);
        }),
        { numRuns: 30 },
      );
    });

    it("refuses the five u of low order as encryption keys, the ones that give an all-zero secret", () => {
      expect(LOW_ORDER_U).to.have.length(5);
      for (const u of LOW_ORDER_U) {
        expect(primitives.isAdmissibleEncryptionKey(encodeNumber(u)), String(u)).to.equal(false);
        expect(primitives.x25519(new Uint8Array(32).fill(5), encodeNumber(u)), String(u)).to.equal(null);
      }
    });

    it("refuses encryption keys that are not below P, which X25519 itself would take", () => {
      const honest = primitives.x25519PublicKey(new Uint8Array(32).fill(6));
      for (let u = P; u < 2n ** 255n; u++) {
        expect(primitives.isAdmissibleEncryptionKey(encodeNumber(u)), String(u)).to.equal(false);
      }
      expect(primitives.isAdmissibleEncryptionKey(encodeNumber(decodeNumber(honest) | SIGN))).to.equal(false);
      expect(primitives.isAdmissibleEncryptionKey(encodeNumber(P - 2n))).to.equal(true);
      expect(primitives.isAdmissibleEncryptionKey(encodeNumber(2n))).to.equal(true);
    });

    it("admits of any 32 bytes the encryption keys below P with a secret that is not zero", () => {
      fc.assert(
        fc.property(anyBytes(32), (publicKey) => {
          const isUseful = primitives.x25519(new Uint8Array(32).fill(7), publicKey) !== null;
          expect(primitives.isAdmissibleEncryptionKey(publicKey)).to.equal(isUseful && decodeNumber(publicKey) < P);
        }),
      );
    });

    it("refuses keys of any other length, without throwing", () => {
      for (const length of [0, 31, 33, 64]) {
        expect(primitives.isAdmissibleSigningKey(new Uint8Array(length).fill(9))).to.equal(false);
        expect(primitives.isAdmissibleEncryptionKey(new Uint8Array(length).fill(9))).to.equal(false);
      }
      expect(primitives.isAdmissibleSigningKey(encodePoint(IDENTITY))).to.equal(false);
    });
  });
}
