/** Every client that listens. */
import type { ServerResponse } from "node:http";

import { DmtpError } from "../../protocol/error.ts";
import type { ChangeFilter } from "../read/changes.ts";
import type { Snapshots } from "../read/snapshot.ts";
import { Stream } from "./stream.ts";

export interface StreamsOptions {
  readonly heartbeatMs?: number;
  readonly maxStreams?: number;
}

const POSITION = /^([0-9a-f]{16})-(0|[1-9][0-9]{0,14})$/;

export class Streams {
  private readonly snapshots: Snapshots;
  private readonly maxStreams: number;
  private readonly open = new Map<Stream, ServerResponse>();
  private readonly heartbeat: NodeJS.Timeout;
  private isWoken = false;

  constructor(snapshots: Snapshots, { heartbeatMs = 15_000, maxStreams = 1_000 }: StreamsOptions = {}) {
    this.snapshots = snapshots;
    this.maxStreams = maxStreams;
    this.heartbeat = setInterval(() => {
      for (const stream of this.open.keys()) stream.beat();
    }, heartbeatMs);
    this.heartbeat.unref();
  }

  get size(): number {
    return this.open.size;
  }

  /**
   * Sends events for as long as the client stays.
   * @param from the id of the last event that it has; null: it wants what is new
   * @throws PARAMETER_INVALID for an id that no event had; SERVICE_BUSY
   */
  attach(response: ServerResponse, filter: ChangeFilter, from: string | null): void {
    const position = from === null ? this.snapshots.history.changes.end : this.positionOf(from);
    if (this.open.size >= this.maxStreams) throw new DmtpError("SERVICE_BUSY", "too many clients listen already");
    response.writeHead(200);
    const stream = new Stream(response, this.snapshots, filter, position, "the position is not known here");
    this.open.set(stream, response);
    response.once("close", () => {
      stream.close();
      this.open.delete(stream);
    });
    stream.wake();
  }

  /** Something changed. Many changes in one turn of the loop are one look at the log. */
  wake(): void {
    if (this.isWoken || this.open.size === 0) return;
    this.isWoken = true;
    setImmediate(() => {
      this.isWoken = false;
      for (const stream of this.open.keys()) stream.wake();
    });
  }

  /** Ends every connection; clients come back by themselves, with what they saw last. */
  close(): void {
    clearInterval(this.heartbeat);
    for (const [stream, response] of this.open) {
      stream.close();
      response.end();
    }
    this.open.clear();
  }

  /** Null for a position of another log, and for one that this log does not reach. */
  private positionOf(id: string): number | null {
    const [, name, digits] = POSITION.exec(id) ?? [];
    if (name === undefined)
      throw new DmtpError("PARAMETER_INVALID", "the last event's id is not one that an event had");
    const { changes } = this.snapshots.history;
    const position = Number(digits);
    return name === changes.name && changes.reaches(position) ? position : null;
  }
}
