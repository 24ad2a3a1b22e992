import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { ArchiveFile } from "../io/archive-file.ts";
import { scopeFilter } from "../io/archive.ts";
import { CarFileSource } from "../io/content/car-source.ts";
import { Sources } from "../io/content/sources.ts";
import type { ContentStore } from "../io/content/store.ts";
import { harmlessLine } from "../io/harmless.ts";
import { rebuild } from "../io/history.ts";
import { OrderedReplay } from "../io/ordered-replay.ts";
import { checksummed } from "../protocol/address.ts";
import type { Anchor } from "../protocol/replay/memory-store.ts";
import { toHex, type Hex } from "../protocol/bytes.ts";
import type { Entry } from "../protocol/entry.ts";
import { DmtpError } from "../protocol/error.ts";
import { findOmissions } from "../protocol/omissions.ts";
import { parseRoomId, type Deployment, type RoomId } from "../protocol/room.ts";
import type { State } from "../protocol/state.ts";
import type { Verdict } from "../protocol/verdict.ts";
import { command, conclude, type Outcome } from "./command.ts";
import { describeOmissions, formatOmissions } from "./omission-report.ts";
import type { Session } from "./session.ts";
import { keepHeapSmall } from "./small-heap.ts";
import { formatTime, formatVerdict, plural, short, table, terminal, type Terminal } from "./terminal.ts";

/** Of an archive, so many messages that are not verified are shown at most. */
const MAX_SHOWN = 1_000;

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
  const { reader, deployment, terminal: progress } = session;
  const { events, head } = await reader.allEvents();
  const { number, hash } = head.block;
  const history = await rebuild(deployment, events, content, {
    onProgress: ({ fetched, missing }) => progress.progress(`verified ${fetched} blocks, ${missing} to go`),
  });
  const rooms = (room === undefined ? history.rooms : [room]).map((id) => {
    const entries = history.entries(id);
    return { id, messages: countVerdicts(entries), entries };
  });
  const entries = rooms.flatMap((found) => found.entries);
  return outcomeOf({
    deployment,
    block: { number, hash },
    from: `chain ${deployment.chainId} at block ${number} and ${content.name}`,
    anchors: history.anchors,
    state: history.state,
    rooms,
    isWhole: room !== undefined,
    messages: countVerdicts(entries),
    others: 0,
    shown: room === undefined ? entries.filter(({ verdict }) => verdict.status !== "verified") : entries,
  });
}

/**
 * As {@link audit}, of an archive by itself: what the chain logged is what the file says of it. Memory does not grow with the messages,
 * so what is missing or forked in a room is only said of one that is asked for.
 * @param isCompared whether the chain was found to say the same
 */
export async function auditArchive(
  file: ArchiveFile,
  progress: Terminal,
  { room, isCompared = false }: { readonly room?: RoomId | undefined; readonly isCompared?: boolean } = {},
): Promise<Outcome> {
  const { deployment, events } = file.subject;
  const holds = scopeFilter(file.subject);
  const rooms = new Map<RoomId, Omit<RoomFound, "messages"> & { readonly messages: Counts }>();
  if (room !== undefined) rooms.set(room, { id: room, messages: noVerdicts(), entries: [] });
  const messages = noVerdicts();
  const shown: Entry[] = [];
  let others = 0;
  let looked = 0;
  const replay = new OrderedReplay(deployment, file, (entry) => {
    if (++looked % 1_024 === 0) progress.progress(`verified ${plural(looked, "message")}`);
    if (room !== undefined && entry.room !== room) return;
    const found = rooms.get(entry.room) ?? { id: entry.room, messages: noVerdicts(), entries: null };
    rooms.set(entry.room, found);
    found.messages[entry.verdict.status] += 1;
    if (room !== undefined) shown.push(entry);
    if (!holds(entry.anchorIndex, entry.room)) {
      others += 1;
      return;
    }
    messages[entry.verdict.status] += 1;
    if (room === undefined && entry.verdict.status !== "verified" && shown.length < MAX_SHOWN) shown.push(entry);
  });
  try {
    for (const event of events) await replay.take(event);
  } finally {
    replay.close();
  }
  const last = events.at(-1);
  const said = isCompared ? "checked against" : "and what it says of";
  return outcomeOf({
    deployment,
    block: last === undefined ? null : { number: last.blockNumber, hash: last.blockHash },
    from: `${file.name}, ${said} chain ${deployment.chainId} up to block ${last?.blockNumber ?? 0}`,
    anchors: replay.anchors,
    state: replay.state(),
    rooms: [...rooms.values()]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map((found) => (room === undefined ? found : { ...found, entries: shown })),
    isWhole: room !== undefined,
    messages,
    others,
    shown: shown.filter(({ anchorIndex, room: id }) => holds(anchorIndex, id)),
  });
}

async function auditOffline({ room, car }: AuditArguments): Promise<Outcome> {
  if (car === undefined)
    throw new DmtpError("OPTION_INVALID", "--offline is without --car", { hint: "Give --car FILE." });
  const id = room === undefined ? undefined : parseRoomId(room);
  keepHeapSmall();
  const file = await ArchiveFile.open(car, (blocks) => terminal.progress(`looked at ${plural(blocks, "block")}`));
  try {
    return await auditArchive(file, terminal, { room: id });
  } finally {
    await file.close();
  }
}

/** What an audit found. */
interface Found {
  readonly deployment: Deployment;
  readonly block: { readonly number: number; readonly hash: Hex } | null;
  /** Where all of it comes from, for a person. */
  readonly from: string;
  readonly anchors: readonly Pick<Anchor, "event" | "verdict">[];
  readonly state: State;
  /** By ascending id. */
  readonly rooms: readonly RoomFound[];
  /** Whether it is one room that was asked for, with all of its messages. */
  readonly isWhole: boolean;
  readonly messages: VerdictCounts;
  /** Messages that were not asked for. */
  readonly others: number;
  /** What a person sees of the messages. */
  readonly shown: readonly Entry[];
}

interface RoomFound {
  readonly id: RoomId;
  readonly messages: VerdictCounts;
  /** Null when they were not kept. */
  readonly entries: readonly Entry[] | null;
}

function outcomeOf(found: Found): Outcome {
  const { deployment, block, state, messages, others } = found;
  const anchors = countVerdicts(found.anchors);
  const odd = found.anchors.filter(({ verdict }) => verdict.status !== "verified");
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
      state: toHex(state.root),
      rooms: found.rooms.map((room) => describeRoom(state, room, found.isWhole)),
      rejectedAnchors: odd.map(describeAnchor),
    },
    text: [
      `rebuilt from ${found.from}`,
      table([
        ["anchors", summarize(anchors)],
        ["messages", summarize(messages) + (others > 0 ? `; ${others.toLocaleString("en")} others not asked for` : "")],
        ["rooms", found.rooms.length],
        ["state root", toHex(state.root)],
      ]),
      ...odd.map(anchorLine),
      ...found.shown.map(entryLine),
      ...(found.isWhole ? found.rooms.flatMap(({ entries }) => formatOmissions(findOmissions(entries ?? []))) : []),
    ].join("\n"),
    ...(error !== undefined && { error }),
  };
}

export interface VerdictCounts {
  readonly verified: number;
  readonly rejected: number;
  readonly missing: number;
}

type Counts = Record<Verdict["status"], number>;

function noVerdicts(): Counts {
  return { verified: 0, rejected: 0, missing: 0 };
}

export function countVerdicts(items: readonly { readonly verdict: Verdict }[]): VerdictCounts {
  const counts = noVerdicts();
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

function describeRoom(state: State, { id, messages, entries }: RoomFound, isWhole: boolean): object {
  const room = state.room(id);
  const omissions = entries === null ? null : findOmissions(entries);
  return {
    room: id,
    n: room?.range.size ?? 0,
    root: room === undefined ? null : toHex(room.root),
    messages,
    ...(omissions !== null && { omissions: describeOmissions(omissions) }),
    ...(isWhole && { entries: entries?.map(describeEntry) ?? [] }),
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
      senderKeyVersion: message.senderKeyVersion,
      receiverKeyVersion: message.receiverKeyVersion,
      seq: message.seq,
      timestamp: message.timestamp,
    }),
  };
}

function describeAnchor({ event, verdict }: Pick<Anchor, "event" | "verdict">): object {
  return { index: event.index, cid: event.text, blockNumber: event.blockNumber, verdict };
}

function anchorLine({ event, verdict }: Pick<Anchor, "event" | "verdict">): string {
  return `  anchor ${event.index} ${formatVerdict(verdict)}: ${harmlessLine(event.text)}`;
}

function entryLine({ cid, anchorIndex, verdict, message }: Entry): string {
  const who = message === null ? "" : ` ${short(checksummed(message.sender))} ${formatTime(message.timestamp)}`;
  return `  message ${cid} in anchor ${anchorIndex}${who} ${formatVerdict(verdict)}`;
}

function summarize({ verified, rejected, missing }: VerdictCounts): string {
  return `${verified} verified, ${rejected} rejected, ${missing} missing`;
}
