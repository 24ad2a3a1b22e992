/**
 * Whether a message would be verified if an anchor listed it now (SPEC 8.4), alone in its room: what a relay asks before it takes a
 * message, by the rules that a replay has.
 */
import { verifyBlock, type Cid } from "./cid.ts";
import type { SignatureClaim } from "./crypto/primitives.ts";
import { claimOf, examineHeader, headerOf } from "./entry.ts";
import { decodeEnvelope, type Envelope } from "./envelope.ts";
import { DmtpError } from "./error.ts";
import type { Position } from "./event.ts";
import type { KeySource } from "./keys.ts";
import type { Deployment } from "./room.ts";

/** Behind every event that was read: what an anchor that is mined next would find. */
export const NOW: Position = { blockNumber: Number.POSITIVE_INFINITY, logIndex: 0 };

/** A message whose signature alone is left to be checked; many are checked at once. */
export interface Candidate {
  readonly cid: Cid;
  readonly block: Uint8Array;
  readonly envelope: Envelope;
  readonly claim: SignatureClaim;
}

/**
 * All checks but that of the signature, the cheap ones first.
 * @throws BLOCK_TOO_LARGE, BLOCK_HASH_MISMATCH, and the codes of SPEC 9.3 but SIGNATURE_INVALID and DUPLICATE
 */
export function examineCandidate(deployment: Deployment, keys: KeySource, cid: Cid, block: Uint8Array): Candidate {
  const envelope = decodeEnvelope(verifyBlock(cid, block));
  const finding = examineHeader(deployment, keys, envelope, NOW, headerOf(envelope), block.length);
  if ("publicKey" in finding) return { cid, block, envelope, claim: claimOf(envelope, finding.publicKey) };
  const { verdict } = finding;
  if (verdict.status !== "rejected") throw new DmtpError("INTERNAL", "a header that is decided and not rejected");
  throw new DmtpError(verdict.code, verdict.reason);
}
