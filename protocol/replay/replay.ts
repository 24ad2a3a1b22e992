/** A replay in memory: whole histories at once, or as their events and blocks come. */
import { verifyBlock, type Cid } from "../cid.ts";
import type { Entry } from "../entry.ts";
import type { ChainEvent } from "../event.ts";
import { KeyDirectory } from "../keys.ts";
import type { Tip } from "../manifest.ts";
import type { Deployment, RoomId } from "../room.ts";
import { State } from "../state.ts";
import type { RootedRoom } from "../state-tree.ts";
import { ReplayEngine, type ReplayOptions } from "./engine.ts";
import { MemoryStore, type Anchor, type BlockSource, type Settlement } from "./memory-store.ts";
import { FIRST_HEADS } from "./store.ts";

export class Replay {
  readonly deployment: Deployment;
  readonly keys: KeyDirectory;
  private readonly store: MemoryStore;
  private readonly engine: ReplayEngine;

  constructor(deployment: Deployment, options: ReplayOptions = {}) {
    this.deployment = deployment;
    this.keys = new KeyDirectory(deployment);
    this.store = new MemoryStore(this.keys);
    this.engine = new ReplayEngine(deployment, this.store, options);
  }

  /** Takes the next event, in chain order over both contracts. @throws CHAIN_INCOMPLETE when an anchor was left out */
  add(event: ChainEvent): void {
    this.engine.add(event);
  }

  /** Decides everything that the available blocks allow, and says what it decided. Cheap when nothing is undecided. */
  settle(get: BlockSource): Settlement {
    // Each block is asked for once: a source may lose one in between.
    const held = new Map<Cid, Uint8Array>();
    const source = checkedSource(get);
    this.store.source = (cid) => {
      const known = held.get(cid);
      if (known !== undefined) return known;
      const bytes = source(cid);
      if (bytes !== undefined) held.set(cid, bytes);
      return bytes;
    };
    for (const cid of this.missing()) if (this.store.block(cid) !== undefined) this.engine.receive(cid);
    for (const index of [...this.engine.waitingForHeads()]) this.engine.receiveHeads(index);
    while (this.engine.step());
    this.store.source = () => undefined;
    return this.store.takeSettlement();
  }

  /** The blocks that settle would need to go on, without duplicates. */
  missing(): Set<Cid> {
    const heads = [...this.missingHeads()].flatMap(({ cids }) => cids);
    return new Set([...this.missingParts(), ...heads, ...this.missingMessages()]);
  }

  /** The blocks of {@link missing} that anchors are made of: manifests, shards, and heads. */
  *missingParts(): Generator<Cid> {
    yield* this.store.missingManifests;
    yield* this.store.missingParts;
  }

  /** The heads in {@link missing} that are only of use to an anchor when all of its heads are there for the same {@link settle}. */
  *missingHeads(): Generator<{ readonly anchorIndex: number; readonly cids: readonly Cid[] }> {
    for (const index of this.engine.waitingForHeads()) {
      yield { anchorIndex: index, cids: this.engine.headsWantedAtOnce(index) };
    }
  }

  /** The blocks of {@link missing} that are listed as messages: each is decided as soon as it is there. */
  missingMessages(): Iterable<Cid> {
    return this.store.missingMessages;
  }

  /** The anchors that wait for this block, or list it as a message; none for a block that is not missing. */
  *anchorsNaming(cid: Cid): Generator<number> {
    let last: number | undefined;
    for (const { anchorIndex } of this.store.missingPlaces(cid, Number.POSITIVE_INFINITY)) {
      if (anchorIndex !== last) yield anchorIndex;
      last = anchorIndex;
    }
    for (const { anchorIndex } of this.store.partsAwaiting(cid, Number.POSITIVE_INFINITY)) yield anchorIndex;
    const own = this.store.firstAnchor(cid);
    if (own !== undefined) yield own;
  }

  /** The blocks that an anchor lacks: its manifest, or shards that are not listed, or heads that its account needs now. */
  lacks(index: number): readonly Cid[] {
    const anchor = this.anchors[index];
    if (anchor === undefined || anchor.event.cid === null) return [];
    if (anchor.manifest === null) return anchor.verdict.status === "missing" ? [anchor.event.cid] : [];
    const parts = this.store.openParts(index).flatMap(({ status, cid }) => (status === "missing" ? [cid] : []));
    return [...parts, ...this.engine.headsWantedAtOnce(index)];
  }

  /** Whether all is known that an anchor lists: its manifest and all its shards are here, or it lists nothing. */
  isListingWhole(index: number): boolean {
    const anchor = this.anchors[index];
    if (anchor === undefined || anchor.manifest === null) return anchor?.verdict.status !== "missing";
    return !this.store.openParts(index).some(({ part, status }) => part < FIRST_HEADS && status === "missing");
  }

  get anchors(): readonly Anchor[] {
    return this.store.anchors;
  }

  /** The verified manifest with the highest index: what the next one builds on. */
  get tip(): Tip | null {
    return this.anchors.findLast(({ tip }) => tip !== null)?.tip ?? null;
  }

  /** The state at the tip. */
  get state(): State {
    return this.tip?.state ?? State.EMPTY;
  }

  /** Every room that has an entry, by ascending id. */
  get rooms(): readonly RoomId[] {
    return [...this.store.rooms].sort();
  }

  /** A room's history, in its order: entries of all anchors, whatever their accounts. */
  entries(room: RoomId): readonly Entry[] {
    return this.store.entries(room);
  }

  /** What an anchor lists, by ordinal. */
  entriesByAnchor(anchorIndex: number): readonly Entry[] {
    return this.store.entriesByAnchor(anchorIndex);
  }

  /** Whether the anchor of an entry is verified: only then do counts, room roots and the state account for it. */
  isAccounted({ anchorIndex }: Pick<Entry, "anchorIndex">): boolean {
    return this.anchors[anchorIndex]?.verdict.status === "verified";
  }

  /** Whether a message has a verified entry, in whatever room and anchor. */
  isVerified(cid: Cid): boolean {
    return this.store.verifiedPlace(cid) !== undefined;
  }

  roomState(room: RoomId): RootedRoom | undefined {
    return this.state.room(room);
  }
}

/** Replays a whole history at once: events in chain order, and whatever blocks there are. */
export function replay(
  deployment: Deployment,
  events: Iterable<ChainEvent>,
  get: BlockSource,
  options: ReplayOptions = {},
): Replay {
  const replayed = new Replay(deployment, options);
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
