/**
 * The heads blocks that anchors wait for. They are wanted one by one, and kept as they come; where the store has no room for one of
 * them, all of that anchor's are let go, and have to be available at the same time once its base is decided. So no block is asked for
 * over and over, however much anchors that cannot be decided keep the store full.
 */
import type { Cid } from "../cid.ts";
import type { Manifest } from "../manifest.ts";
import { FIRST_HEADS, type OpenPart, type ReplayStore } from "./store.ts";

export class WantedHeads {
  private readonly store: ReplayStore;
  /** Anchors of whose account only heads are missing. */
  private readonly needed = new Set<number>();
  /** Anchors of whose heads not all could be kept. */
  private readonly atOnce = new Set<number>();

  constructor(store: ReplayStore) {
    this.store = store;
  }

  /** Wants those of an anchor whose base is not decided yet, so that a line of a thousand anchors is not a thousand rounds. */
  fetchAhead(anchorIndex: number, { heads }: Manifest): void {
    if (this.atOnce.has(anchorIndex)) return;
    const { store } = this;
    const wanted = new Set(store.openParts(anchorIndex).map(({ part }) => part));
    for (const [number, cid] of heads.entries()) {
      const part: OpenPart = { anchorIndex, part: FIRST_HEADS + number, cid, status: "missing", refusal: null };
      if (wanted.has(part.part)) continue;
      const block = store.block(cid);
      if (block === undefined) store.setPart(part);
      else if (!this.keep(part, block)) return;
    }
  }

  /** Wants those of an anchor whose account was found to lack them. */
  fetchNow(anchorIndex: number, manifest: Manifest): void {
    this.needed.add(anchorIndex);
    this.fetchAhead(anchorIndex, manifest);
  }

  /** Keeps a block that was wanted, or lets all of that anchor's heads go. */
  take(part: OpenPart, block: Uint8Array): void {
    if (this.keep(part, block)) this.store.deletePart(part);
  }

  /** Whether an account cannot go on: it was found to lack heads, and not all of them are available now. */
  isLacking(anchorIndex: number, { heads }: Manifest): boolean {
    if (!this.needed.has(anchorIndex)) return false;
    if (this.atOnce.has(anchorIndex)) return heads.some((cid) => this.store.block(cid) === undefined);
    return this.store.openParts(anchorIndex).some(({ part }) => part >= FIRST_HEADS);
  }

  /** The anchors that wait for all of their heads to be available at the same time. */
  *waitingForAll(): Generator<number> {
    for (const index of this.atOnce) if (this.needed.has(index)) yield index;
  }

  /** All heads of such an anchor, also what is kept for others: that is let go when they are decided. None of any other anchor. */
  wantedAtOnce(anchorIndex: number): readonly Cid[] {
    if (!this.atOnce.has(anchorIndex) || !this.needed.has(anchorIndex)) return [];
    return [...new Set(this.store.anchor(anchorIndex)?.manifest?.heads ?? [])];
  }

  /** It is decided. */
  forget(anchorIndex: number): void {
    this.needed.delete(anchorIndex);
    this.atOnce.delete(anchorIndex);
  }

  private keep({ anchorIndex, cid }: OpenPart, block: Uint8Array): boolean {
    const { store } = this;
    if (store.keepBlock(anchorIndex, cid, block)) return true;
    this.atOnce.add(anchorIndex);
    for (const part of store.openParts(anchorIndex)) if (part.part >= FIRST_HEADS) store.deletePart(part);
    return false;
  }
}
