/**
 * One client's live updates, as server-sent events. It keeps a position in the change log and nothing else: what the client
 * has not taken yet stays on disk, however slow it is.
 */
import type { ServerResponse } from "node:http";

import type { HeightAnswer, Snapshots } from "../read/snapshot.ts";
import { readChange, type ChangeFilter, type EventData, type EventName } from "../read/changes.ts";
import type { ChangeLog } from "../store/change-log.ts";

/** What of a response is used; a client that does not read makes it want a drain. */
export type Sink = Pick<ServerResponse, "write" | "writableNeedDrain" | "once">;

/** Entries at a time: between two of these, others get their turn. */
const BATCH = 100;

export class Stream {
  private readonly sink: Sink;
  private readonly snapshots: Snapshots;
  private readonly filter: ChangeFilter;
  private position: number;
  private sentHeight = "";
  private isWaiting = false;
  private isClosed = false;

  /** @param position behind which to begin; null: at the end, since the client's own is not known here */
  constructor(sink: Sink, snapshots: Snapshots, filter: ChangeFilter, position: number | null, reason: string) {
    this.sink = sink;
    this.snapshots = snapshots;
    this.filter = filter;
    this.position = position ?? this.log.end;
    // A browser asks again after so many milliseconds.
    sink.write("retry: 2000\n\n");
    if (position === null) this.send("reset", { reason }, this.position);
  }

  /** Something may have changed. */
  wake(): void {
    if (!this.isWaiting && !this.isClosed) this.pump();
  }

  /** Shows the client, and whatever lies between, that the connection lives. */
  beat(): void {
    if (!this.isWaiting && !this.isClosed) this.sink.write(":\n\n");
  }

  close(): void {
    this.isClosed = true;
  }

  private get log(): ChangeLog {
    return this.snapshots.history.changes;
  }

  private pump(): void {
    const hasMore = this.snapshots.read((snapshot) => {
      // So far behind that what it has not seen is gone.
      if (!this.log.reaches(this.position)) {
        this.position = this.log.end;
        this.send("reset", { reason: "too far behind" }, this.position);
      }
      const changes = this.log.read(this.position, BATCH);
      for (const change of changes) {
        const event = readChange(snapshot, change, this.filter);
        this.position = change.id;
        if (event !== null) this.send(event.name, event.data, event.id);
        if (this.sink.writableNeedDrain) return true;
      }
      if (changes.length === BATCH) return true;
      this.sendHeight(snapshot.at, snapshot.history.log.finalized);
      return false;
    });
    if (this.sink.writableNeedDrain) this.pause((resume) => this.sink.once("drain", resume));
    else if (hasMore) this.pause(setImmediate);
  }

  private pause(until: (resume: () => void) => unknown): void {
    this.isWaiting = true;
    until(() => {
      this.isWaiting = false;
      this.wake();
    });
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
