import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { ArchiveFile } from "../io/archive-file.ts";
import { scopeFilter } from "../io/archive.ts";
import { CarFileSource } from "../io/content/car-source.ts";
import { Sources } from "../io/content/sources.ts";
import type { ContentStore } from "../io/content/store.ts";
import { harmlessLine } from "../io/harmless.ts";
import { rebuild } from "../io/history.ts";
import { checksummed } from "../protocol/address.ts";
import type { Anchor } from "../protocol/anchor.ts";
import { toHex, type Hex } from "../protocol/bytes.ts";
import { omissionsOf, type Entry } from "../protocol/entry.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { rootOf } from "../protocol/merkle.ts";
import type { Replay } from "../protocol/replay.ts";
import { parseRoomId, type Deployment, type RoomId } from "../protocol/room.ts";
import type { Verdict } from "../protocol/verdict.ts";
import { command, conclude, type Outcome } from "./command.ts";
import type { Session } from "./session.ts";
import { formatTime, formatVerdict, plural, short, table, terminal, type Terminal } from "./terminal.ts";

export interface AuditArguments {
  readonly room: string | undefined;
  readonly car: string | undefined;
  readonly offline: boolean;
  readonly json: boolean;
}

const online = command<AuditArguments>(async (session, { room, car }) => {
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

export default (args: AuditArguments, hre: HardhatRuntimeEnvironment): Promise<void> =>
  args.offline ? conclude(openNothing, () => auditOffline(args), args.json) : online(args, hre);

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
  const { number, hash } = head.block;
  return judge({ deployment, events }, content, terminal, {
    ...(room !== undefined && { room }),
    block: { number, hash },
    from: `chain ${deployment.chainId} at block ${number} and ${content.name}`,
  });
}

/**
 * As {@link audit}, of an archive by itself: what the chain logged is what the file says of it.
 * @param isCompared whether the chain was found to say the same
 */
export async function auditArchive(
  file: ArchiveFile,
  progress: Terminal,
  { room, isCompared = false }: { readonly room?: RoomId | undefined; readonly isCompared?: boolean } = {},
): Promise<Outcome> {
  const { subject } = file;
  const { chainId } = subject.deployment;
  const last = subject.events.at(-1);
  return judge(subject, file, progress, {
    ...(room !== undefined && { room }),
    holds: scopeFilter(subject),
    block: last === undefined ? null : { number: last.blockNumber, hash: last.blockHash },
    from: `${file.name}, ${isCompared ? "checked against" : "and what it says of"} chain ${chainId} up to block ${last?.blockNumber ?? 0}`,
  });
}

async function auditOffline({ room, car }: AuditArguments): Promise<Outcome> {
  if (car === undefined)
    throw new DmtpError("OPTION_INVALID", "--offline is without --car", { hint: "Give --car FILE." });
  const id = room === undefined ? undefined : parseRoomId(room);
  const file = await ArchiveFile.open(car);
  try {
    return await auditArchive(file, terminal, { room: id });
  } finally {
    await file.close();
  }
}

interface Judging {
  readonly room?: RoomId;
  /** Whose verdicts count; everything's when not given. */
  readonly holds?: (anchorIndex: number, room: RoomId) => boolean;
  readonly block: { readonly number: number; readonly hash: Hex } | null;
  /** Where all of it comes from, for a person. */
  readonly from: string;
}

async function judge(
  { deployment, events }: { readonly deployment: Deployment; readonly events: readonly ChainEvent[] },
  content: Pick<ContentStore, "get">,
  progress: Terminal,
  { room, holds = () => true, block, from }: Judging,
): Promise<Outcome> {
  const history = await rebuild(deployment, events, content, {
    onProgress: ({ fetched, missing }) => {
      progress.progress(`verified ${fetched} blocks, ${missing} to go`);
    },
  });
  const rooms = room === undefined ? history.rooms : [room];
  const all = rooms.flatMap((id) => history.entries(id));
  const entries = all.filter((entry) => holds(entry.anchorIndex, entry.room));
  const anchors = countVerdicts(history.anchors);
  const messages = countVerdicts(entries);
  const others = all.length - entries.length;
  const state = toHex(history.state.root);
  const error = errorOf(anchors, messages);
  return {
    data: {
      chainId: deployment.chainId,
      cidStore: checksummed(deployment.cidStore),
      keyRegistry: checksummed(deployment.keyRegistry),
      block,
      anchors,
      messages,
      ...(others > 0 && { others }),
      state,
      rooms: rooms.map((id) => describeRoom(history, id, room !== undefined)),
      rejectedAnchors: history.anchors.filter(({ verdict }) => verdict.status !== "verified").map(describeAnchor),
    },
    text: [
      `rebuilt from ${from}`,
      table([
        ["anchors", summarize(anchors)],
        [
          "messages",
          summarize(messages) + (others > 0 ? `; ${others.toLocaleString("en")} others are not asked for` : ""),
        ],
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
function errorOf(anchors: VerdictCounts, messages: VerdictCounts): DmtpError | undefined {
  if (messages.rejected > 0)
    return new DmtpError("HISTORY_NOT_VERIFIED", `${plural(messages.rejected, "message")} rejected`);
  if (anchors.missing + messages.missing > 0) {
    const what = `${plural(anchors.missing, "anchor")} and ${plural(messages.missing, "message")} not reachable`;
    return new DmtpError("HISTORY_INCOMPLETE", what);
  }
  return undefined;
}

/** An archive needs neither chain nor store. */
function openNothing(): Promise<{ readonly close: () => Promise<void> }> {
  return Promise.resolve({ close: () => Promise.resolve() });
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
