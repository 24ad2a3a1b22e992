/** Every client that listens. */
import type { ServerResponse } from "node:http";

import { DmtpError } from "../../protocol/error.ts";
import type { EventLog } from "./event-log.ts";
import { Stream } from "./stream.ts";

export interface StreamsOptions {
  readonly heartbeatMs?: number;
  readonly maxStreams?: number;
  /** Of all streams together, before others get their turn. */
  readonly changesPerTurn?: number;
}

const POSITION = /^([0-9a-f]{16})-(0|[1-9][0-9]{0,14})$/;

export class Streams<Filter> {
  private readonly log: EventLog<Filter>;
  private readonly maxStreams: number;
  private readonly changesPerTurn: number;
  private readonly open = new Map<Stream<Filter>, ServerResponse>();
  private readonly heartbeat: NodeJS.Timeout;
  /** Those that may have something to send, in the order of their turns. */
  private readonly ready = new Set<Stream<Filter>>();
  private isScheduled = false;

  constructor(log: EventLog<Filter>, options: StreamsOptions = {}) {
    const { heartbeatMs = 15_000, maxStreams = 1_000, changesPerTurn = 200 } = options;
    this.log = log;
    this.maxStreams = maxStreams;
    this.changesPerTurn = changesPerTurn;
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
  attach(response: ServerResponse, filter: Filter, from: string | null): void {
    const position = from === null ? this.log.end : this.positionOf(from);
    if (this.open.size >= this.maxStreams) throw new DmtpError("SERVICE_BUSY", "too many clients listen already");
    response.writeHead(200);
    const reason = "the position is not known here";
    const stream = new Stream<Filter>(response, this.log, filter, position, reason, () => this.queue([stream]));
    this.open.set(stream, response);
    response.once("close", () => {
      stream.close();
      this.open.delete(stream);
      this.ready.delete(stream);
    });
    this.queue([stream]);
  }

  /** Something changed. Many changes in one turn of the loop are one look at the log. */
  wake(): void {
    this.queue(this.open.keys());
  }

  /** Ends every connection; clients come back by themselves, with what they saw last. */
  close(): void {
    clearInterval(this.heartbeat);
    for (const [stream, response] of this.open) {
      stream.close();
      response.end();
    }
    this.open.clear();
    this.ready.clear();
  }

  private queue(streams: Iterable<Stream<Filter>>): void {
    for (const stream of streams) this.ready.add(stream);
    if (this.isScheduled || this.ready.size === 0) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.takeTurn();
    });
  }

  /** One after the other, until all together have looked at that number of changes; then others than streams get their turn. */
  private takeTurn(): void {
    let left = this.changesPerTurn;
    for (const stream of this.ready) {
      if (left <= 0) break;
      this.ready.delete(stream);
      try {
        const { cost, hasMore } = stream.read();
        left -= cost;
        // Behind all others.
        if (hasMore) this.ready.add(stream);
      } catch {
        // The log can't be read now. The client comes back, and names where it was.
        this.open.get(stream)?.destroy();
      }
    }
    this.queue([]);
  }

  /** Null for a position of another log, and for one that this log does not reach. */
  private positionOf(id: string): number | null {
    const [, name, digits] = POSITION.exec(id) ?? [];
    if (name === undefined)
      throw new DmtpError("PARAMETER_INVALID", "the last event's id is not one that an event had");
    const position = Number(digits);
    return name === this.log.name && this.log.reaches(position) ? position : null;
  }
}
