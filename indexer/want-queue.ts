/** Which wanted block is asked for next: what nobody is known to lack first, and the rest in two of sixteen requests at most. */
import { AskingWindows } from "../io/asking-windows.ts";
import type { Cid } from "../protocol/cid.ts";
import type { Clock } from "./clock.ts";
import { FreshWants } from "./fresh-wants.ts";
import { Outage } from "./outage.ts";
import { Retries } from "./retries.ts";
import { Survey } from "./survey.ts";
import { Sweep } from "./sweep.ts";
import type { Want, WantList } from "./want-list.ts";

/**
 * `first`: nobody is known to lack the block. `retry`: it was not found a short while ago. `background`: it was not found for a long
 * while, most of its anchor's blocks are absent, or it is a key document. `sweep`: as that, and not kept in memory.
 */
type Lane = "first" | "retry" | "background" | "sweep";

/** One request for a block. */
export interface Attempt {
  readonly want: Want;
  readonly lane: Lane;
}

type Flight = Attempt & { readonly startedAtMs: number; readonly cancel: () => void };

export interface WantQueueOptions {
  /** How many requests are in flight at most; and beside them, as many that have become searches. */
  readonly limit: number;
  readonly firstRetryMs: number;
  readonly maxRetryMs: number;
  readonly random: () => number;
  readonly clock: Clock;
  /** Called when there is more to ask for. */
  readonly onDue: () => void;
}

/** Of the requests in flight, at most one in this number may be of the lanes `retry` and `background`, and half of these `background`. */
const SLOW_SHARE = 8;
/** A request that takes longer is a search: what is there has come by then, as a rule. It takes no place from what may be there. */
const SEARCH_MS = 500;
/** Where there is room for one request only, one in this number of requests may be of these lanes. */
const TURNS = 4;
/** Between two sweeps, as many times as long as between the attempts at one block at most: ten minutes. */
const SWEEP_REST_FACTOR = 10;
/** From the beginning of a survey to that of the next. */
const SURVEY_REST_MS = 1_000;

export class WantQueue {
  private readonly inFlight = new Map<Cid, Flight>();
  private readonly windows: AskingWindows;
  private readonly fresh: FreshWants;
  private readonly retries: Retries;
  private readonly outage: Outage;
  /** Through all that was missing when it began, as fast as what is there comes. */
  private readonly survey: Survey;
  /** Whether the survey has to be made once more when it is over, and may begin. */
  private isSurveyDue = false;
  private cancelSurveyRest: (() => void) | null = null;
  private readonly sweep: Sweep;
  private list: WantList | null = null;
  private readonly options: WantQueueOptions;
  /** How many requests are in flight at most, in all and of the slow lanes. */
  private readonly limits: Readonly<Record<"all" | "slow" | "background", number>>;
  private turn = 0;

  constructor(options: WantQueueOptions) {
    const { limit } = options;
    const slow = Math.max(1, Math.floor(limit / SLOW_SHARE));
    this.limits = { all: limit, slow, background: Math.max(1, Math.floor(slow / 2)) };
    this.windows = new AskingWindows(limit);
    this.options = options;
    this.survey = new Survey(options);
    this.sweep = new Sweep({ ...options, restMs: SWEEP_REST_FACTOR * options.maxRetryMs });
    const onDrop = (): void => this.sweep.start();
    this.fresh = new FreshWants({ windows: this.windows, onDrop, onOverflow: () => this.surveyAgain() });
    this.retries = new Retries({ ...options, onDrop });
    this.outage = new Outage(options);
  }

  /** Whether the store answered the last time; what it does not have is an answer. */
  get isReachable(): boolean {
    return this.outage.isOver;
  }

  /** Whether a block is on its way that nobody is known to lack. */
  get isExpecting(): boolean {
    for (const { lane } of this.inFlight.values()) if (lane === "first") return true;
    return false;
  }

  /** Whether blocks wait for their first request: no key documents, and no rest of an anchor of which little was there. */
  get hasFresh(): boolean {
    return !this.fresh.isEmpty || !this.survey.isOver || this.isSurveyDue;
  }

  /** Whether key documents, or the rest of an anchor of which little was there, wait for their first request. */
  get hasDeferred(): boolean {
    const { fresh, inFlight, retries } = this;
    if (fresh.hasDocuments || fresh.hasDoubtful) return true;
    for (const [cid, { lane }] of inFlight) if (lane === "background" && !retries.has(cid)) return true;
    return false;
  }

  get hasYoungRetries(): boolean {
    return this.retries.hasYoungDue;
  }

  /** How many of the `missing` blocks were asked for and not found, as far as is known. */
  countAbsent(missing: number): number {
    if (!this.survey.isOver || this.isSurveyDue) return Math.min(missing, this.retries.size);
    const asking = Array.from(this.inFlight.keys()).filter((cid) => !this.retries.has(cid)).length;
    return Math.max(0, missing - this.fresh.size - asking);
  }

  /** @param of what is new: the newest, or a history that is being read */
  add(want: Want, of: "newest" | "history"): void {
    if (this.isNew(want)) this.fresh.add(want, of);
  }

  /** Asks for all that is missing, also for what {@link add} was not called with. */
  surveyAgain(): void {
    this.isSurveyDue = true;
  }

  /** Forgets what was not asked for yet: what is missing is another list. */
  reset(list: WantList): void {
    this.list = list;
    this.fresh.clear();
    this.windows.clear();
    this.survey.end();
    this.endSurveyRest();
    this.sweep.reset(list);
  }

  stop(): void {
    for (const { cancel } of this.inFlight.values()) cancel();
    this.survey.end();
    this.endSurveyRest();
    this.sweep.stop();
    this.retries.clear();
    this.outage.end();
  }

  /** What to ask for now; null while there is nothing, or no room for more. */
  next(): Attempt | null {
    const { isOver, isResting } = this.outage;
    if (isResting || (isOver ? this.isFull : this.inFlight.size > 0)) return null;
    this.turn += 1;
    const isTurnOfSlow = this.limits.all > 1 || this.turn % TURNS === 0;
    return (isTurnOfSlow ? this.nextSlow(false) : null) ?? this.nextFirst() ?? this.nextSlow(true);
  }

  isInFlight(cid: Cid): boolean {
    return this.inFlight.has(cid);
  }

  begin(attempt: Attempt): void {
    const { want, lane } = attempt;
    const { clock, onDue } = this.options;
    const cancel = this.limits.all > 1 ? clock.after(SEARCH_MS, onDue) : (): void => undefined;
    this.inFlight.set(want.cid, { ...attempt, startedAtMs: clock.now(), cancel });
    if (want.anchorIndex !== null && lane === "first") this.windows.begin(want.anchorIndex);
  }

  /** To be called once for each that began, and then what came of it. @returns what it is wanted for by now */
  end({ want, lane }: Attempt): Want {
    const flight = this.inFlight.get(want.cid);
    flight?.cancel();
    const latest = flight?.want ?? want;
    this.inFlight.delete(want.cid);
    if (want.anchorIndex !== null && lane === "first") this.windows.end(want.anchorIndex);
    return latest;
  }

  found({ cid, anchorIndex: group }: Want, lane: Lane): void {
    this.endOutage();
    this.retries.delete(cid);
    if (group === null) return;
    const isTrustedAgain = this.windows.isDoubtful(group);
    this.windows.widen(group);
    this.fresh.trust(group);
    // The rest of the anchor may not be kept in memory.
    if (this.sweep.isOn && (isTrustedAgain || lane === "sweep")) this.surveyAgain();
  }

  absentNow(want: Want, lane: Lane): void {
    this.endOutage();
    // The next sweep comes to it again.
    if (lane === "sweep") return;
    if (want.anchorIndex !== null && !this.retries.has(want.cid)) this.windows.narrow(want.anchorIndex);
    this.retries.add(want);
  }

  /** The store failed: that says nothing of the block. One for which it fails again and again counts as absent. */
  failed(want: Want): void {
    this.outage.begin();
    if (this.retries.has(want.cid) || !this.outage.hold(want)) this.retries.add(want);
  }

  /** It is not wanted any more. */
  delete(cid: Cid): void {
    this.retries.delete(cid);
  }

  /** Whether there is no room for one more request. */
  private get isFull(): boolean {
    const { inFlight, limits } = this;
    if (inFlight.size < limits.all) return false;
    const sinceMs = this.options.clock.now() - SEARCH_MS;
    let searches = 0;
    if (limits.all > 1) for (const { startedAtMs } of inFlight.values()) if (startedAtMs <= sinceMs) searches += 1;
    return inFlight.size - Math.min(searches, limits.all) >= limits.all;
  }

  private nextFirst(): Attempt | null {
    let want = this.takeFresh();
    while (want === undefined && this.readSurvey()) want = this.takeFresh();
    want ??= this.isReachable ? undefined : this.outage.take();
    return want === undefined ? null : { want, lane: "first" };
  }

  /** What the survey came upon may have been asked for meanwhile. */
  private takeFresh(): Want | undefined {
    let want = this.fresh.take();
    while (want !== undefined && !this.isNew(want)) want = this.fresh.take();
    return want;
  }

  /** Takes the next page of the survey. False when there is none, or no room for one. */
  private readSurvey(): boolean {
    if (!this.fresh.hasRoomFor(Survey.PAGE)) return false;
    if (this.survey.isOver) this.beginSurvey();
    const page = this.survey.next();
    if (page === null) return false;
    const isDoubtful = ({ anchorIndex }: Want): boolean => anchorIndex !== null && this.windows.isDoubtful(anchorIndex);
    for (const want of page.toReversed()) {
      if (isDoubtful(want)) this.sweep.start();
      else if (this.isNew(want)) this.fresh.add(want, "newest");
    }
    // The rest of its anchor is left to the sweep, too.
    const last = page.at(-1);
    if (last !== undefined && isDoubtful(last)) this.survey.skipAnchor();
    return true;
  }

  /** Begins a survey that is due, a while after the last one began: what anchors name can call for any number of them. */
  private beginSurvey(): void {
    if (!this.isSurveyDue || this.list === null || this.cancelSurveyRest !== null) return;
    this.isSurveyDue = false;
    this.survey.begin(this.list);
    this.cancelSurveyRest = this.options.clock.after(SURVEY_REST_MS, () => {
      this.cancelSurveyRest = null;
      this.options.onDue();
    });
  }

  private endSurveyRest(): void {
    this.cancelSurveyRest?.();
    this.cancelSurveyRest = null;
  }

  /** @param isAlone whether nothing else can be asked for now, so that documents have their turn */
  private nextSlow(isAlone: boolean): Attempt | null {
    const lanes = Array.from(this.inFlight.values(), ({ lane }) => lane);
    if (lanes.filter((lane) => lane !== "first").length >= this.limits.slow) return null;
    const young = this.retries.takeYoung();
    if (young !== undefined) return { want: young, lane: "retry" };
    const background = lanes.filter((lane) => lane === "background" || lane === "sweep").length;
    if (background >= this.limits.background) return null;
    const { fresh, retries, turn } = this;
    // Each of these may be endless, so they take turns.
    const kinds = [
      () => fresh.takeDoubtful(),
      () => retries.takeOld(),
      () => (isAlone ? fresh.takeDocument() : undefined),
      () => this.sweep.take((swept) => this.isNew(swept)),
    ];
    for (let i = 0; i < kinds.length; i++) {
      const kind = (turn + i) % kinds.length;
      const want = kinds[kind]?.();
      if (want !== undefined) return { want, lane: kind === kinds.length - 1 ? "sweep" : "background" };
    }
    return null;
  }

  private endOutage(): void {
    for (const held of this.outage.end()) this.add(held, "newest");
  }

  /**
   * Whether it has to be asked for: not when it is on its way, or waits for its next attempt as what it is wanted for. What was not found
   * is asked for again by each later anchor that names it and is not doubtful: it may have been stored for that one.
   */
  private isNew(want: Want): boolean {
    const { cid, kind } = want;
    const attempt = this.inFlight.get(cid);
    if (attempt !== undefined) {
      if (attempt.want.kind === "document") this.inFlight.set(cid, { ...attempt, want });
      return false;
    }
    const absent = this.retries.find(cid);
    if (absent === undefined) return true;
    const { anchorIndex } = want;
    const isNamedAnew =
      anchorIndex !== null && anchorIndex > (absent.anchorIndex ?? -1) && !this.windows.isDoubtful(anchorIndex);
    if (kind === "document" || (absent.kind !== "document" && !isNamedAnew)) return false;
    this.retries.delete(cid);
    return true;
  }
}
