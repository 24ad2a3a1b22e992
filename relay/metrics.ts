/** What Prometheus gets of a relay. */
import { gauge, exposition } from "../http/metrics/exposition.ts";
import { Histogram } from "../http/metrics/counter.ts";
import type { Mailbox } from "../io/mailbox/mailbox.ts";
import type { Intake } from "./intake.ts";
import type { Promiser } from "./promises.ts";

const LATENCIES = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export class RelayMetrics {
  /** Seconds from a request's arrival to its answer's end. */
  readonly latency = new Histogram(
    {
      name: "dmtp_http_request_duration_seconds",
      help: "From a request's arrival to the end of its answer, by route and status; without live updates.",
    },
    LATENCIES,
  );
  private readonly mailbox: Mailbox;
  private readonly intake: Intake;
  private readonly promiser: Promiser;
  private readonly countStreams: () => number;

  constructor(mailbox: Mailbox, intake: Intake, promiser: Promiser, countStreams: () => number) {
    this.mailbox = mailbox;
    this.intake = intake;
    this.promiser = promiser;
    this.countStreams = countStreams;
  }

  /** In Prometheus' text format. */
  read(): string {
    const { messages, unanchored, unpinned } = this.mailbox.counts();
    const { head, oldest, silence } = this.promiser.readStanding();
    return exposition([
      gauge("dmtp_relay_messages", "Messages in the mailbox.", messages),
      gauge("dmtp_relay_pending_messages", "Messages that no anchor decides about.", unanchored),
      gauge("dmtp_relay_unpinned_messages", "Messages that the content store may not have yet.", unpinned),
      gauge("dmtp_relay_outstanding_messages", "Messages that wait for a commit.", this.intake.outstanding),
      gauge("dmtp_relay_indexed_block", "The newest block that the relay has read.", head),
      gauge("dmtp_relay_promises", "1 when messages that are brought get a promise.", silence === null ? 1 : 0),
      gauge(
        "dmtp_relay_oldest_promise_blocks",
        "Blocks since the oldest promise that is not kept yet; alert well before the promise's length.",
        head === null || oldest === null ? null : head - oldest,
      ),
      gauge("dmtp_http_streams", "Clients that listen to live updates.", this.countStreams()),
      this.latency.family,
      gauge("process_resident_memory_bytes", "Resident memory.", process.memoryUsage.rss()),
      gauge("process_start_time_seconds", "When the process started.", performance.timeOrigin / 1_000),
    ]);
  }
}
