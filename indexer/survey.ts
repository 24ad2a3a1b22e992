/** A walk through all that is missing, page by page, so that what is not kept in memory is asked for, too. */
import type { Clock } from "./clock.ts";
import { WANT_KINDS, type Want, type WantCursor, type WantList } from "./want-list.ts";

const PAGE = 1_024;
/** As many pages are read before others have their turn. */
const PAGES_PER_TURN = 4;

export interface SurveyOptions {
  readonly clock: Clock;
  /** Called when more pages may be read. */
  readonly onDue: () => void;
}

export class Survey {
  /** How many wants a page has at most. */
  static readonly PAGE = PAGE;
  private readonly options: SurveyOptions;
  /** Null when it is over. */
  private list: WantList | null = null;
  private kind = 0;
  private after: WantCursor | null = null;
  /** Behind the anchor that the last page ended with. */
  private nextAnchor: WantCursor | null = null;
  private pagesLeft = PAGES_PER_TURN;
  private cancelPause: (() => void) | null = null;

  constructor(options: SurveyOptions) {
    this.options = options;
  }

  get isOver(): boolean {
    return this.list === null;
  }

  /** Begins with the first page. */
  begin(list: WantList): void {
    this.list = list;
    this.kind = 0;
    this.after = null;
  }

  end(): void {
    this.list = null;
    this.cancelPause?.();
    this.cancelPause = null;
    this.pagesLeft = PAGES_PER_TURN;
  }

  /** The next page, which may be empty. Null when it is over, or others have their turn first. */
  next(): readonly Want[] | null {
    const { list } = this;
    const kind = WANT_KINDS[this.kind];
    if (list === null || kind === undefined || this.cancelPause !== null) return null;
    const { wants, next, nextAnchor } = list.page(kind, this.after, PAGE);
    this.nextAnchor = nextAnchor;
    this.goTo(next);
    this.pagesLeft -= 1;
    if (this.pagesLeft === 0) this.pause();
    return wants;
  }

  /** Passes over what more the anchor names that the last page ended with: it may be hundreds of pages. */
  skipAnchor(): void {
    if (this.list !== null && this.after !== null) this.goTo(this.nextAnchor);
  }

  private goTo(cursor: WantCursor | null): void {
    this.after = cursor;
    if (cursor === null) this.kind += 1;
    if (this.kind === WANT_KINDS.length) this.list = null;
  }

  private pause(): void {
    const { clock, onDue } = this.options;
    this.cancelPause = clock.after(0, () => {
      this.cancelPause = null;
      this.pagesLeft = PAGES_PER_TURN;
      onDue();
    });
  }
}
