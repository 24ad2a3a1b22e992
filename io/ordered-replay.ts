/**
 * A replay (SPEC 8) in the order of the chain, of blocks that are either available now or nowhere: each anchor is decided, and each of its entries
 * told, before the next is looked at, so that memory does not grow with what was said.
 */
import type { Cid } from "../protocol/cid.ts";
import type { Entry } from "../protocol/entry.ts";
import type { AnchorEvent, ChainEvent } from "../protocol/event.ts";
import type { KeyDirectory } from "../protocol/keys.ts";
import { ReplayEngine } from "../protocol/replay/engine.ts";
import { FIRST_HEADS, type OpenPart } from "../protocol/replay/store.ts";
import type { Deployment } from "../protocol/room.ts";
import { State } from "../protocol/state.ts";
import type { Verdict } from "../protocol/verdict.ts";
import { forEachConcurrent } from "./concurrent.ts";
import type { ContentStore } from "./content/store.ts";
import { verified } from "./content/verified.ts";
import { StreamingStore } from "./streaming-store.ts";

/** An anchor with the verdict on it. */
interface OrderedAnchor {
  readonly event: AnchorEvent;
  readonly verdict: Verdict;
}

type Source = Pick<ContentStore, "get">;

/** Messages in memory at once. */
const AHEAD = 256;
const CONCURRENT = 64;

export class OrderedReplay {
  private readonly content: Source;
  private readonly store: StreamingStore;
  private readonly engine: ReplayEngine;
  private readonly events: AnchorEvent[] = [];

  /** @param onEntry gets each entry once, in the order of the history */
  constructor(deployment: Deployment, content: Source, onEntry: (entry: Entry) => void) {
    this.content = content;
    this.store = new StreamingStore(deployment, onEntry);
    this.engine = new ReplayEngine(deployment, this.store);
  }

  /** By index. */
  get anchors(): readonly OrderedAnchor[] {
    return this.events.map((event, index) => ({ event, verdict: this.verdict(index) }));
  }

  /** Every key so far. */
  get keys(): KeyDirectory {
    return this.store.keys;
  }

  /** Takes the next event, in chain order. @throws CONTENT_UNREACHABLE */
  async take(event: ChainEvent): Promise<void> {
    this.engine.add(event);
    if (event.kind !== "anchor") return;
    this.events.push(event);
    const { index, cid } = event;
    if (cid === null || this.verdict(index).status !== "missing") return;
    await this.offer([cid]);
    for (const part of this.store.openParts(index)) {
      if (part.part >= FIRST_HEADS) continue;
      await this.offer([part.cid], [part]);
      await this.judge();
    }
    await this.offerHeads(index);
    this.store.endAnchor(index);
  }

  /** The state at the verified anchor with the highest index. */
  state(): State {
    const tip = this.events.findLastIndex((_, index) => this.verdict(index).status === "verified");
    return tip === -1 ? State.EMPTY : this.store.state(tip);
  }

  /** Whether a message has a verified entry so far, in whatever room and anchor. */
  isVerified(cid: Cid): boolean {
    return this.store.verifiedPlace(cid) !== undefined;
  }

  /** Counts a rejected entry of a message that is not verified so far. */
  noteRejected(cid: Cid): void {
    this.store.noteRejected(cid);
  }

  /** How many entries that were noted as rejected are of messages that are verified by now. */
  countMended(): number {
    return this.store.countMended();
  }

  close(): void {
    this.store.close();
  }

  /** Has what a shard lists judged, some messages at a time. */
  private async judge(): Promise<void> {
    const cids = [...this.store.missingMessages];
    for (let start = 0; start < cids.length; start += AHEAD) await this.offer(cids.slice(start, start + AHEAD));
    this.store.tell();
  }

  /** Has an anchor's account verified, if it waits for its heads. */
  private async offerHeads(index: number): Promise<void> {
    const manifest = this.store.anchor(index)?.manifest ?? null;
    const parts = this.store.openParts(index).filter(({ part }) => part >= FIRST_HEADS);
    if (manifest === null || parts.length === 0) return;
    // Nobody will come with a base that is missing, so the heads of what builds on it are not needed.
    if (manifest.base !== null && this.verdict(manifest.base.index).status === "missing") return;
    // The account takes all of them, also one that was available as a shard when it was first asked for.
    await this.offer(manifest.heads, parts);
  }

  /**
   * Has the engine work with these blocks, as far as the source has them.
   * @param parts those of the current anchor that the blocks are fetched for; none for a manifest and for messages
   */
  private async offer(cids: readonly Cid[], parts: readonly OpenPart[] = []): Promise<void> {
    const found = new Map<Cid, Uint8Array>();
    await forEachConcurrent(cids, CONCURRENT, async (cid) => {
      const bytes = verified(cid, await this.content.get(cid));
      if (bytes !== null) found.set(cid, bytes);
    });
    this.store.blocks = found;
    this.store.fetchedParts = new Set(parts.map(({ part }) => part));
    for (const cid of found.keys()) this.engine.receive(cid);
    while (this.engine.step());
    this.store.blocks = new Map();
  }

  private verdict(index: number): Verdict {
    return this.store.anchors[index]?.verdict ?? { status: "missing" };
  }
}
