/**
 * One client's live updates, as server-sent events. It keeps a position in the change log and nothing else: what the client
 * has not taken yet stays on disk, however slow it is.
 */
import type { ServerResponse } from "node:http";

import type { EventLog, EventWindow } from "./event-log.ts";

/** What of a response is used; a client that does not read makes it want a drain. */
export type Sink = Pick<ServerResponse, "write" | "writableNeedDrain" | "once">;

/** Changes at a time: between two of these, others get their turn. */
const BATCH = 100;

/** What one {@link Stream.read} did. */
export interface Progress {
  /** In changes that were looked at. */
  readonly cost: number;
  /** Whether there is more that the client would take now. */
  readonly hasMore: boolean;
}

export class Stream<Filter> {
  private readonly sink: Sink;
  private readonly log: EventLog<Filter>;
  private readonly filter: Filter;
  private readonly onDrain: () => void;
  private position: number;
  private sentHeight = "";
  private isFull = false;
  private isClosed = false;

  /**
   * @param position behind which to begin; null: at the end, since the client's own is not known here
   * @param onDrain called when a client that had not taken what it was sent has done so
   */
  constructor(
    sink: Sink,
    log: EventLog<Filter>,
    filter: Filter,
    position: number | null,
    reason: string,
    onDrain: () => void,
  ) {
    this.sink = sink;
    this.log = log;
    this.filter = filter;
    this.onDrain = onDrain;
    this.position = position ?? this.log.end;
    // A browser asks again after that number of milliseconds.
    sink.write("retry: 2000\n\n");
    if (position === null) this.send("reset", { reason }, this.position);
  }

  /** Shows the client, and whatever lies between, that the connection lives. */
  beat(): void {
    if (!this.isFull && !this.isClosed) this.sink.write(":\n\n");
  }

  close(): void {
    this.isClosed = true;
  }

  /** Sends the next changes, as many as one turn takes; nothing to a client that has not taken what it was sent. */
  read(): Progress {
    if (this.isFull || this.isClosed) return { cost: 0, hasMore: false };
    // So far behind that what it has not seen is gone.
    if (!this.log.reaches(this.position)) {
      this.position = this.log.end;
      this.send("reset", { reason: "too far behind" }, this.position);
    }
    const progress = this.log.look(this.filter, this.position, BATCH, (window) => this.sendNext(window));
    if (!this.sink.writableNeedDrain) return progress;
    this.isFull = true;
    this.sink.once("drain", () => {
      this.isFull = false;
      this.onDrain();
    });
    return { ...progress, hasMore: false };
  }

  private sendNext({ events, end, hasMore, cost, height }: EventWindow): Progress {
    for (const event of events) {
      this.position = event.id;
      if (event.name !== null) this.send(event.name, event.data, event.id);
      if (this.sink.writableNeedDrain) return { cost, hasMore: true };
    }
    this.position = end;
    if (!hasMore) this.sendHeight(height);
    return { cost, hasMore };
  }

  private sendHeight(height: object): void {
    const text = JSON.stringify(height);
    if (text === this.sentHeight) return;
    this.sentHeight = text;
    // With the place, so that who listens for something rare does not begin far behind after a break.
    this.send("height", height, this.position);
  }

  private send(name: string, data: object, id: number): void {
    this.sink.write(`id: ${this.log.name}-${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  }
}
