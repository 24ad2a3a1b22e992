/** What no signature of a wallet stands behind: the chain alone vouches for it. */
import type { Entry } from "../protocol/entry.ts";
import type { KeyDirectory } from "../protocol/keys.ts";

/** Whether the chain alone vouches for the key of a verified message. */
export function isUnsigned({ verdict, message }: Entry): boolean {
  return verdict.status === "verified" && message?.binding === "chain";
}

/** Verified keys for which the chain alone vouches. */
export function countUnsignedKeys(keys: KeyDirectory): number {
  let unsigned = 0;
  for (const wallet of keys.wallets()) {
    for (const entry of keys.history(wallet)) {
      if ("verdict" in entry && entry.verdict.status === "verified" && entry.binding === "chain") unsigned += 1;
    }
  }
  return unsigned;
}
