/** What a replay of the whole chain makes of the mailbox: messages, marks, tip and rooms. */
import type { Cid } from "../../protocol/cid.ts";
import { decodeEnvelope } from "../../protocol/envelope.ts";
import type { VerdictCode } from "../../protocol/verdict.ts";
import type { Replay } from "../../protocol/replay/replay.ts";
import type { RoomId } from "../../protocol/room.ts";
import type { Anchors } from "./anchors.ts";
import type { Backlog } from "./backlog.ts";
import type { ChainLog } from "./chain-log.ts";
import { isMendable } from "./own-entry-judge.ts";
import type { Line } from "./line.ts";
import type { Messages } from "./messages.ts";
import type { UnreadListings } from "./unread-listings.ts";

interface Parts {
  readonly mail: Messages;
  readonly backlog: Backlog;
  readonly log: ChainLog;
  readonly line: Line;
  readonly anchors: Anchors;
  readonly unread: UnreadListings;
}

/**
 * Adopts a replay of all that the log has, inside a transaction. An entry that is verified decides about its message, and so does one
 * that no later anchor can mend; what an anchor only lists decides nothing. Messages with a verified entry that were not known are
 * kept. Where an anchor's content is missing, what this mailbox knows of it stays: it may be the only one who does. Own open anchors are
 * ended: the replay accounts for them, or their messages wait again.
 * @param head CIDStore's after the replay's last anchor, 32 bytes
 * @param blockOf the blocks that the replay was given
 */
export function adoptReplay(
  parts: Parts,
  replay: Replay,
  head: Uint8Array,
  blockOf: (cid: Cid) => Uint8Array | undefined,
  nowMs: number,
): void {
  const { backlog, log, line, anchors } = parts;
  backlog.unmarkAll((index) => replay.anchors[index]?.verdict.status === "missing");
  for (const { event, verdict } of replay.anchors) log.account(event.index, verdict);
  adoptEntries(parts, replay, blockOf);
  anchors.endAll(replay.anchors);
  adoptTip(line, replay);
  const isSettled = replay.missing().size === 0;
  line.setAccounted({ count: replay.anchors.length, head, isSettled });
  anchors.recordLook(nowMs, isSettled);
}

function adoptEntries(
  { mail, backlog, unread }: Parts,
  replay: Replay,
  blockOf: (cid: Cid) => Uint8Array | undefined,
): void {
  const refused: {
    readonly anchorIndex: number;
    readonly room: RoomId;
    readonly cid: Cid;
    readonly code: VerdictCode;
  }[] = [];
  const lacking: [RoomId | null, number][] = [];
  for (const room of replay.rooms) {
    for (const { cid, anchorIndex, verdict } of replay.entries(room)) {
      if (verdict.status === "missing") lacking.push([room, anchorIndex]);
      if (verdict.status === "rejected" && !isMendable(verdict.code))
        refused.push({ anchorIndex, room, cid, code: verdict.code });
      if (verdict.status !== "verified") continue;
      const block = mail.block(cid) === null ? blockOf(cid) : undefined;
      if (block !== undefined) mail.add({ cid, block, envelope: decodeEnvelope(block) });
      backlog.markPlace(anchorIndex, room, cid, null);
    }
  }
  // A verified entry decides about its message, wherever others of that message stand.
  for (const { anchorIndex, room, cid, code } of refused) backlog.markPlace(anchorIndex, room, cid, code);
  for (const { event } of replay.anchors) if (!replay.isListingWhole(event.index)) lacking.push([null, event.index]);
  unread.replace(lacking);
}

function adoptTip(line: Line, { anchors, tip }: Replay): void {
  const known = line.tipAnchor();
  const anchor = known === null ? undefined : anchors[known.index];
  // Our own anchor, still where it was, whose blocks nobody gives us now.
  const isOurs = known !== null && anchor?.event.cid === known.cid && anchor.verdict.status === "missing";
  if (isOurs && (tip === null || tip.index < known.index)) return;
  if (tip === null) line.clear();
  else line.setTip(tip);
}
