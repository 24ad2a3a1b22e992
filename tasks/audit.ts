import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { ArchiveFile } from "../io/archive-file.ts";
import { scopeFilter } from "../io/archive.ts";
import { CarFileSource } from "../io/content/car-source.ts";
import { Sources } from "../io/content/sources.ts";
import type { ContentStore } from "../io/content/store.ts";
import { rebuild, type BlockReader } from "../io/history.ts";
import { OrderedReplay } from "../io/ordered-replay.ts";
import type { Entry } from "../protocol/entry.ts";
import { DmtpError } from "../protocol/error.ts";
import type { RoomId } from "../protocol/room.ts";
import type { Verdict } from "../protocol/verdict.ts";
import { requireOwnBlocks } from "./archive-deployment.ts";
import { countVerdicts, noVerdicts, reportAudit, type Counts, type RoomFound } from "./audit-report.ts";
import { command, conclude, type Outcome } from "./command.ts";
import { parseRoomOption } from "./named-option.ts";
import type { Session } from "./session.ts";
import { keepHeapSmall } from "./small-heap.ts";
import { plural, terminal, type Terminal } from "./terminal.ts";
import { countUnshown, UnshownCount } from "./unshown.ts";
import { countUnsignedKeys, isUnsigned } from "./unsigned.ts";

interface AuditArguments {
  readonly room: string | undefined;
  readonly car: string | undefined;
  readonly offline: boolean;
  readonly retryMissing: boolean;
  readonly json: boolean;
}

const online = command<AuditArguments>(async (session, { room, car, retryMissing }) => {
  const id = room === undefined ? undefined : parseRoomOption("--room", room);
  if (car === undefined) return audit(session, id, session.finder(retryMissing));
  const file = new CarFileSource(car);
  const content = new Sources([file]);
  try {
    await requireOwnBlocks(file, session.deployment);
    return await audit(session, id, { name: file.name, get: (cid) => content.get(cid) });
  } finally {
    await content.close();
  }
});

export default (args: AuditArguments, hre: HardhatRuntimeEnvironment): Promise<void> =>
  args.offline ? conclude(openNothing, () => auditOffline(args), args.json) : online(args, hre);

/**
 * Rebuilds and verifies everything from chain and content alone. It ends with 65 for rejected entries of messages that are verified nowhere,
 * and with 75 for what is out of reach.
 * @param content where all blocks come from; the session's own when not given
 */
export async function audit(
  session: Session,
  room?: RoomId,
  content: BlockReader & Pick<ContentStore, "name"> = session.finder(),
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
  if (room !== undefined && entries.length === 0) requireKnown(room, history.anchors);
  return reportAudit({
    deployment,
    block: { number, hash },
    from: `chain ${deployment.chainId} at block ${number} and ${content.name}`,
    anchors: history.anchors,
    state: history.state,
    rooms,
    isWhole: room !== undefined,
    messages: countVerdicts(entries),
    verifiedElsewhere: entries.filter(({ cid, verdict }) => verdict.status === "rejected" && history.isVerified(cid))
      .length,
    isVerified: (cid) => history.isVerified(cid),
    unaccounted: entries.filter((entry) => entry.verdict.status === "verified" && !history.isAccounted(entry)).length,
    unsigned: { keys: countUnsignedKeys(history.keys), messages: entries.filter(isUnsigned).length },
    others: 0,
    shown: room === undefined ? entries.filter(({ verdict }) => verdict.status !== "verified") : entries,
    unshown: countUnshown(entries),
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
  const unshown = new UnshownCount();
  let others = 0;
  let unsigned = 0;
  let verifiedElsewhere = 0;
  /** Of each anchor, which is decided after its entries. */
  const verifiedByAnchor = new Map<number, number>();
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
    unshown.add(entry);
    if (isUnsigned(entry)) unsigned += 1;
    if (entry.verdict.status === "verified") {
      verifiedByAnchor.set(entry.anchorIndex, (verifiedByAnchor.get(entry.anchorIndex) ?? 0) + 1);
    }
    if (entry.verdict.status === "rejected") {
      if (replay.isVerified(entry.cid)) verifiedElsewhere += 1;
      else replay.noteRejected(entry.cid);
    }
    if (room === undefined && entry.verdict.status !== "verified" && unshown.hasFew(entry.verdict)) shown.push(entry);
  });
  try {
    for (const event of events) await replay.take(event);
    return report();
  } finally {
    replay.close();
  }

  function report(): Outcome {
    if (room !== undefined && shown.length === 0) requireKnown(room, replay.anchors);
    const last = events.at(-1);
    let unaccounted = 0;
    for (const [index, count] of verifiedByAnchor) {
      if (replay.anchors[index]?.verdict.status !== "verified") unaccounted += count;
    }
    const said = isCompared ? "checked against" : "and what it says of";
    return reportAudit({
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
      verifiedElsewhere: verifiedElsewhere + replay.countMended(),
      isVerified: (cid) => replay.isVerified(cid),
      unaccounted,
      unsigned: { keys: countUnsignedKeys(replay.keys), messages: unsigned },
      others,
      shown: shown.filter(({ anchorIndex, room: id }) => holds(anchorIndex, id)),
      unshown: unshown.kinds,
    });
  }
}

/**
 * A room that no anchor lists may be misspelt; whoever trusts an empty answer would think that all is well with it.
 * @throws NOT_FOUND unless there are anchors that can't be read, and may list it
 */
function requireKnown(room: RoomId, anchors: readonly { readonly verdict: Verdict }[]): void {
  if (anchors.some(({ verdict }) => verdict.status === "missing")) return;
  throw new DmtpError("NOT_FOUND", `no anchor lists a message of room ${room}`, {
    hint: "Check the room's id: npx hardhat audit --json names all rooms.",
  });
}

async function auditOffline({ room, car }: AuditArguments): Promise<Outcome> {
  if (car === undefined)
    throw new DmtpError("OPTION_INVALID", "--offline is without --car", { hint: "Give --car FILE." });
  const id = room === undefined ? undefined : parseRoomOption("--room", room);
  keepHeapSmall();
  const file = await ArchiveFile.open(car, (blocks) => terminal.progress(`looked at ${plural(blocks, "block")}`));
  try {
    return await auditArchive(file, terminal, { room: id });
  } finally {
    await file.close();
  }
}

/** An archive needs neither chain nor store. */
function openNothing(): Promise<{ readonly close: () => Promise<void> }> {
  return Promise.resolve({ close: () => Promise.resolve() });
}
