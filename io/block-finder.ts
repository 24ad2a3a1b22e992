/**
 * How a command gets blocks: each is asked for once, and one that was absent is remembered. What was absent in an earlier run, and the
 * rest of an anchor of which nothing is there, takes two requests and a short while of each run, so that no number of digests that
 * nobody has delays what is there.
 */
import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { Absence, AbsenceLog } from "./absence-log.ts";
import { AskingWindows, type Group } from "./asking-windows.ts";
import type { ContentStore, GetOptions } from "./content/store.ts";

/** How long a run waits for what is likely to be absent: counted from the first such request, and again from each block found. */
export interface FinderTimes {
  /** For what was absent in an earlier run. */
  readonly againMs: number;
  /** For the rest of an anchor of which nothing was there. */
  readonly doubtMs: number;
}

interface FinderOptions {
  /** Null where nothing is remembered. */
  readonly absences: AbsenceLog | null;
  /** Whether to wait for what was absent in earlier runs, however long it takes. */
  readonly retryMissing?: boolean;
  readonly times?: Partial<FinderTimes> | undefined;
  /** Unix milliseconds. */
  readonly now?: () => number;
  /** Milliseconds, of a clock that only goes on. */
  readonly elapsedMs?: () => number;
}

const TIMES: FinderTimes = { againMs: 1_000, doubtMs: 60_000 };
/** How many requests are in flight at most, and of those for what is likely to be absent while others are. */
const CONCURRENT = 16;
const SLOW = 2;
/** After the first attempt; then four times as long after each. */
const FIRST_AGAIN_MS = 10_000;
const MAX_AGAIN_MS = 86_400_000;

/** A block that is asked for. */
interface Request {
  readonly cid: Cid;
  /** The anchor that it is asked for by; null where no anchor names it. */
  readonly group: Group | null;
  /** The last anchor that names it; -1 for none. */
  readonly lastAnchor: number;
}

/** A time that is granted anew by each block that is found in it. */
class Patience {
  endMs: number | null = null;
  private readonly ms: number;

  constructor(ms: number) {
    this.ms = ms;
  }

  begin(nowMs: number): number {
    return (this.endMs ??= nowMs + this.ms);
  }

  extend(nowMs: number): void {
    this.endMs = nowMs + this.ms;
  }
}

export class BlockFinder implements Pick<ContentStore, "name" | "get"> {
  readonly name: string;
  private readonly content: Pick<ContentStore, "name" | "get" | "peek">;
  private readonly absences: AbsenceLog | null;
  private readonly retryMissing: boolean;
  private readonly now: () => number;
  private readonly elapsedMs: () => number;
  private readonly windows = new AskingWindows(CONCURRENT);
  /** Anchors of which something was found that was absent in an earlier run. */
  private readonly recovered = new Set<Group>();
  /** Of its own for each kind: absent manifests take no time from messages that turned up. */
  private readonly again: Readonly<Record<"manifest" | "message", Patience>>;
  private readonly doubt: Patience;
  private inFlight = 0;
  private slow = 0;
  private waiting: (() => void)[] = [];

  constructor(content: Pick<ContentStore, "name" | "get" | "peek">, options: FinderOptions) {
    const { absences, retryMissing = false, times, now = Date.now, elapsedMs = () => performance.now() } = options;
    this.content = content;
    this.name = content.name;
    this.absences = absences;
    this.retryMissing = retryMissing;
    this.now = now;
    this.elapsedMs = elapsedMs;
    const { againMs, doubtMs } = { ...TIMES, ...times };
    this.again = { manifest: new Patience(againMs), message: new Patience(againMs) };
    this.doubt = new Patience(doubtMs);
  }

  /** Whether it was absent in an earlier run, and only anchors that named it then do: whoever has a choice asks for others first. */
  isKnownAbsent(cid: Cid, anchors: Iterable<number>): boolean {
    return this.findAbsence(cid, anchors) !== null;
  }

  /** @throws CONTENT_UNREACHABLE when no source can be asked for what is not known to be absent */
  async get(cid: Cid, { anchors = [], kind = "manifest" }: GetOptions = {}): Promise<Uint8Array | null> {
    const absence = this.findAbsence(cid, anchors);
    const group = this.chooseGroup(anchors);
    const request: Request = { cid, group, lastAnchor: lastOf(anchors) };
    const isDoubtful = group !== null && this.windows.isDoubtful(group);
    const isLikely = !isDoubtful && (absence === null || this.isRecovered(group));
    if (this.absences === null || isLikely) return this.ask(request);
    const near = (await this.content.peek?.(cid)) ?? null;
    if (near !== null) return this.find(request, near);
    if (this.retryMissing) return this.askSlowly(request, null);
    if (absence === null) return this.askSlowly(request, this.doubt);
    return this.isDue(absence) ? this.askSlowly(request, this.again[kind]) : null;
  }

  /**
   * What is known of its absence, unless an anchor names it that did not when it was absent: it may have been stored for that one. Whoever
   * names what nobody has once more gains no more requests than by naming something else.
   */
  private findAbsence(cid: Cid, anchors: Iterable<number>): Absence | null {
    const absence = this.absences?.find(cid) ?? null;
    return absence === null || lastOf(anchors) > absence.lastAnchor ? null : absence;
  }

  /** Of the anchors that name a block, the one that is trusted most: so an anchor of which little is there delays nothing of others. */
  private chooseGroup(anchors: Iterable<Group>): Group | null {
    let first: Group | null = null;
    let trusted: Group | null = null;
    for (const group of anchors) {
      if (this.isRecovered(group)) return group;
      first ??= group;
      if (!this.windows.isDoubtful(group)) trusted ??= group;
    }
    return trusted ?? first;
  }

  private async ask(request: Request): Promise<Uint8Array | null> {
    const { cid } = request;
    this.inFlight += 1;
    let bytes: Uint8Array | null;
    try {
      bytes = await this.content.get(cid);
    } finally {
      this.inFlight -= 1;
      this.wake();
    }
    return bytes === null ? this.lack(request, true) : this.find(request, bytes);
  }

  /** As one of few requests, until a time is over. @param patience null to wait for as long as it takes */
  private async askSlowly(request: Request, patience: Patience | null): Promise<Uint8Array | null> {
    const { cid, group } = request;
    patience?.begin(this.elapsedMs());
    const hasPlace = await this.takePlace(patience, group);
    if (!hasPlace) return this.isRecovered(group) ? this.ask(request) : this.lack(request, false);
    const given = new AbortController();
    const leftMs = patience === null ? null : Math.max(0, (patience.endMs ?? 0) - this.elapsedMs());
    const timer = leftMs === null ? undefined : setTimeout(() => given.abort(), leftMs);
    try {
      const bytes = await Promise.race([this.content.get(cid, { signal: given.signal }), aborted(given.signal)]);
      if (bytes === null) return this.lack(request, true, given.signal.aborted);
      patience?.extend(this.elapsedMs());
      return this.find(request, bytes);
    } catch (error) {
      if (patience === null || !(error instanceof DmtpError) || error.kind !== "unavailable") throw error;
      return null;
    } finally {
      clearTimeout(timer);
      this.slow -= 1;
      this.wake();
    }
  }

  /** False when none came free in time, or none is needed any more. */
  private async takePlace(patience: Patience | null, group: Group | null): Promise<boolean> {
    for (;;) {
      if (this.isRecovered(group)) return false;
      if (patience !== null && (patience.endMs ?? 0) <= this.elapsedMs()) return false;
      if (this.slow < (patience === null && this.inFlight === 0 ? CONCURRENT : SLOW)) {
        this.slow += 1;
        return true;
      }
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  private wake(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }

  private find({ cid, group }: Request, bytes: Uint8Array): Uint8Array {
    const wasAbsent = this.absences?.delete(cid) ?? false;
    if (group === null) return bytes;
    this.windows.widen(group);
    if (wasAbsent) this.recovered.add(group);
    return bytes;
  }

  /** @param isGivenUp whether the answer was not waited for, which says nothing of the rest of the anchor */
  private lack({ cid, group, lastAnchor }: Request, isAsked: boolean, isGivenUp = false): null {
    this.absences?.add(cid, this.now(), { isAsked, lastAnchor });
    if (group !== null && isAsked && !isGivenUp) this.windows.narrow(group);
    return null;
  }

  /** Whether something of the anchor was found that was absent in an earlier run: the rest of it is asked for like any other block. */
  private isRecovered(group: Group | null): boolean {
    return group !== null && this.recovered.has(group) && !this.windows.isDoubtful(group);
  }

  private isDue({ attempts, lastAskedMs }: Absence): boolean {
    if (attempts === 0) return true;
    return this.now() - lastAskedMs >= Math.min(MAX_AGAIN_MS, FIRST_AGAIN_MS * 4 ** Math.min(attempts - 1, 10));
  }
}

function lastOf(anchors: Iterable<number>): number {
  let last = -1;
  for (const anchor of anchors) last = Math.max(last, anchor);
  return last;
}

function aborted(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(null), { once: true });
  });
}
