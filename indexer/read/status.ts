import type { statusSchema } from "../../client/api/service.ts";
import type { Plain } from "../../client/api/schema.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Fetcher } from "../fetcher.ts";
import type { Follower } from "../follower.ts";
import type { History } from "../history.ts";
import type { CountsAnswer, Snapshot } from "./snapshot.ts";

export type StatusAnswer = Plain<typeof statusSchema>;

interface TotalRow {
  readonly kind: "rooms" | "keys" | "anchors" | "messages";
  /** Nothing for what has no verdict. */
  readonly status: keyof CountsAnswer | "";
  readonly n: number;
}

const NONE: CountsAnswer = { verified: 0, rejected: 0, missing: 0 };

/** The index is not current any more when the chain could not be looked at for as long. */
const STALE_MS = 15_000;
/** The loop is stuck when it did not finish a look for as long, besides the interval in which it rests. */
const STUCK_MS = 180_000;

/** How the writer of the index is doing. */
export type WriterHealth = Pick<History, "isBusy" | "failure">;

/** Why the answers are not current and complete, or null when they are. */
export function unreadiness(
  follower: Follower,
  fetcher: Fetcher,
  history: WriterHealth,
  now = performance.now(),
): DmtpError | null {
  const { isCurrent, problem, succeededAtMs } = follower;
  if (history.failure !== null) return withoutInternals(history.failure);
  if (problem !== null && (!isCurrent || now - (succeededAtMs ?? 0) > STALE_MS)) return withoutInternals(problem);
  if (!follower.isConfirmed)
    return new DmtpError("CHAIN_UNREACHABLE", "fewer nodes answer than have to agree; the indexer's log says more");
  if (!isCurrent) return new DmtpError("INDEX_BEHIND", "the index is still reading the chain");
  if (!fetcher.isSettled) return new DmtpError("INDEX_BEHIND", "the index is still fetching content");
  if (history.isBusy) return new DmtpError("INDEX_BEHIND", "the index is still verifying what it read");
  return null;
}

/** What the chain reader says may name hosts that only the operator is to know; the log has it. */
function withoutInternals(problem: DmtpError): DmtpError {
  if (problem.code === "CHAIN_INCOMPLETE" || problem.kind === "bug") return problem;
  const what = problem.code.startsWith("DATABASE_")
    ? "the index cannot be written now"
    : "the chain cannot be read now";
  return new DmtpError(problem.code, `${what}; the indexer's log says why`);
}

/** Why the service should be started again, or null. */
export function illness(
  follower: Pick<Follower, "turnedAtMs" | "pollIntervalMs">,
  now = performance.now(),
): DmtpError | null {
  // A supervisor starts the service again: it must never be told to while the loop only rests.
  if (now - follower.turnedAtMs < STUCK_MS + follower.pollIntervalMs) return null;
  return new DmtpError("INDEX_BEHIND", "the chain has not been looked at for minutes");
}

export class StatusReader {
  private readonly follower: Follower;
  private readonly fetcher: Fetcher;
  private readonly history: WriterHealth;

  constructor(follower: Follower, fetcher: Fetcher, history: WriterHealth) {
    this.history = history;
    this.follower = follower;
    this.fetcher = fetcher;
  }

  read(snapshot: Snapshot): StatusAnswer {
    const { index, at } = snapshot;
    const { head, finalityStalledMs: stalledMs } = this.follower;
    const { cursor, finalized, alarm } = index.log;
    const problem = unreadiness(this.follower, this.fetcher, this.history);
    const tip = snapshot.get<{ value: string }>("SELECT value FROM meta WHERE name = 'tip'")?.value;
    const missing = index.missingCount;
    const root = snapshot.get<{ value: string }>("SELECT value FROM meta WHERE name = 'stateRoot'")?.value;
    return {
      deployment: index.deployment,
      ready: problem === null,
      problem: problem === null ? null : { code: problem.code, detail: problem.message },
      alarm: alarm ?? this.follower.finalityAlarm,
      head: head === null ? null : { block: head.block.number, hash: head.block.hash },
      indexed: at,
      finalized: finalized < 0 ? null : finalized,
      finalityStalledSeconds: stalledMs === null ? null : Math.floor(stalledMs / 1_000),
      lag:
        head === null || cursor === null
          ? null
          : {
              blocks: Math.max(0, head.block.number - cursor.number),
              seconds: cursor.timestamp === null ? null : Math.max(0, head.block.timestamp - cursor.timestamp),
            },
      tip: tip === undefined ? null : (JSON.parse(tip) as StatusAnswer["tip"]),
      stateRoot: root ?? "",
      counts: totalsOf(snapshot),
      content: {
        reachable: this.fetcher.isReachable,
        missing,
        retrying: this.fetcher.countAbsent(missing),
        // Without names and messages: which hosts there are is the operator's to know.
        sources: this.fetcher.sources.map(({ state, found, absent, faults, latencyMs }) => ({
          state,
          found,
          absent,
          faults: { ...faults },
          latencyMs,
        })),
      },
    };
  }
}

function totalsOf(snapshot: Snapshot): StatusAnswer["counts"] {
  const totals = { rooms: 0, keys: 0, anchors: { ...NONE }, messages: { ...NONE } };
  for (const { kind, status, n } of snapshot.all<TotalRow>("SELECT kind, status, n FROM totals")) {
    if (kind === "rooms" || kind === "keys") totals[kind] = n;
    else if (status !== "") totals[kind][status] = n;
  }
  return totals;
}
