/** Signatures to verify together, each message's once: an anchor may list one message a million times. */
import { equal } from "./bytes.ts";
import type { Cid } from "./cid.ts";
import type { SignatureClaim } from "./crypto/primitives.ts";

export class ClaimList {
  readonly claims: SignatureClaim[] = [];
  private readonly places = new Map<Cid, number>();

  /** @returns its place in `claims`; the same for the same message and key */
  add(message: Cid, publicKey: Uint8Array, claim: () => SignatureClaim): number {
    const known = this.places.get(message);
    if (known !== undefined && equal(this.claims[known]?.publicKey ?? new Uint8Array(0), publicKey)) return known;
    this.places.set(message, this.claims.length);
    return this.claims.push(claim()) - 1;
  }
}
