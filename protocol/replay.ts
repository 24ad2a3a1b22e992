/**
 * The replay (SPEC 8): from chain events and block bytes to rooms, verdicts and roots. The indexer, `audit`, `history` and a
 * browser run this same code. It has no clock and no memory but its input: the same events and blocks give the same result
 * in any order of arrival.
 */
import { UNDECIDED, verifyAnchor, type Anchor, type BlockSource, type EarlierAnchor } from "./anchor.ts";
import { verifyBlock, type Cid } from "./cid.ts";
import { primitives } from "./crypto/provider.ts";
import type { SignatureClaim } from "./crypto/primitives.ts";
import { ClaimList } from "./claim-list.ts";
import {
  claimOf,
  compareEntries,
  DUPLICATE,
  examineEntry,
  SIGNATURE_INVALID,
  type Entry,
  type MessageSummary,
} from "./entry.ts";
import { DmtpError } from "./error.ts";
import type { AnchorEvent, ChainEvent } from "./event.ts";
import { KeyDirectory } from "./keys.ts";
import { LineStates } from "./line-states.ts";
import type { Tip } from "./manifest.ts";
import type { Deployment, RoomId } from "./room.ts";
import { State } from "./state.ts";
import type { RootedRoom } from "./state-tree.ts";
import { MISSING, VERIFIED } from "./verdict.ts";

/** What a call to {@link Replay.settle} decided. */
export interface Settlement {
  readonly anchors: readonly Anchor[];
  readonly entries: readonly Entry[];
}

export type SignatureVerifier = (claims: readonly SignatureClaim[]) => boolean[];

export class Replay {
  readonly deployment: Deployment;
  readonly keys: KeyDirectory;
  private readonly verifySignatures: SignatureVerifier;
  private readonly anchorList: Anchor[] = [];
  private readonly states = new LineStates();
  private readonly firstIndexOf = new Map<Cid, number>();
  private readonly entriesByRoom = new Map<RoomId, Entry[]>();
  private readonly entriesByAnchor = new Map<number, Entry[]>();
  /** The one place of a room's CID that is verified: the first in chain order that can be. */
  private readonly verifiedPlaceOf = new Map<string, Entry>();
  /** By ascending index. */
  private undecidedAnchors: number[] = [];
  private undecidedEntries: Entry[] = [];

  /** @param verifySignatures a pure function; one that remembers makes many replays of one history quick */
  constructor(
    deployment: Deployment,
    verifySignatures: SignatureVerifier = (claims) => primitives.ed25519Verify(claims),
  ) {
    this.deployment = deployment;
    this.keys = new KeyDirectory(deployment);
    this.verifySignatures = verifySignatures;
  }

  /** Takes the next event, in chain order over both contracts. */
  add(event: ChainEvent): void {
    if (event.kind !== "anchor") {
      this.keys.add(event);
      return;
    }
    if (event.index !== this.anchorList.length) {
      throw new DmtpError(
        "CHAIN_INCOMPLETE",
        `anchor ${event.index} came where anchor ${this.anchorList.length} was due`,
      );
    }
    if (event.cid !== null && !this.firstIndexOf.has(event.cid)) this.firstIndexOf.set(event.cid, event.index);
    this.anchorList.push({ event, ...UNDECIDED });
    this.undecidedAnchors.push(event.index);
  }

  /** Decides everything that the blocks at hand allow, and says what it decided. Cheap when nothing is undecided. */
  settle(get: BlockSource): Settlement {
    const source = checkedSource(get);
    const anchors: Anchor[] = [];
    const earlier = (index: number): EarlierAnchor | undefined => {
      const anchor = this.anchorList[index];
      return anchor && { cid: anchor.event.cid, verdict: anchor.verdict, tip: anchor.tip };
    };
    this.undecidedAnchors = this.undecidedAnchors.filter((index) => {
      const undecided = this.anchorList[index];
      if (undecided === undefined) return false;
      // It lacks what it lacked: to look at it again would be to hash all the rest of it again.
      if (undecided.wants.length > 0 && undecided.wants.every((cid) => get(cid) === undefined)) return true;
      const { event } = undecided;
      const repeated = event.cid !== null && this.firstIndexOf.get(event.cid) !== index;
      const anchor = this.withKeptState({ event, ...verifyAnchor(event, earlier, repeated, source) });
      this.anchorList[index] = anchor;
      if (anchor.verdict.status === "missing") return true;
      anchors.push(anchor);
      if (anchor.verdict.status === "verified") this.list(anchor);
      return false;
    });
    return { anchors, entries: this.settleEntries(source) };
  }

  /** The blocks that settle would need to go on, without duplicates. */
  missing(): Set<Cid> {
    const wanted = new Set<Cid>();
    for (const index of this.undecidedAnchors) for (const cid of this.anchorList[index]?.wants ?? []) wanted.add(cid);
    for (const cid of this.missingMessages()) wanted.add(cid);
    return wanted;
  }

  /** Of {@link missing}, those that a verified anchor lists as messages, once for each place: each is decided as soon as it is there. */
  *missingMessages(): Generator<Cid> {
    for (const { cid } of this.undecidedEntries) yield cid;
  }

  get anchors(): readonly Anchor[] {
    return this.anchorList;
  }

  /** The verified manifest with the highest index: what the next one builds on. */
  get tip(): Tip | null {
    return this.anchorList.findLast(({ tip }) => tip !== null)?.tip ?? null;
  }

  /** The state at the tip. */
  get state(): State {
    return this.tip?.state ?? State.EMPTY;
  }

  /** Every room that a verified anchor lists, by ascending id. */
  get rooms(): readonly RoomId[] {
    return [...this.entriesByRoom.keys()].sort();
  }

  /** A room's history, in chain order. */
  entries(room: RoomId): readonly Entry[] {
    return this.entriesByRoom.get(room) ?? [];
  }

  entriesOf(anchorIndex: number): readonly Entry[] {
    return this.entriesByAnchor.get(anchorIndex) ?? [];
  }

  roomState(room: RoomId): RootedRoom | undefined {
    return this.state.room(room);
  }

  /** The anchor, with a tip that has its state where states are kept. */
  private withKeptState(anchor: Anchor): Anchor {
    const { tip, delta, manifest } = anchor;
    if (tip === null || delta === null) return anchor;
    const { states } = this;
    const { index, cid, seq } = tip;
    states.add(index, { base: manifest?.base?.index ?? null, delta }, tip.state);
    return {
      ...anchor,
      tip: {
        index,
        cid,
        seq,
        get state() {
          return states.at(index);
        },
      },
    };
  }

  /** Puts a newly verified anchor's entries into their rooms. */
  private list({ event, delta }: Anchor): void {
    if (delta === null) return;
    const listed: Entry[] = [];
    for (const [room, cids] of delta) {
      const entries = this.entriesByRoom.get(room) ?? [];
      if (entries.length === 0) this.entriesByRoom.set(room, entries);
      for (const cid of cids) {
        const entry: Entry = {
          room,
          cid,
          anchorIndex: event.index,
          ordinal: listed.length,
          verdict: MISSING,
          message: null,
        };
        entries.push(entry);
        listed.push(entry);
      }
      // An anchor whose blocks came late stands before later ones all the same.
      const last = entries.at(-1 - cids.length);
      if (last !== undefined && last.anchorIndex > event.index) entries.sort(compareEntries);
    }
    this.entriesByAnchor.set(event.index, listed);
    for (const entry of listed) this.undecidedEntries.push(entry);
  }

  private settleEntries(get: BlockSource): Entry[] {
    const settled: Entry[] = [];
    const claims = new ClaimList();
    const claimants: { readonly entry: Entry; readonly message: MessageSummary; readonly claim: number }[] = [];
    const missing: Entry[] = [];
    for (const entry of this.undecidedEntries) {
      const block = get(entry.cid);
      if (block === undefined) {
        missing.push(entry);
        continue;
      }
      const finding = examineEntry(this.deployment, this.keys, entry, this.positionOf(entry), block);
      if ("envelope" in finding) {
        const claim = claims.add(entry.cid, finding.publicKey, () => claimOf(finding.envelope, finding.publicKey));
        claimants.push({ entry, message: finding.message, claim });
      } else {
        entry.verdict = finding.verdict;
        entry.message = finding.message;
        settled.push(entry);
      }
    }
    const valid = this.verifySignatures(claims.claims);
    const signed: Entry[] = [];
    claimants.forEach(({ entry, message, claim }) => {
      entry.message = message;
      if (valid[claim] === true) signed.push(entry);
      else entry.verdict = SIGNATURE_INVALID;
      settled.push(entry);
    });
    for (const entry of signed.sort(compareEntries)) settled.push(...this.place(entry));
    this.undecidedEntries = missing;
    return settled;
  }

  /** A valid entry is verified at its first place and a duplicate at all others. @returns the entry that gave way to it */
  private place(entry: Entry): Entry[] {
    const key = entry.room + entry.cid;
    const other = this.verifiedPlaceOf.get(key);
    if (other !== undefined && compareEntries(other, entry) < 0) {
      entry.verdict = DUPLICATE;
      return [];
    }
    this.verifiedPlaceOf.set(key, entry);
    entry.verdict = VERIFIED;
    if (other === undefined) return [];
    other.verdict = DUPLICATE;
    return [other];
  }

  private positionOf(entry: Entry): AnchorEvent {
    const anchor = this.anchorList[entry.anchorIndex];
    if (anchor === undefined) throw new DmtpError("INTERNAL", "an entry without its anchor");
    return anchor.event;
  }
}

/** Replays a whole history at once: events in chain order, and whatever blocks there are. */
export function replay(deployment: Deployment, events: Iterable<ChainEvent>, get: BlockSource): Replay {
  const replayed = new Replay(deployment);
  for (const event of events) replayed.add(event);
  replayed.settle(get);
  return replayed;
}

/** Bytes that are not what was asked for, or too many of them, are as good as none. */
function checkedSource(get: BlockSource): BlockSource {
  return (cid) => {
    const bytes = get(cid);
    if (bytes === undefined) return undefined;
    try {
      return verifyBlock(cid, bytes);
    } catch {
      return undefined;
    }
  };
}
