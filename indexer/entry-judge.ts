/** The verdicts on messages (SPEC 8.4), each given when its block is here; their signatures are verified many at once. */
import type { Cid } from "../protocol/cid.ts";
import { ClaimList } from "../protocol/claim-list.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import {
  claimOf,
  compareEntries,
  DUPLICATE,
  examineHeader,
  SIGNATURE_INVALID,
  type HeaderFinding,
  type MessageSummary,
  type SignedHeader,
} from "../protocol/entry.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";
import { DmtpError } from "../protocol/error.ts";
import type { Position } from "../protocol/event.ts";
import type { KeySource } from "../protocol/keys.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import type { Delta } from "../protocol/state.ts";
import { MISSING, rejectedBy, VERIFIED, type Verdict } from "../protocol/verdict.ts";
import type { MessageReader } from "./message-reader.ts";
import type { MissingContent } from "./missing-content.ts";
import type { AnchorRows } from "./store/anchor-rows.ts";
import type { CidRows } from "./store/cid-rows.ts";
import type { ChangeLog } from "./store/change-log.ts";
import type { ContentCache } from "./store/content-cache.ts";
import type { EntryRows, PlacedEntry } from "./store/entry-rows.ts";
import type { RoomRows } from "./store/room-rows.ts";

export interface EntryJudgeOptions {
  readonly deployment: Deployment;
  readonly anchors: AnchorRows;
  readonly rows: EntryRows;
  readonly cids: CidRows;
  readonly rooms: RoomRows;
  readonly keys: KeySource;
  readonly content: ContentCache;
  readonly missing: MissingContent;
  readonly changes: ChangeLog;
  readonly reader: MessageReader;
  /** Called with the room of each entry that was decided. */
  readonly onDecision: (room: RoomId) => void;
}

/** An entry of which only the signature is left to decide, or not even that. */
interface Claimant {
  readonly entry: PlacedEntry;
  /** It has no row yet. */
  readonly isNew: boolean;
  /** It is the only place of its message that has a row. */
  readonly isAlone: boolean;
  readonly message: MessageSummary;
  /** Its place among the claims; null when the signature is known to be good. */
  readonly claim: number | null;
}

/** So many wait for each other at most: each holds its block's bytes. */
const MAX_CLAIMANTS = 4_096;
/** Places that are known to be their messages' only ones; of others, the rows are asked. */
const MAX_ALONE = 65_536;

export class EntryJudge {
  private readonly options: EntryJudgeOptions;
  private claimants: Claimant[] = [];
  private claims = new ClaimList();
  private readonly positions = new Map<number, Position>();
  private readonly alone = new Map<Cid, PlacedEntry>();

  /** Waits for what the rows say. */
  constructor(options: EntryJudgeOptions) {
    this.options = options;
    for (const { cid, anchorIndex } of options.rows.missing()) options.missing.add([cid], "message", anchorIndex);
  }

  /** Takes the messages of a newly verified anchor. */
  list(anchorIndex: number, delta: Delta): void {
    const { cids: cidRows, content, missing, rooms } = this.options;
    let ordinal = 0;
    for (const [room, cids] of delta) {
      const roomNumber = rooms.add(room);
      for (const cid of cids) {
        const { id: cidId, isNew } = cidRows.add(cid);
        const place = { anchorIndex, ordinal: ordinal++, room, cid };
        const entry: PlacedEntry = { ...place, roomNumber, cidId, status: "missing" };
        if (!isNew) this.alone.delete(cid);
        const block = content.take(cid, cidId) ?? (isNew || missing.has(cid) ? undefined : content.get(cid));
        if (block === undefined) {
          missing.add([cid], "message", anchorIndex);
          if (isNew) this.keepAlone(entry);
          this.write(entry, true, MISSING, null);
        } else {
          this.examine(entry, true, isNew, block);
        }
      }
    }
  }

  receive(cid: Cid, block: Uint8Array): void {
    const only = this.alone.get(cid);
    if (only !== undefined) {
      this.alone.delete(cid);
      this.examine(only, false, true, block);
      return;
    }
    const places = this.options.rows.placesOf(cid);
    for (const entry of places) {
      if (entry.status === "missing") this.examine(entry, false, places.length === 1, block);
    }
  }

  private keepAlone(entry: PlacedEntry): void {
    // The newest are fetched first.
    if (this.alone.size >= MAX_ALONE) this.alone.clear();
    this.alone.set(entry.cid, entry);
  }

  /** Decides what only waits for its signature to be verified. */
  settle(): void {
    const { claimants, claims } = this;
    this.claimants = [];
    this.claims = new ClaimList();
    const valid = primitives.ed25519Verify(claims.claims);
    const signed: Claimant[] = [];
    for (const claimant of claimants) {
      if (claimant.claim === null || valid[claimant.claim] === true) signed.push(claimant);
      else this.write(claimant.entry, claimant.isNew, SIGNATURE_INVALID, claimant.message);
    }
    const byMessage = new Map<Cid, number>();
    // No message has two places that are both its only one.
    if (!signed.every(({ isAlone }) => isAlone))
      for (const { entry } of signed) byMessage.set(entry.cid, (byMessage.get(entry.cid) ?? 0) + 1);
    for (const { entry, isNew, isAlone, message } of signed.sort((a, b) => compareEntries(a.entry, b.entry))) {
      if (isAlone && (byMessage.get(entry.cid) ?? 1) === 1) this.write(entry, isNew, VERIFIED, message);
      else this.place(entry, isNew, message);
    }
    this.positions.clear();
  }

  private examine(entry: PlacedEntry, isNew: boolean, isAlone: boolean, block: Uint8Array): void {
    const { reader } = this.options;
    const finding = this.findingOf(entry, block);
    if ("verdict" in finding) {
      this.write(entry, isNew, finding.verdict, finding.message);
      return;
    }
    const { publicKey, message } = finding;
    const isSigned = reader.isSignedBy(block, publicKey);
    if (isSigned === false) {
      this.write(entry, isNew, SIGNATURE_INVALID, message);
      return;
    }
    const claim =
      isSigned === true ? null : this.claims.add(entry.cid, publicKey, () => claimOf(decodeEnvelope(block), publicKey));
    this.claimants.push({ entry, isNew, isAlone, message, claim });
    if (this.claimants.length >= MAX_CLAIMANTS) this.settle();
  }

  private findingOf(entry: PlacedEntry, block: Uint8Array): HeaderFinding {
    const { deployment, keys, reader } = this.options;
    let header: SignedHeader;
    try {
      header = reader.headerOf(block);
    } catch (error) {
      return { verdict: rejectedBy(error), message: null };
    }
    return examineHeader(deployment, keys, entry, this.positionOf(entry), header, block.length);
  }

  /** A valid entry is verified at its first place and a duplicate at all others. */
  private place(entry: PlacedEntry, isNew: boolean, message: MessageSummary): void {
    const { rows, changes } = this.options;
    const other = rows.placesOf(entry.cid).find(({ room, status }) => room === entry.room && status === "verified");
    if (other === undefined || compareEntries(entry, other) < 0) {
      this.write(entry, isNew, VERIFIED, message);
      if (other === undefined) return;
      rows.revise(other, DUPLICATE);
      this.record(other, DUPLICATE, changes);
    } else {
      this.write(entry, isNew, DUPLICATE, message);
    }
  }

  private write(entry: PlacedEntry, isNew: boolean, verdict: Verdict, message: MessageSummary | null): void {
    const { rows, changes, onDecision } = this.options;
    if (isNew) rows.add(entry, verdict, message);
    else rows.decide(entry, verdict, message);
    this.record(entry, verdict, changes);
    if (verdict.status !== "missing") onDecision(entry.room);
  }

  private record(entry: PlacedEntry, { status }: Verdict, changes: ChangeLog): void {
    const { anchorIndex, ordinal } = entry;
    changes.record({ kind: "message", index: anchorIndex, ordinal }, status, this.positionOf(entry).blockNumber);
  }

  private positionOf({ anchorIndex }: PlacedEntry): Position {
    let position = this.positions.get(anchorIndex);
    if (position === undefined) {
      position = this.options.anchors.position(anchorIndex);
      if (position === undefined) throw new DmtpError("INTERNAL", "an entry without its anchor");
      this.positions.set(anchorIndex, position);
    }
    return position;
  }
}
