/**
 * The replay (SPEC 8): from chain events and block bytes to entries, verdicts and states. `audit`, `history`, the mailbox, the indexer
 * and a browser all run this engine, each on a store of its own. It has no clock, and no memory but its store: the same events and
 * blocks give the same result in any order of arrival.
 *
 * Work is done in bounded steps, so that no anchor holds up whoever shares the thread: one step lists or judges at most 128 places,
 * or takes an account a thousand entries further.
 */
import type { Cid } from "../cid.ts";
import { DmtpError } from "../error.ts";
import type { AnchorEvent, ChainEvent } from "../event.ts";
import { verifyKey } from "../keys.ts";
import { decodeManifest, type Manifest } from "../manifest.ts";
import type { Deployment, RoomId } from "../room.ts";
import { State } from "../state.ts";
import { MISSING, rejected, rejectedBy, type Verdict } from "../verdict.ts";
import { verifyAccount, verifyBase, type AccountFinding } from "./account.ts";
import { EntryJudge, type EntryJudgeOptions } from "./entry-judge.ts";
import { listShard, STEP_PLACES } from "./listing.ts";
import { FIRST_HEADS, type OpenPart, type ReplayStore, type StoredAnchor } from "./store.ts";
import { TaskQueue } from "./task-queue.ts";
import { WantedHeads } from "./wanted-heads.ts";

export interface ReplayOptions extends Omit<EntryJudgeOptions, "deployment" | "store"> {
  /** Only this room's entries are listed, and no anchor gets a verdict: that would take the messages of all rooms. */
  readonly onlyRoom?: RoomId;
}

/** Work that is left to do. It can all be found again from the store. */
type Task =
  /** A block is available: whatever waits for it goes on. */
  | { readonly kind: "arrival"; readonly cid: Cid }
  /** A shard is available, and its entries are to be listed. */
  | { readonly kind: "listing"; readonly part: OpenPart; run: Generator<undefined, void> | null }
  | { readonly kind: "account"; readonly index: number; run: Generator<undefined, AccountFinding> | null }
  /** An anchor has its verdict: those that build on it can have theirs. */
  | { readonly kind: "decision"; readonly index: number; after: number };

/** Anchors or parts that one step looks at. */
const STEP_ANCHORS = 64;
const LISTING_PAGE = 1_024;

export class ReplayEngine {
  private readonly deployment: Deployment;
  private readonly store: ReplayStore;
  private readonly onlyRoom: RoomId | null;
  private readonly entries: EntryJudge;
  private readonly tasks = new TaskQueue<Task>();
  /** Anchors whose account is a task. */
  private readonly accounts = new Set<number>();
  private readonly heads: WantedHeads;

  constructor(deployment: Deployment, store: ReplayStore, options: ReplayOptions = {}) {
    const { onlyRoom = null, ...judging } = options;
    this.deployment = deployment;
    this.store = store;
    this.onlyRoom = onlyRoom;
    this.entries = new EntryJudge({ ...judging, deployment, store });
    this.heads = new WantedHeads(store);
  }

  /** Whether {@link step} has nothing to do. */
  get isIdle(): boolean {
    return this.tasks.isEmpty;
  }

  /** Takes the next event, in chain order over both contracts. Of an anchor, all but its manifest is left to {@link step}. */
  add(event: ChainEvent): void {
    const { store } = this;
    if (event.kind === "key") store.addKey(verifyKey(this.deployment, event, store.hasSigned(event.wallet)));
    else if (event.kind === "revocation") store.addRevocation(event);
    else this.addAnchor(event);
  }

  /** A block is available that was not before: `store.block` gives it. What waits for it is left to {@link step}. */
  receive(cid: Cid): void {
    this.tasks.push({ kind: "arrival", cid });
  }

  /** Goes on with what the end of a process cut short: shards that are available, and anchors that lack nothing of their own. */
  resume(parts: Iterable<OpenPart>, undecided: Iterable<number>): void {
    for (const part of parts) this.takePart(part);
    for (const index of undecided) this.consider(index);
  }

  /** The anchors that wait for all of their heads to be available at the same time. */
  waitingForHeads(): Iterable<number> {
    return this.heads.waitingForAll();
  }

  /** All heads of such an anchor; none of any other. */
  headsWantedAtOnce(index: number): readonly Cid[] {
    return this.heads.wantedAtOnce(index);
  }

  /** Goes on with such an anchor, if its heads are available. */
  receiveHeads(index: number): void {
    this.consider(index);
  }

  /** Does one piece of the work that is left. @returns whether there was any */
  step(): boolean {
    const task = this.tasks.first;
    if (task === undefined) return false;
    if (task.kind === "arrival") this.arrive();
    else if (this.advance(task)) this.tasks.shift();
    return true;
  }

  /** Takes a task one step further. @returns whether it has come to its end */
  private advance(task: Exclude<Task, { readonly kind: "arrival" }>): boolean {
    switch (task.kind) {
      case "listing":
        return this.list(task);
      case "account":
        return this.account(task);
      case "decision":
        return this.spread(task);
    }
  }

  private addAnchor(event: AnchorEvent): void {
    const { index, cid } = event;
    const { store } = this;
    const isRepeated = cid !== null && store.firstAnchor(cid) !== undefined;
    if (cid === null) store.addAnchor(event, rejected("CID_NOT_CANONICAL", "the anchored text is not a DMTP CID"));
    else if (isRepeated) store.addAnchor(event, rejected("ANCHOR_REPEATED", "the same CID was anchored before"));
    else {
      store.addAnchor(event, MISSING);
      this.takeManifest(index);
    }
  }

  /** Takes blocks that came one after the other: messages of several share a step, and the verification of their signatures. */
  private arrive(): void {
    let places = 0;
    while (places < STEP_PLACES && !this.entries.isFull) {
      const task = this.tasks.first;
      if (task?.kind !== "arrival") break;
      const { cid } = task;
      if (this.store.block(cid) === undefined) {
        this.tasks.shift();
        continue;
      }
      const mayBePart = this.store.mayBePartOfAnchor(cid);
      const first = mayBePart ? this.store.firstAnchor(cid) : undefined;
      if (first !== undefined) this.takeManifest(first);
      const parts = mayBePart ? this.store.partsAwaiting(cid, STEP_ANCHORS) : [];
      for (const part of parts) this.takePart(part);
      const limit = STEP_PLACES - places;
      const missing = this.store.missingPlaces(cid, limit);
      for (const entry of missing) this.entries.receive(entry);
      // A block that nothing waits for costs a look, too.
      places += Math.max(1, missing.length);
      // What is not done stays first.
      if (parts.length === STEP_ANCHORS || missing.length === limit) break;
      this.tasks.shift();
    }
    this.entries.decide();
  }

  /** Reads an anchor's manifest, if it is available and was not before. */
  private takeManifest(index: number): void {
    const { store } = this;
    const anchor = store.anchor(index);
    if (anchor?.verdict.status !== "missing" || anchor.cid === null || anchor.manifest !== null) return;
    const block = store.block(anchor.cid);
    if (block === undefined) return;
    let manifest: Manifest;
    try {
      manifest = decodeManifest(block);
    } catch (error) {
      this.decide(index, rejectedBy(error));
      return;
    }
    store.setManifest(index, manifest);
    manifest.rooms.forEach((cid, part) => {
      this.takePart({ anchorIndex: index, part, cid, status: "missing", refusal: null });
    });
    this.consider(index);
  }

  /** Goes on with a part, if its block is available; else notes that it is missing. */
  private takePart(part: OpenPart): void {
    const { store } = this;
    const block = store.block(part.cid);
    if (block === undefined) store.setPart({ ...part, status: "missing" });
    else if (part.part < FIRST_HEADS) {
      const listing: OpenPart = { ...part, status: "listing" };
      store.setPart(listing);
      this.tasks.push({ kind: "listing", part: listing, run: null });
    } else {
      this.heads.take(part, block);
      this.consider(part.anchorIndex);
    }
  }

  /** @returns whether all of the shard is listed, or none of it will be */
  private list(task: Task & { readonly kind: "listing" }): boolean {
    task.run ??= this.listSteps(task.part);
    return task.run.next().done === true;
  }

  private *listSteps(part: OpenPart): Generator<undefined, void> {
    const { store, entries, onlyRoom } = this;
    const block = store.block(part.cid);
    if (block === undefined) {
      store.setPart({ ...part, status: "missing" });
      return;
    }
    const refusal = yield* listShard({ part, block, store, entries, onlyRoom });
    const isUndecided = store.anchor(part.anchorIndex)?.verdict.status === "missing";
    if (refusal !== null && isUndecided) store.setPart({ ...part, status: "refused", refusal });
    else store.deletePart(part);
    this.consider(part.anchorIndex);
  }

  /** Gives the verdicts that need no entries. Begins to verify the account once all entries are listed. */
  private consider(index: number): void {
    if (this.onlyRoom !== null || this.accounts.has(index)) return;
    const { store } = this;
    const anchor = store.anchor(index);
    if (anchor?.verdict.status !== "missing" || anchor.manifest === null) return;
    const { base } = anchor.manifest;
    const builtOn = base === null || base.index >= index ? undefined : store.anchor(base.index);
    const onBase = verifyBase(index, anchor.manifest, builtOn);
    if (onBase?.status === "rejected") {
      this.decide(index, onBase);
      return;
    }
    const open = store.openParts(index);
    const shards = open.filter(({ part }) => part < FIRST_HEADS);
    if (shards.some(({ status }) => status !== "refused")) return;
    if (onBase === null) {
      if (open.length === 0) this.heads.fetchAhead(index, anchor.manifest);
      return;
    }
    // Until it was counted, heads that are missing decide nothing: a wrong count does, with or without them.
    if (this.heads.isLacking(index, anchor.manifest)) return;
    const refusal = shards[0]?.refusal ?? null;
    if (refusal !== null) {
      this.decide(index, refusal);
      return;
    }
    this.accounts.add(index);
    this.tasks.push({ kind: "account", index, run: null });
  }

  /** @returns whether it has come to an end */
  private account(task: Task & { readonly kind: "account" }): boolean {
    const { store } = this;
    const { index } = task;
    task.run ??= this.beginAccount(index, store.anchor(index));
    const { done, value } = task.run.next();
    if (done !== true) return false;
    this.accounts.delete(index);
    if ("verdict" in value) this.decide(index, value.verdict);
    else this.heads.fetchNow(index, value.lacking);
    return true;
  }

  private *beginAccount(anchorIndex: number, anchor: StoredAnchor | undefined): Generator<undefined, AccountFinding> {
    const { store } = this;
    const manifest = anchor?.manifest ?? null;
    if (manifest === null) throw new DmtpError("INTERNAL", `anchor ${anchorIndex} has no account to verify`);
    const finding = yield* verifyAccount({
      anchorIndex,
      manifest,
      before: manifest.base === null ? State.EMPTY : store.state(manifest.base.index),
      listing: (from) => store.listing(anchorIndex, from, LISTING_PAGE),
      block: (cid) => store.block(cid),
    });
    if ("state" in finding && finding.state !== null) yield* store.keepStateSteps(anchorIndex, finding.state);
    return finding;
  }

  private decide(index: number, verdict: Verdict): void {
    const { store } = this;
    store.decideAnchor(index, verdict);
    this.heads.forget(index);
    // Shards that are missing are still listed when they come.
    for (const part of store.openParts(index)) {
      if (part.part >= FIRST_HEADS || part.status === "refused") store.deletePart(part);
    }
    if (store.waitingFor(index, index, 1).length > 0) this.tasks.push({ kind: "decision", index, after: index });
  }

  /** @returns whether all that waited for this decision was looked at */
  private spread(task: Task & { readonly kind: "decision" }): boolean {
    const waiting = this.store.waitingFor(task.index, task.after, STEP_ANCHORS);
    for (const index of waiting) this.consider(index);
    task.after = waiting.at(-1) ?? task.after;
    return waiting.length < STEP_ANCHORS;
  }
}
