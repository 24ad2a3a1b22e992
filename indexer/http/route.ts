/** What the indexer's routes answer from. */
import type { Streams } from "../../http/live/streams.ts";
import { RouteMaker } from "../../http/route.ts";
import type { Fetcher } from "../fetcher.ts";
import type { Follower } from "../follower.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { ChangeFilter } from "../read/changes.ts";
import type { Snapshots } from "../read/snapshot.ts";
import type { StatusReader, WriterHealth } from "../read/status.ts";

export interface Service {
  readonly snapshots: Snapshots;
  /** Only to be asked how the writer is doing. */
  readonly history: WriterHealth;
  readonly follower: Follower;
  readonly fetcher: Fetcher;
  readonly status: StatusReader;
  readonly streams: Streams<ChangeFilter>;
  readonly metrics: Metrics;
}

export const route = new RouteMaker<Service>();

/** @throws NOT_FOUND */
export function unknown(what: string): never {
  throw new DmtpError("NOT_FOUND", `no such ${what} in the history as it is known here`);
}
