/** The key history of every wallet, by replay of the registry's events (SPEC 8.2). */
import type { Address } from "./address.ts";
import { isBindingSigned } from "./binding.ts";
import { primitives } from "./crypto/provider.ts";
import { comparePositions, type KeyEvent, type Position, type RegistryEvent, type RevocationEvent } from "./event.ts";
import type { Deployment } from "./room.ts";
import { rejected, VERIFIED, type Verdict } from "./verdict.ts";

/** How the wallet is known to have chosen its key. */
export type Binding =
  /** By its EIP-712 signature, which no RPC can forge. */
  | "signature"
  /** By the registry alone, which a contract wallet called or answered by ERC-1271: as true as the nodes that say so. */
  | "chain";

export interface KeyVersion {
  readonly event: KeyEvent;
  readonly binding: Binding;
  readonly verdict: Verdict;
}

/** The keys and tombstones of one wallet, in order. */
export type KeyHistory = readonly (KeyVersion | { readonly event: RevocationEvent })[];

export type KeyLookup =
  | { readonly status: "usable"; readonly key: KeyVersion }
  | { readonly status: "unknown" }
  | { readonly status: "rejected"; readonly key: KeyVersion }
  | { readonly status: "revoked"; readonly key: KeyVersion };

/** Where the verdict on a message looks up its keys. */
export interface KeySource {
  /** The wallet's version `version` as it stood just before `position`. */
  find(wallet: Address, version: number, position: Position): KeyLookup;
}

export class KeyDirectory implements KeySource {
  private readonly deployment: Deployment;
  private readonly histories = new Map<Address, (KeyVersion | { readonly event: RevocationEvent })[]>();
  private readonly signed = new Set<Address>();

  constructor(deployment: Deployment) {
    this.deployment = deployment;
  }

  /** Takes the next event of the registry, in chain order. */
  add(event: RegistryEvent): void {
    const isKey = event.kind === "key";
    this.addEntry(isKey ? verifyKey(this.deployment, event, this.hasSigned(event.wallet)) : { event });
  }

  /** Takes the next event with the verdict on it. */
  addEntry(entry: KeyHistory[number]): void {
    const { wallet } = entry.event;
    const history = this.histories.get(wallet) ?? [];
    if (history.length === 0) this.histories.set(wallet, history);
    history.push(entry);
    if (isSignedVersion(entry)) this.signed.add(wallet);
  }

  /** Whether a version of the wallet is verified and bound by its signature. */
  hasSigned(wallet: Address): boolean {
    return this.signed.has(wallet);
  }

  /** Every wallet that has an event. */
  wallets(): Iterable<Address> {
    return this.histories.keys();
  }

  history(wallet: Address): KeyHistory {
    return this.histories.get(wallet) ?? [];
  }

  find(wallet: Address, version: number, position: Position): KeyLookup {
    return findKey(this.history(wallet), version, position);
  }

  current(wallet: Address): KeyLookup {
    return currentKey(this.history(wallet));
  }
}

/** The version `version` of a wallet with this history, as it stood just before `position`. */
export function findKey(history: KeyHistory, version: number, position: Position): KeyLookup {
  const key = history.find(({ event }) => event.version === version && comparePositions(event, position) < 0);
  if (key === undefined || !("verdict" in key)) return { status: "unknown" };
  if (key.verdict.status !== "verified") return { status: "rejected", key };
  const revoked = history.some(
    ({ event }) => event.kind === "revocation" && event.version > version && comparePositions(event, position) < 0,
  );
  return { status: revoked ? "revoked" : "usable", key };
}

/** What a wallet with this history uses now: its newest key, or what is wrong with it. */
export function currentKey(history: KeyHistory): KeyLookup {
  const key = history.findLast((entry): entry is KeyVersion => "verdict" in entry);
  if (key === undefined) return { status: "unknown" };
  if (history.at(-1)?.event.kind === "revocation") return { status: "revoked", key };
  return { status: key.verdict.status === "verified" ? "usable" : "rejected", key };
}

/**
 * Whether a wallet that has this version accepts no unsigned one after it. A node says whether a wallet has code, and nobody can
 * check that; so where the wallet's own signature has been seen, a node's word never takes its place. A tombstone, which says
 * "no key from here on", does not end this.
 */
function isSignedVersion(entry: KeyHistory[number]): boolean {
  return "verdict" in entry && entry.binding === "signature" && entry.verdict.status === "verified";
}

/**
 * SPEC 8.2: keys an honest wallet can make, bound by the wallet's signature; or by the chain, where the wallet has code and has
 * never signed.
 * @param hasSigned whether one of the wallet's earlier versions {@link isSignedVersion}
 */
export function verifyKey(deployment: Deployment, event: KeyEvent, hasSigned: boolean): KeyVersion {
  const signed =
    event.deadline <= BigInt(Number.MAX_SAFE_INTEGER) &&
    isBindingSigned(deployment, { ...event, deadline: Number(event.deadline) }, event.signature);
  const binding: Binding = signed ? "signature" : "chain";
  let verdict: Verdict = VERIFIED;
  if (!primitives.isAdmissibleEncryptionKey(event.encryptionKey)) {
    verdict = rejected("KEY_INADMISSIBLE", "the encryption key is not an admissible X25519 key");
  } else if (!primitives.isAdmissibleSigningKey(event.signingKey)) {
    verdict = rejected("KEY_INADMISSIBLE", "the signing key is not an admissible Ed25519 key");
  } else if (!signed && !event.hasCode) {
    verdict = rejected("BINDING_INVALID", "the wallet did not sign the binding of this key");
  } else if (!signed && hasSigned) {
    verdict = rejected("BINDING_INVALID", "the wallet signed an earlier key, and did not sign the binding of this one");
  }
  return { event, binding, verdict };
}
