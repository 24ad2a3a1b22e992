/** Everything that Prometheus gets, put together when it asks. */
import { monitorEventLoopDelay } from "node:perf_hooks";

import type { Streams } from "../../http/live/streams.ts";
import type { Follower } from "../follower.ts";
import type { ChangeFilter } from "../read/changes.ts";
import type { Snapshots } from "../read/snapshot.ts";
import type { StatusAnswer, StatusReader } from "../read/status.ts";
import { Histogram } from "../../http/metrics/counter.ts";
import { exposition, gauge, type Family, type Sample } from "../../http/metrics/exposition.ts";
import type { RpcMeter } from "./rpc-meter.ts";

interface Sources {
  readonly snapshots: Snapshots;
  readonly follower: Follower;
  readonly status: StatusReader;
  readonly streams: Streams<ChangeFilter>;
  /** Null when the chain is not asked over a wire. */
  readonly rpcMeter: RpcMeter | null;
}

const REORG_DEPTHS = [1, 3, 8, 16, 32, 64, 128, 256];
const LATENCIES = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export class Metrics {
  /** Seconds from a request's arrival to its answer's end. */
  readonly latency = new Histogram(
    {
      name: "dmtp_http_request_duration_seconds",
      help: "From a request's arrival to the end of its answer, by route and status; without live updates.",
    },
    LATENCIES,
  );
  private readonly sources: Sources;
  private readonly loopDelay = monitorEventLoopDelay({ resolution: 10 });

  constructor(sources: Sources) {
    this.sources = sources;
    this.loopDelay.enable();
  }

  /** In Prometheus' text format. */
  read(): string {
    const { snapshots, status, rpcMeter } = this.sources;
    const { answer, depths, timestamp } = snapshots.read((snapshot) => ({
      answer: status.read(snapshot),
      depths: snapshot.index.changes.reorgDepths(),
      timestamp: snapshot.index.log.cursor?.timestamp ?? null,
    }));
    return exposition([
      ...this.chain(answer, timestamp),
      reorgs(depths),
      ...(rpcMeter?.families ?? []),
      ...contents(answer),
      ...contentSources(answer),
      this.latency.family,
      ...this.service(),
    ]);
  }

  close(): void {
    this.loopDelay.disable();
  }

  private chain({ head, finalized, indexed, lag, ready, alarm }: StatusAnswer, timestamp: number | null): Family[] {
    const { succeededAtMs } = this.sources.follower;
    const lookedAt = succeededAtMs === null ? null : (performance.timeOrigin + succeededAtMs) / 1_000;
    return [
      gauge("dmtp_head_block", "The chain's newest block, as last seen.", head?.block ?? null),
      gauge("dmtp_finalized_block", "The newest block that the chain calls final.", finalized),
      gauge("dmtp_indexed_block", "The newest block that answers are true of.", indexed?.block ?? null),
      gauge("dmtp_indexed_timestamp_seconds", "That block's time.", timestamp),
      gauge("dmtp_lag_blocks", "Blocks from the index to the chain's head.", lag?.blocks ?? null),
      gauge("dmtp_lag_seconds", "Chain time from the index to the chain's head.", lag?.seconds ?? null),
      gauge("dmtp_chain_read_timestamp_seconds", "When the chain was last looked at with success.", lookedAt),
      gauge("dmtp_ready", "1 when the answers are current and complete.", ready ? 1 : 0),
      gauge(
        "dmtp_finality_alarm",
        "1 when a final block changed, or less is called final than was.",
        alarm === null ? 0 : 1,
      ),
    ];
  }

  private service(): Family[] {
    const { user, system } = process.cpuUsage();
    const delaySeconds = this.loopDelay.percentile(99) / 1e9;
    this.loopDelay.reset();
    return [
      gauge("dmtp_http_streams", "Clients that listen to live updates.", this.sources.streams.size),
      {
        name: "process_cpu_seconds_total",
        help: "User and system CPU time.",
        type: "counter",
        samples: [{ value: (user + system) / 1e6 }],
      },
      gauge("process_resident_memory_bytes", "Resident memory.", process.memoryUsage.rss()),
      gauge("process_start_time_seconds", "When the process started.", performance.timeOrigin / 1_000),
      gauge("nodejs_eventloop_lag_p99_seconds", "By how much timers came late since the last scrape.", delaySeconds),
    ];
  }
}

/** From the index, not from this process's memory: a reorg that came before a restart counts. */
function reorgs(depths: readonly number[]): Family {
  const histogram = new Histogram({ name: "dmtp_reorg_depth_blocks", help: "Reorgs, by their depth." }, REORG_DEPTHS);
  // No reorg yet is a number too, not the lack of one.
  histogram.declare();
  for (const depth of depths) histogram.observe(depth);
  return histogram.family;
}

function contents({ counts, content }: StatusAnswer): Family[] {
  const byVerdict = (each: Readonly<Record<string, number>>): Sample[] =>
    Object.entries(each).map(([verdict, value]) => ({ labels: { verdict }, value }));
  const states = {
    pending: content.missing - content.retrying,
    absent: content.retrying,
    verified: counts.anchors.verified + counts.messages.verified,
    rejected: counts.anchors.rejected + counts.messages.rejected,
  };
  return [
    gauge("dmtp_rooms", "Rooms that verified anchors list.", counts.rooms),
    gauge("dmtp_key_events", "Key versions and tombstones.", counts.keys),
    { name: "dmtp_anchors", help: "Anchors, by verdict.", type: "gauge", samples: byVerdict(counts.anchors) },
    { name: "dmtp_messages", help: "Messages, by verdict.", type: "gauge", samples: byVerdict(counts.messages) },
    {
      name: "dmtp_cids",
      help: "Blocks not asked for yet (pending) or asked for and not found (absent); anchors and messages that are decided.",
      type: "gauge",
      samples: Object.entries(states).map(([state, value]) => ({ labels: { state }, value })),
    },
    gauge("dmtp_content_reachable", "1 when the content store answered the last time.", content.reachable ? 1 : 0),
  ];
}

/** By their place in the configuration, from 0: which hosts there are is the operator's to know. */
function contentSources({ content: { sources } }: StatusAnswer): Family[] {
  const answers = sources.flatMap(({ found, absent, faults }, place) =>
    Object.entries({ found, absent, ...faults }).map(([answer, value]) => ({
      labels: { source: String(place), answer },
      value,
    })),
  );
  const each = (valueOf: (source: (typeof sources)[number]) => number | null): Sample[] =>
    sources.flatMap((source, place) => {
      const value = valueOf(source);
      return value === null ? [] : [{ labels: { source: String(place) }, value }];
    });
  return [
    {
      name: "dmtp_content_answers_total",
      help: "What each content source answered: a block, that it has none, or a fault of its own.",
      type: "counter",
      samples: answers,
    },
    {
      name: "dmtp_content_suspended",
      help: "1 while a content source is not asked, after faults of its own.",
      type: "gauge",
      samples: each(({ state }) => (state === "suspended" ? 1 : 0)),
    },
    {
      name: "dmtp_content_latency_seconds",
      help: "How long a content source takes to give a block, in the mean.",
      type: "gauge",
      samples: each(({ latencyMs }) => (latencyMs === null ? null : latencyMs / 1_000)),
    },
  ];
}
