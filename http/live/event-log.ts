/** What live updates are read from: changes in an order that stays, so that a client goes on where it was. */

export interface LiveEvent {
  /** The place of the change, which a client names to go on behind it. */
  readonly id: number;
  readonly name: string;
  readonly data: object;
}

/** A part of the log, good while the function runs that it is given to. */
export interface EventWindow {
  /** In order, each made when it is asked for; null for a change of which there is nothing to tell, with the place behind it. */
  readonly events: Iterable<LiveEvent | { readonly id: number; readonly name: null }>;
  /** The place behind all of them. */
  readonly end: number;
  readonly hasMore: boolean;
  /** What the look cost, in changes that were looked at. */
  readonly cost: number;
  /** That all up to here was told: the data of an event `height`, which is sent when it is another than before. */
  readonly height: object;
}

export interface EventLog<Filter> {
  /** Sixteen hexadecimal digits: a place in another log means nothing here. */
  readonly name: string;
  /** The place behind the newest change. */
  readonly end: number;
  /** Whether all changes behind this place are still there. */
  reaches(place: number): boolean;
  /** Looks at the next changes behind a place, `limit` at most. */
  look<T>(filter: Filter, after: number, limit: number, take: (window: EventWindow) => T): T;
}
