/**
 * The verdicts on entries (SPEC 8.4), each given when its block is available. A message is decoded and its signature verified once,
 * however often and in however many rooms it is listed; each place of it then costs a look at keys, and a row.
 */
import type { Cid } from "../cid.ts";
import { primitives } from "../crypto/provider.ts";
import type { SignatureClaim } from "../crypto/primitives.ts";
import {
  claimOf,
  DUPLICATE,
  examineHeader,
  headerOf,
  SIGNATURE_INVALID,
  type MessageSummary,
  type SignedHeader,
} from "../entry.ts";
import { decodeEnvelope } from "../envelope.ts";
import { DmtpError } from "../error.ts";
import type { Position } from "../event.ts";
import { Lru } from "../lru.ts";
import type { Deployment } from "../room.ts";
import { MISSING, rejectedBy, VERIFIED, type Verdict } from "../verdict.ts";
import { comparePlaces, type Place, type PlacedEntry, type ReplayStore } from "./store.ts";

type SignatureVerifier = (claims: readonly SignatureClaim[]) => boolean[];

/** Somebody who has read blocks before, and may know whether they are signed. */
export interface EnvelopeReader {
  /** @throws as decodeEnvelope */
  headerOf(block: Uint8Array): SignedHeader;
  /** Whether the message is signed by this key; null when that is not known. */
  isSignedBy(block: Uint8Array, publicKey: Uint8Array): boolean | null;
}

export interface EntryJudgeOptions {
  readonly deployment: Deployment;
  readonly store: ReplayStore;
  /** A pure function; one that remembers makes many replays of one history quick. */
  readonly verifySignatures?: SignatureVerifier;
  readonly reader?: EnvelopeReader;
}

/** A message as it was read once. */
interface ReadMessage {
  readonly sizeBytes: number;
  /** Null for a block that is no envelope: then every entry of it has `refusal`. */
  readonly header: SignedHeader | null;
  readonly refusal: Verdict | null;
  /** Held until the next {@link EntryJudge.decide}: thousands of blocks would be gigabytes. */
  block: Uint8Array | null;
  isSigned: boolean | null;
  /** Its verified entry; null when it has none, undefined when that was not looked up. */
  verifiedAt: Place | null | undefined;
}

/** An entry of which only the signature, and whether it is the first, are left to decide. */
interface Candidate {
  readonly entry: PlacedEntry;
  readonly isNew: boolean;
  readonly message: ReadMessage;
  readonly summary: MessageSummary;
}

/** Messages that are remembered after they were judged: most are listed once. */
const REMEMBERED_MESSAGES = 4_096;
const REMEMBERED_POSITIONS = 64;
/** What one step verifies: a wrong signature takes about 4 ms, and one over a block of 1 MiB about 12 ms. */
const STEP_SIGNATURES = 8;
const STEP_BYTES = 1_048_576;

const DECODING: EnvelopeReader = {
  headerOf: (block) => headerOf(decodeEnvelope(block)),
  isSignedBy: () => null,
};

export class EntryJudge {
  private readonly deployment: Deployment;
  private readonly store: ReplayStore;
  private readonly reader: EnvelopeReader;
  private readonly verifySignatures: SignatureVerifier;
  private readonly messages = new Lru<Cid, ReadMessage>(REMEMBERED_MESSAGES);
  private readonly positions = new Lru<number, Position>(REMEMBERED_POSITIONS);
  private candidates: Candidate[] = [];
  private claims = new Map<ReadMessage, SignatureClaim>();
  /** Whose blocks are held. */
  private holding: ReadMessage[] = [];
  private readBytes = 0;

  constructor({ deployment, store, reader = DECODING, verifySignatures }: EntryJudgeOptions) {
    this.deployment = deployment;
    this.store = store;
    this.reader = reader;
    this.verifySignatures = verifySignatures ?? ((claims) => primitives.ed25519Verify(claims));
  }

  /** Whether {@link decide} should come before anything more is taken: a step is bounded by work, not only by places. */
  get isFull(): boolean {
    return this.claims.size >= STEP_SIGNATURES || this.readBytes >= STEP_BYTES;
  }

  /** Takes a new entry: it is missing when its block is not available. {@link decide} has to follow. */
  list(entry: PlacedEntry): void {
    if (!this.examine(entry, true)) this.store.addEntry(entry, MISSING, null);
  }

  /** Takes an entry that was missing; it stays so when its block is not available. {@link decide} has to follow. */
  receive(entry: PlacedEntry): void {
    this.examine(entry, false);
  }

  /** Verifies the signatures that are left, and gives the verdicts that rest on them. */
  decide(): void {
    const { candidates, claims, holding } = this;
    this.candidates = [];
    this.claims = new Map();
    this.holding = [];
    this.readBytes = 0;
    const valid = claims.size === 0 ? [] : this.verifySignatures([...claims.values()]);
    let at = 0;
    for (const message of claims.keys()) message.isSigned = valid[at++] === true;
    for (const message of holding) message.block = null;
    candidates.sort((a, b) => comparePlaces(a.entry, b.entry));
    for (const candidate of candidates) {
      if (candidate.message.isSigned === true) this.place(candidate);
      else this.write(candidate.entry, candidate.isNew, SIGNATURE_INVALID, candidate.summary);
    }
  }

  private read(cid: Cid): ReadMessage | null {
    const known = this.messages.get(cid);
    if (known !== undefined) return known;
    const block = this.store.block(cid);
    if (block === undefined) return null;
    this.readBytes += block.length;
    let header: SignedHeader | null = null;
    let refusal: Verdict | null = null;
    try {
      header = this.reader.headerOf(block);
    } catch (error) {
      refusal = rejectedBy(error);
    }
    const message: ReadMessage = {
      sizeBytes: block.length,
      header,
      refusal,
      block: null,
      isSigned: null,
      verifiedAt: undefined,
    };
    if (header !== null) this.hold(message, block);
    this.messages.set(cid, message);
    return message;
  }

  private hold(message: ReadMessage, block: Uint8Array): Uint8Array {
    message.block = block;
    this.holding.push(message);
    return block;
  }

  /** @returns false when the block that it takes is not available */
  private examine(entry: PlacedEntry, isNew: boolean): boolean {
    const message = this.read(entry.cid);
    if (message === null) return false;
    const { header, refusal, sizeBytes } = message;
    if (header === null) {
      this.write(entry, isNew, refusal ?? MISSING, null);
      return true;
    }
    const finding = examineHeader(this.deployment, this.store, entry, this.positionOf(entry), header, sizeBytes);
    if ("verdict" in finding) {
      this.write(entry, isNew, finding.verdict, finding.message);
      return true;
    }
    if (!this.claim(entry.cid, message, finding.publicKey)) return false;
    this.candidates.push({ entry, isNew, message, summary: finding.message });
    return true;
  }

  /**
   * Has the signature of a message verified, if it was not. A version has one key, so a message is signed at every place or at none.
   * @returns false when the block that it takes is not available
   */
  private claim(cid: Cid, message: ReadMessage, publicKey: Uint8Array): boolean {
    if (message.isSigned !== null || this.claims.has(message)) return true;
    let { block } = message;
    if (block === null) {
      const found = this.store.block(cid);
      if (found === undefined) return false;
      block = this.hold(message, found);
    }
    message.isSigned = this.reader.isSignedBy(block, publicKey);
    if (message.isSigned === null) this.claims.set(message, claimOf(decodeEnvelope(block), publicKey));
    return true;
  }

  /** A valid entry is verified at its first place, and a duplicate at all others. */
  private place({ entry, isNew, message, summary }: Candidate): void {
    const other = (message.verifiedAt ??= this.store.verifiedPlace(entry.cid) ?? null);
    if (other !== null && comparePlaces(other, entry) < 0) {
      this.write(entry, isNew, DUPLICATE, summary);
      return;
    }
    this.write(entry, isNew, VERIFIED, summary);
    message.verifiedAt = entry;
    if (other !== null) this.store.reviseEntry(other, entry.cid, DUPLICATE);
  }

  private write(entry: PlacedEntry, isNew: boolean, verdict: Verdict, summary: MessageSummary | null): void {
    if (isNew) this.store.addEntry(entry, verdict, summary);
    else this.store.decideEntry(entry, verdict, summary);
  }

  private positionOf({ anchorIndex }: PlacedEntry): Position {
    const known = this.positions.get(anchorIndex);
    if (known !== undefined) return known;
    const anchor = this.store.anchor(anchorIndex);
    if (anchor === undefined) throw new DmtpError("INTERNAL", "an entry without its anchor");
    this.positions.set(anchorIndex, anchor.position);
    return anchor.position;
  }
}
