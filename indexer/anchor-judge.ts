/**
 * The verdicts on anchors (SPEC 8.3), each given as soon as what it rests on is here. An undecided anchor waits for blocks or for
 * its base and is looked at again when one of them comes, never before: a thousand that point at nothing cost a new one nothing.
 */
import { verifyAnchor, type AnchorFinding, type EarlierAnchor } from "../protocol/anchor.ts";
import type { Cid } from "../protocol/cid.ts";
import type { AnchorEvent } from "../protocol/event.ts";
import type { Tip } from "../protocol/manifest.ts";
import type { Delta, State } from "../protocol/state.ts";
import type { MissingContent } from "./missing-content.ts";
import type { AnchorRows, ManifestLinks } from "./store/anchor-rows.ts";
import type { ChangeLog } from "./store/change-log.ts";
import type { ContentCache } from "./store/content-cache.ts";
import type { StateRows } from "./store/state-rows.ts";
import { WaitingList } from "./waiting-list.ts";

/** What an undecided anchor waits for. */
interface Waiting {
  readonly cid: Cid;
  /** Blocks without which it can't go on, and that have not arrived; each once. */
  readonly wants: Cid[];
  /** Its shards and heads, while it waits for its base: fetched ahead, so that a long line is not as many rounds. */
  readonly ahead: readonly Cid[];
  readonly base: number | null;
}

/** One for all of a million. */
const NONE: readonly Cid[] = [];

export interface AnchorJudgeOptions {
  readonly rows: AnchorRows;
  readonly states: StateRows;
  readonly content: ContentCache;
  readonly missing: MissingContent;
  readonly changes: ChangeLog;
  /** Takes what a newly verified anchor adds. */
  readonly list: (index: number, delta: Delta) => void;
}

export class AnchorJudge {
  private readonly options: AnchorJudgeOptions;
  private readonly undecided = new Map<number, Waiting>();
  private readonly byBlock = new WaitingList<Cid>();
  private readonly byBase = new WaitingList<number>();
  /** Those that don't wait any more. */
  private readonly due = new Set<number>();
  /** Those that wait for less than their row says. */
  private readonly nearer = new Set<number>();

  /** Waits for what the rows say. */
  constructor(options: AnchorJudgeOptions) {
    this.options = options;
    for (const { index, cid, manifest, lacks } of options.rows.undecided()) this.wait(index, cid, manifest, lacks);
  }

  /** Takes the next anchor. */
  add(event: AnchorEvent): void {
    const { rows, changes, content } = this.options;
    const { index, cid, blockNumber } = event;
    const isKept = cid !== null && content.keeps(cid);
    // An earlier anchor with this CID waits for its manifest, or had it.
    const isRepeated = cid !== null && (this.isAwaited(cid) || (isKept && rows.isRepeated(cid, index)));
    const finding = verifyAnchor(event, this.earlier, isRepeated, isKept ? this.get : () => undefined);
    rows.add(event, finding);
    changes.record({ kind: "anchor", index }, finding.verdict.status, blockNumber);
    this.take(index, cid, finding);
  }

  receive(cid: Cid): void {
    for (const index of this.byBlock.take(cid)) {
      const wants = this.undecided.get(index)?.wants ?? [];
      const at = wants.indexOf(cid);
      if (at >= 0) wants.splice(at, 1);
      (wants.length === 0 ? this.due : this.nearer).add(index);
    }
  }

  /** Decides all that can be decided. */
  settle(): void {
    const { rows, changes } = this.options;
    for (const index of this.due) {
      this.due.delete(index);
      const waiting = this.undecided.get(index);
      if (waiting === undefined) continue;
      const finding = verifyAnchor({ index, cid: waiting.cid }, this.earlier, false, this.get);
      rows.write(index, finding);
      if (finding.verdict.status !== "missing")
        changes.record({ kind: "anchor", index }, finding.verdict.status, rows.position(index)?.blockNumber ?? 0);
      this.stopWaiting(index, waiting);
      this.take(index, waiting.cid, finding);
    }
    for (const index of this.nearer) {
      const waiting = this.undecided.get(index);
      if (waiting !== undefined) rows.writeLacks(index, waiting.wants);
    }
    this.nearer.clear();
  }

  /** Where the line of a verified anchor stands; null for none. */
  tipAt(index: number | null): Tip | null {
    return index === null ? null : (this.earlier(index)?.tip ?? null);
  }

  private take(index: number, cid: Cid | null, finding: AnchorFinding): void {
    const { states, list } = this.options;
    const { verdict, manifest, delta, tip, wants } = finding;
    if (verdict.status === "missing") {
      const links = manifest && { base: manifest.base?.index ?? null, rooms: manifest.rooms, heads: manifest.heads };
      if (cid !== null) this.wait(index, cid, links, wants);
      return;
    }
    if (tip !== null && delta !== null) {
      states.keep(index, tip.state);
      if (index > (states.tip ?? -1)) states.setTip(tip);
      list(index, delta);
    }
    for (const waiting of this.byBase.of(index)) this.due.add(waiting);
  }

  /** @param manifest null while the manifest itself is wanted @param wants none while it waits for its base */
  private wait(index: number, cid: Cid, manifest: ManifestLinks | null, wants: readonly Cid[]): void {
    const { missing, content } = this.options;
    const isForBase = manifest !== null && wants.length === 0;
    const waiting: Waiting = {
      cid,
      wants: [...new Set(wants)],
      ahead: isForBase
        ? [...new Set([...manifest.rooms, ...manifest.heads])].filter((link) => !content.keeps(link))
        : NONE,
      base: isForBase ? manifest.base : null,
    };
    this.undecided.set(index, waiting);
    missing.add(waiting.wants, "anchor", index);
    missing.add(waiting.ahead, "anchor", index);
    for (const want of waiting.wants) this.byBlock.add(want, index);
    if (waiting.base !== null) this.byBase.add(waiting.base, index);
  }

  private stopWaiting(index: number, { wants, ahead, base }: Waiting): void {
    this.undecided.delete(index);
    this.options.missing.remove(wants);
    this.options.missing.remove(ahead);
    for (const cid of wants) this.byBlock.delete(cid, index);
    if (base !== null) this.byBase.delete(base, index);
  }

  /** Whether an anchor waits for this manifest as its own. */
  private isAwaited(cid: Cid): boolean {
    return this.byBlock.of(cid).some((index) => this.undecided.get(index)?.cid === cid);
  }

  private readonly get = (cid: Cid): Uint8Array | undefined => {
    // What is missing is not on disk either: that saves a look.
    return this.options.missing.has(cid) ? undefined : this.options.content.get(cid);
  };

  private readonly earlier = (index: number): EarlierAnchor | undefined => {
    const { rows, states } = this.options;
    const anchor = rows.judged(index);
    if (anchor === undefined) return undefined;
    const { cid, verdict, seq } = anchor;
    if (verdict.status !== "verified" || cid === null || seq === null) return { cid, verdict, tip: null };
    const state = (): State => states.stateAt(index);
    return {
      cid,
      verdict,
      tip: {
        index,
        cid,
        seq,
        get state() {
          return state();
        },
      },
    };
  };
}
