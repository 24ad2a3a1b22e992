/**
 * One client's live updates, as server-sent events. It keeps a position in the change log and nothing else: what the client
 * has not taken yet stays on disk, however slow it is.
 */
import type { ServerResponse } from "node:http";

import type { HeightAnswer, Snapshot, Snapshots } from "../read/snapshot.ts";
import { readChange, readWindow, type ChangeFilter, type EventData, type EventName } from "../read/changes.ts";
import type { IndexReader } from "../read/index-reader.ts";

/** What of a response is used; a client that does not read makes it want a drain. */
export type Sink = Pick<ServerResponse, "write" | "writableNeedDrain" | "once">;

/** Changes at a time: between two of these, others get their turn. */
const BATCH = 100;
/** What a look at the log costs at least, in changes. */
const LOOK_COST = 10;

/** What one {@link Stream.read} did. */
export interface Progress {
  /** In changes that were looked at. */
  readonly cost: number;
  /** Whether there is more that the client would take now. */
  readonly hasMore: boolean;
}

export class Stream {
  private readonly sink: Sink;
  private readonly snapshots: Snapshots;
  private readonly filter: ChangeFilter;
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
    snapshots: Snapshots,
    filter: ChangeFilter,
    position: number | null,
    reason: string,
    onDrain: () => void,
  ) {
    this.sink = sink;
    this.snapshots = snapshots;
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
    const progress = this.snapshots.read((snapshot) => this.sendNext(snapshot));
    if (!this.sink.writableNeedDrain) return progress;
    this.isFull = true;
    this.sink.once("drain", () => {
      this.isFull = false;
      this.onDrain();
    });
    return { ...progress, hasMore: false };
  }

  private get log(): IndexReader["changes"] {
    return this.snapshots.index.changes;
  }

  private sendNext(snapshot: Snapshot): Progress {
    // So far behind that what it has not seen is gone.
    if (!this.log.reaches(this.position)) {
      this.position = this.log.end;
      this.send("reset", { reason: "too far behind" }, this.position);
    }
    const { changes, end, hasMore, lookedAt } = readWindow(snapshot, this.filter, this.position, BATCH);
    const cost = LOOK_COST + Math.max(changes.length, Math.ceil(lookedAt / 10));
    for (const change of changes) {
      const event = readChange(snapshot, change, this.filter);
      this.position = change.id;
      if (event !== null) this.send(event.name, event.data, event.id);
      if (this.sink.writableNeedDrain) return { cost, hasMore: true };
    }
    this.position = end;
    if (!hasMore) this.sendHeight(snapshot.at, snapshot.index.log.finalized);
    return { cost, hasMore };
  }

  private sendHeight(at: HeightAnswer, finalized: number): void {
    const data = { at, finalized: finalized < 0 ? null : finalized };
    const height = JSON.stringify(data);
    if (height === this.sentHeight) return;
    this.sentHeight = height;
    // With the position, so that who listens for something rare does not begin far behind after a break.
    this.send("height", data, this.position);
  }

  private send<Name extends EventName>(name: Name, data: EventData<Name>, id: number): void {
    this.sink.write(`id: ${this.log.name}-${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  }
}
