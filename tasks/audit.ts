import { CarFileSource } from "../io/content/car-source.ts";
import { Sources } from "../io/content/sources.ts";
import type { ContentStore } from "../io/content/store.ts";
import { harmlessLine } from "../io/harmless.ts";
import { rebuild } from "../io/history.ts";
import { checksummed } from "../protocol/address.ts";
import type { Anchor } from "../protocol/anchor.ts";
import { toHex } from "../protocol/bytes.ts";
import { omissionsOf, type Entry } from "../protocol/entry.ts";
import { DmtpError } from "../protocol/error.ts";
import { rootOf } from "../protocol/merkle.ts";
import type { Replay } from "../protocol/replay.ts";
import { parseRoomId, type RoomId } from "../protocol/room.ts";
import type { Verdict } from "../protocol/verdict.ts";
import { command, type Outcome } from "./command.ts";
import type { Session } from "./session.ts";
import { formatTime, formatVerdict, plural, short, table } from "./terminal.ts";

export interface AuditArguments {
  readonly room: string | undefined;
  readonly car: string | undefined;
  readonly json: boolean;
}

export default command<AuditArguments>(async (session, { room, car }) => {
  const id = room === undefined ? undefined : parseRoomId(room);
  if (car === undefined) return audit(session, id);
  const file = new CarFileSource(car);
  const content = new Sources([file]);
  try {
    return await audit(session, id, { name: file.name, get: (cid) => content.get(cid) });
  } finally {
    await content.close();
  }
});

/**
 * Rebuilds and verifies everything from chain and content alone. Rejected items end it with 65, unreachable ones with 75.
 * @param content where all blocks come from; the session's own when not given
 */
export async function audit(
  session: Session,
  room?: RoomId,
  content: Pick<ContentStore, "name" | "get"> = session.content,
): Promise<Outcome> {
  const { reader, deployment, terminal } = session;
  const { events, head } = await reader.allEvents();
  const history = await rebuild(deployment, events, content, {
    onProgress: ({ fetched, missing }) => {
      terminal.progress(`verified ${fetched} blocks, ${missing} to go`);
    },
  });
  const rooms = room === undefined ? history.rooms : [room];
  const entries = rooms.flatMap((id) => history.entries(id));
  const anchors = countVerdicts(history.anchors);
  const messages = countVerdicts(entries);
  const state = toHex(history.state.root);
  const error = judge(anchors, messages);
  return {
    data: {
      chainId: deployment.chainId,
      cidStore: checksummed(deployment.cidStore),
      keyRegistry: checksummed(deployment.keyRegistry),
      block: { number: head.block.number, hash: head.block.hash },
      anchors,
      messages,
      state,
      rooms: rooms.map((id) => describeRoom(history, id, room !== undefined)),
      rejectedAnchors: history.anchors.filter(({ verdict }) => verdict.status !== "verified").map(describeAnchor),
    },
    text: [
      `rebuilt from chain ${deployment.chainId} at block ${head.block.number} and ${content.name}`,
      table([
        ["anchors", summarize(anchors)],
        ["messages", summarize(messages)],
        ["rooms", rooms.length],
        ["state root", state],
      ]),
      ...history.anchors.filter(({ verdict }) => verdict.status !== "verified").map(anchorLine),
      ...(room === undefined ? entries.filter(({ verdict }) => verdict.status !== "verified") : entries).map(entryLine),
    ].join("\n"),
    ...(error !== undefined && { error }),
  };
}

export interface VerdictCounts {
  readonly verified: number;
  readonly rejected: number;
  readonly missing: number;
}

export function countVerdicts(items: readonly { readonly verdict: Verdict }[]): VerdictCounts {
  const counts = { verified: 0, rejected: 0, missing: 0 };
  for (const { verdict } of items) counts[verdict.status] += 1;
  return counts;
}

/** An anchor that was rejected and skipped harms nobody; a rejected message, or anything out of reach, is worth an exit code. */
function judge(anchors: VerdictCounts, messages: VerdictCounts): DmtpError | undefined {
  if (messages.rejected > 0)
    return new DmtpError("HISTORY_NOT_VERIFIED", `${plural(messages.rejected, "message")} rejected`);
  if (anchors.missing + messages.missing > 0) {
    const what = `${plural(anchors.missing, "anchor")} and ${plural(messages.missing, "message")} not reachable`;
    return new DmtpError("HISTORY_INCOMPLETE", what);
  }
  return undefined;
}

function describeRoom(history: Replay, id: RoomId, whole: boolean): object {
  const state = history.roomState(id);
  const entries = history.entries(id);
  const { gaps, forks, unseen } = omissionsOf(entries);
  return {
    room: id,
    n: state?.range.size ?? 0,
    root: state === undefined ? null : toHex(rootOf(state.range)),
    messages: countVerdicts(entries),
    omissions: { gaps, forks, unseen: unseen.map(toHex) },
    ...(whole && { entries: entries.map(describeEntry) }),
  };
}

function describeEntry({ cid, anchorIndex, verdict, message }: Entry): object {
  return {
    cid,
    anchorIndex,
    verdict,
    ...(message !== null && {
      sender: checksummed(message.sender),
      receiver: checksummed(message.receiver),
      seq: message.seq,
      timestamp: message.timestamp,
    }),
  };
}

function describeAnchor({ event, verdict }: Anchor): object {
  return { index: event.index, cid: event.text, blockNumber: event.blockNumber, verdict };
}

function anchorLine({ event, verdict }: Anchor): string {
  return `  anchor ${event.index} ${formatVerdict(verdict)}: ${harmlessLine(event.text)}`;
}

function entryLine({ cid, anchorIndex, verdict, message }: Entry): string {
  const who = message === null ? "" : ` ${short(checksummed(message.sender))} ${formatTime(message.timestamp)}`;
  return `  message ${cid} in anchor ${anchorIndex}${who} ${formatVerdict(verdict)}`;
}

function summarize({ verified, rejected, missing }: VerdictCounts): string {
  return `${verified} verified, ${rejected} rejected, ${missing} missing`;
}
