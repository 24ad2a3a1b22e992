import { createHash } from "node:crypto";
import type { SignatureClaim } from "../../../protocol/crypto/primitives.ts";

// The slow readable twin: edwards25519 in plain arithmetic from RFC 8032, 5.1, sharing nothing with the libraries under
// test.

export const P = 2n ** 255n - 19n;
export const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = mod(-121665n * invert(121666n));
const SQRT_MINUS_ONE = power(2n, (P - 1n) / 4n);

/** A point as (X : Y : Z), where x = X/Z and y = Y/Z. */
export type Point = readonly [X: bigint, Y: bigint, Z: bigint];

export const IDENTITY: Point = [0n, 1n, 1n];
export const BASE: Point = decodePoint(encodeNumber(mod(4n * invert(5n)))) ?? IDENTITY;

/** The eight points whose order divides 8: the multiples of one of order 8. */
export const TORSION: readonly Point[] = multiplesOf(findOrderEight());

export function mod(value: bigint, modulus = P): bigint {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let square = mod(base), rest = exponent; rest > 0n; rest >>= 1n, square = mod(square * square)) {
    if ((rest & 1n) === 1n) result = mod(result * square);
  }
  return result;
}

export function invert(value: bigint): bigint {
  return power(value, P - 2n);
}

/** Adds any two points: the formula is complete on this curve (Bernstein and others, 2008/013, section 6). */
export function add([X1, Y1, Z1]: Point, [X2, Y2, Z2]: Point): Point {
  const A = mod(Z1 * Z2);
  const C = mod(X1 * X2);
  const E = mod(Y1 * Y2);
  const G = mod(A * A);
  const H = mod(D * mod(C * E));
  const cross = mod((X1 + Y1) * (X2 + Y2) - C - E);
  return [mod(mod(A * (G - H)) * cross), mod(mod(A * (G + H)) * (E + C)), mod((G - H) * (G + H))];
}

export function multiply(scalar: bigint, point: Point): Point {
  let result = IDENTITY;
  for (let double = point, rest = scalar; rest > 0n; rest >>= 1n, double = add(double, double)) {
    if ((rest & 1n) === 1n) result = add(result, double);
  }
  return result;
}

export function isIdentity([X, Y, Z]: Point): boolean {
  return X === 0n && Y === Z;
}

export function affine([X, Y, Z]: Point): readonly [x: bigint, y: bigint] {
  const inverse = invert(Z);
  return [mod(X * inverse), mod(Y * inverse)];
}

export function decodeNumber(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}

export function encodeNumber(value: bigint): Uint8Array {
  return new Uint8Array(Buffer.from(value.toString(16).padStart(64, "0"), "hex").reverse());
}

/** RFC 8032, 5.1.2. */
export function encodePoint(point: Point): Uint8Array {
  const [x, y] = affine(point);
  return encodeNumber(y | ((x & 1n) << 255n));
}

/**
 * ZIP 215's decoding: RFC 8032, 5.1.3 without its two refusals, so y is taken modulo P and x = 0 may have either sign.
 */
export function decodePoint(bytes: Uint8Array): Point | null {
  const encoded = decodeNumber(bytes);
  const sign = encoded >> 255n;
  const y = mod(encoded & (2n ** 255n - 1n));
  const square = mod((y * y - 1n) * invert(D * y * y + 1n));
  let x = power(square, (P + 3n) / 8n);
  if (mod(x * x) !== square) x = mod(x * SQRT_MINUS_ONE);
  if (mod(x * x) !== square) return null;
  return [(x & 1n) === sign ? x : mod(-x), y, 1n];
}

/** k of RFC 8032, 5.1.7, over the bytes as they were sent. */
export function challenge(R: Uint8Array, A: Uint8Array, message: Uint8Array): bigint {
  return mod(decodeNumber(createHash("sha512").update(R).update(A).update(message).digest()), L);
}

/** ZIP 215's rule, word for word. */
export function verifyByZip215({ publicKey, message, signature }: SignatureClaim): boolean {
  const encodedR = signature.subarray(0, 32);
  const S = decodeNumber(signature.subarray(32));
  const A = decodePoint(publicKey);
  const R = decodePoint(encodedR);
  if (A === null || R === null || S >= L) return false;
  const k = challenge(encodedR, publicKey, message);
  const right = add(R, multiply(k, A));
  const [x, y] = affine(multiply(8n, right));
  const [expectedX, expectedY] = affine(multiply(8n, multiply(S, BASE)));
  return x === expectedX && y === expectedY;
}

function multiplesOf(point: Point): Point[] {
  return Array.from({ length: 8 }, (_, index) => multiply(BigInt(index), point));
}

function findOrderEight(): Point {
  for (let y = 2n; ; y++) {
    const point = decodePoint(encodeNumber(y));
    const torsion = point === null ? IDENTITY : multiply(L, point);
    if (!isIdentity(multiply(4n, torsion))) return torsion;
  }
}
