import nodeCrypto from "node:crypto";
import fc from "fast-check";
import { libsodium } from "../../../protocol/crypto/libsodium.ts";
import { createNative } from "../../../protocol/crypto/native.ts";
import { portable } from "../../../protocol/crypto/portable.ts";
import type { Primitives } from "../../../protocol/crypto/primitives.ts";

export const native: Primitives = createNative(nodeCrypto);

/** As Node has them where libsodium has a binary. */
const withLibsodium: Primitives = createNative(nodeCrypto, libsodium);

/** Every vector goes through all of them. */
export const IMPLEMENTATIONS: readonly Primitives[] = [native, withLibsodium, portable];

export function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

export function toHex(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString("hex");
}

/** A copy of `bytes` with the bit at `index` flipped. */
export function flipBit(bytes: Uint8Array, index: number): Uint8Array {
  const flipped = Uint8Array.from(bytes);
  flipped[index >> 3] = (flipped[index >> 3] ?? 0) ^ (1 << (index & 7));
  return flipped;
}

/** Random bytes that lie inside a larger buffer, so that code which forgets a view's offset fails. */
export function anyBytes(minLength: number, maxLength = minLength): fc.Arbitrary<Uint8Array> {
  return fc.tuple(fc.uint8Array({ minLength, maxLength }), fc.nat(9)).map(([bytes, offset]) => {
    const surrounding = new Uint8Array(offset + bytes.length + 5).fill(0xa5);
    surrounding.set(bytes, offset);
    return surrounding.subarray(offset, offset + bytes.length);
  });
}
