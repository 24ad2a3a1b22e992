/** The wanted blocks that were not asked for yet, and which of them comes next. */
import type { AskingWindows, Group } from "../io/asking-windows.ts";
import type { Cid } from "../protocol/cid.ts";
import { OldestFirst } from "../protocol/oldest-first.ts";
import type { Want } from "./want-list.ts";

/** What an anchor names, the newest last. */
interface Stack {
  readonly group: Group | null;
  readonly wants: Want[];
}

/** With fewer blocks than this left to ask for, more of a history is begun. */
const FEW = 32;
/** As many of each sort are kept at most. */
const MAX_KEPT = 65_536;

export interface FreshWantsOptions {
  readonly windows: AskingWindows;
  /** Called when some of a doubtful anchor, or documents, are not kept. */
  readonly onDrop: () => void;
  /** Called when wants that are neither documents nor doubtful are not kept. */
  readonly onOverflow: () => void;
}

export class FreshWants {
  private readonly options: FreshWantsOptions;
  /** By anchor, the newest last. These are taken first, from the end: a shard's messages before the next shard. */
  private readonly stacks: Stack[] = [];
  private readonly stackOf = new Map<Group | null, Stack>();
  /** How many are in the stacks. */
  private stacked = 0;
  /**
   * Of anchors that were read a long way below the head, in their order. They are taken when few others are left, so that what is
   * missing at any time is a part of the history, not all of it.
   */
  private readonly history = new Map<Cid, Want>();
  private readonly oldestHistory = new OldestFirst(this.history);
  /** Of anchors of which little was there. */
  private readonly doubtful = new Map<Group, Want[]>();
  private doubtfulCount = 0;
  private readonly documents = new Map<Cid, Want>();
  private readonly oldestDocument = new OldestFirst(this.documents);

  constructor(options: FreshWantsOptions) {
    this.options = options;
  }

  /** Whether any is left that is neither a document nor doubtful. */
  get isEmpty(): boolean {
    return this.stacked === 0 && this.history.size === 0;
  }

  /** Whether `count` more are kept without that others are dropped. */
  hasRoomFor(count: number): boolean {
    return this.stacked + count <= MAX_KEPT;
  }

  get hasDocuments(): boolean {
    return this.documents.size > 0;
  }

  get hasDoubtful(): boolean {
    return this.doubtful.size > 0;
  }

  /** How many are kept, of all sorts. */
  get size(): number {
    return this.stacked + this.history.size + this.doubtfulCount + this.documents.size;
  }

  /** @param of what is new: the newest, or a history that is being read */
  add(want: Want, of: "newest" | "history"): void {
    if (want.kind === "document") {
      if (this.documents.size < MAX_KEPT) this.documents.set(want.cid, want);
      else this.options.onDrop();
      return;
    }
    this.documents.delete(want.cid);
    if (of === "newest") this.push(want);
    else if (this.history.size < MAX_KEPT) this.history.set(want.cid, want);
    else this.options.onOverflow();
  }

  /** The next one that may be asked for now; undefined for none. */
  take(): Want | undefined {
    if (this.stacked < FEW) return this.takeHistory() ?? this.pop();
    return this.pop() ?? this.takeHistory();
  }

  takeDoubtful(): Want | undefined {
    for (const [group, wants] of this.doubtful) {
      const want = wants.pop();
      if (wants.length === 0) this.doubtful.delete(group);
      if (want === undefined) continue;
      this.doubtfulCount -= 1;
      return want;
    }
    return undefined;
  }

  takeDocument(): Want | undefined {
    return this.oldestDocument.take()?.[1];
  }

  /** To be called when a block of a doubtful group was found: the rest of the group is not doubtful any more. */
  trust(group: Group): void {
    const wants = this.doubtful.get(group) ?? [];
    this.doubtful.delete(group);
    this.doubtfulCount -= wants.length;
    for (const want of wants) this.push(want);
  }

  clear(): void {
    this.stacks.length = 0;
    this.stackOf.clear();
    this.stacked = 0;
    this.history.clear();
    this.doubtful.clear();
    this.doubtfulCount = 0;
    this.documents.clear();
  }

  private push(want: Want): void {
    const { anchorIndex: group } = want;
    if (this.stacked >= MAX_KEPT) this.dropOldest();
    let stack = this.stackOf.get(group);
    if (stack === undefined) {
      stack = { group, wants: [] };
      this.stackOf.set(group, stack);
      this.stacks.push(stack);
    }
    stack.wants.push(want);
    this.stacked += 1;
  }

  /** Makes room for what is newer. */
  private dropOldest(): void {
    const [oldest] = this.stacks;
    if (oldest === undefined) return;
    this.remove(0, oldest);
    this.stacked -= oldest.wants.length;
    this.options.onOverflow();
  }

  /** The newest of an anchor that may be asked for more. At most as many anchors are passed over as there are requests in flight. */
  private pop(): Want | undefined {
    for (let at = this.stacks.length - 1; at >= 0; at--) {
      const stack = this.stacks[at];
      if (stack === undefined) continue;
      const { group, wants } = stack;
      if (group !== null && this.options.windows.isDoubtful(group)) {
        this.remove(at, stack);
        this.stacked -= wants.length;
        this.doubt(group, wants);
      } else if (group === null || this.options.windows.hasRoom(group)) {
        const want = wants.pop();
        if (wants.length === 0) this.remove(at, stack);
        if (want === undefined) continue;
        this.stacked -= 1;
        return want;
      }
    }
    return undefined;
  }

  private doubt(group: Group, wants: Want[]): void {
    const kept = wants.slice(0, Math.max(0, MAX_KEPT - this.doubtfulCount));
    if (kept.length < wants.length) this.options.onDrop();
    if (kept.length === 0) return;
    const doubtful = this.doubtful.get(group);
    if (doubtful === undefined) this.doubtful.set(group, kept);
    else for (const want of kept) doubtful.push(want);
    this.doubtfulCount += kept.length;
  }

  private takeHistory(): Want | undefined {
    return this.oldestHistory.take()?.[1];
  }

  private remove(at: number, stack: Stack): void {
    this.stacks.splice(at, 1);
    this.stackOf.delete(stack.group);
  }
}
