/** What an audit says: for a person, for `--json`, and as an exit code. */
import { harmlessLine } from "../io/harmless.ts";
import { checksummed } from "../protocol/address.ts";
import { toHex, type Hex } from "../protocol/bytes.ts";
import type { Cid } from "../protocol/cid.ts";
import type { Entry } from "../protocol/entry.ts";
import { DmtpError } from "../protocol/error.ts";
import { findOmissions } from "../protocol/omissions.ts";
import type { Anchor } from "../protocol/replay/memory-store.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import type { State } from "../protocol/state.ts";
import type { Verdict } from "../protocol/verdict.ts";
import type { Outcome } from "./command.ts";
import { describeOmissions, formatOmissions } from "./omission-report.ts";
import { formatAccount, formatBinding, formatTime, formatVerdict, plural, short, table } from "./terminal.ts";
import { countUnshown, formatUnshown, showsEach, type UnshownKind } from "./unshown.ts";

/** The most anchors that are named of those that are not verified. */
const MAX_NAMED = 100;

/** What an audit found. */
interface AuditFinding {
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
  /** How many of the rejected entries are of messages that are verified at another place: there they are part of the history. */
  readonly verifiedElsewhere: number;
  /** Whether a message has a verified entry anywhere. */
  readonly isVerified: (cid: Cid) => boolean;
  /** How many of the verified entries are of anchors that are not verified: no count, room root or state covers them. */
  readonly unaccounted: number;
  /** How many verified keys, and verified messages, no signature of a wallet stands behind: the chain alone vouches for them. */
  readonly unsigned: { readonly keys: number; readonly messages: number };
  /** Messages that were not asked for. */
  readonly others: number;
  /** What a person sees of the messages. */
  readonly shown: readonly Entry[];
  /** What of the messages is not verified, by its kind. */
  readonly unshown: readonly UnshownKind[];
}

export interface RoomFound {
  readonly id: RoomId;
  readonly messages: VerdictCounts;
  /** Null when they were not kept. */
  readonly entries: readonly Entry[] | null;
}

export function reportAudit(found: AuditFinding): Outcome {
  const { deployment, block, state, messages, verifiedElsewhere, unaccounted, others, unsigned, unshown } = found;
  const anchors = countVerdicts(found.anchors);
  const odd = found.anchors.filter(({ verdict }) => verdict.status !== "verified");
  const oddKinds = countUnshown(
    odd.map(({ event, verdict }) => ({ cid: event.text, anchorIndex: event.index, verdict })),
  );
  const error = errorOf(anchors, messages, verifiedElsewhere);
  return {
    data: {
      chainId: deployment.chainId,
      cidStore: checksummed(deployment.cidStore),
      keyRegistry: checksummed(deployment.keyRegistry),
      block,
      anchors,
      messages,
      verifiedElsewhere,
      unaccounted,
      unsigned,
      ...(others > 0 && { others }),
      state: toHex(state.root),
      rooms: found.rooms.map((room) => describeRoom(found, room)),
      unshown,
      rejectedAnchors: odd.slice(0, MAX_NAMED).map(describeAnchor),
    },
    text: [
      `rebuilt from ${found.from}`,
      table([
        ["anchors", summarize(anchors)],
        ["messages", summarize(messages) + (others > 0 ? `; ${others.toLocaleString("en")} others not asked for` : "")],
        ...(verifiedElsewhere === 0
          ? []
          : [["", `of the rejected, ${verifiedElsewhere.toLocaleString("en")} verified at another place`] as const]),
        ...(unaccounted === 0
          ? []
          : [["", `of the verified, ${unaccounted.toLocaleString("en")} not accounted: their anchor is not`] as const]),
        [
          "unsigned",
          `${plural(unsigned.keys, "key")} and ${plural(unsigned.messages, "message")} by the chain's word alone`,
        ],
        ["rooms", found.rooms.length.toLocaleString("en")],
        ["state root", toHex(state.root)],
      ]),
      ...odd.filter(showsEach(oddKinds)).map(anchorLine),
      ...formatUnshown(oddKinds, "anchors"),
      ...found.shown.filter(showsEach(unshown)).map((entry) => entryLine(found, entry)),
      ...formatUnshown(unshown, found.isWhole ? "entries of this room" : "entries"),
      ...(found.isWhole ? found.rooms.flatMap(({ entries }) => formatOmissions(findOmissions(entries ?? []))) : []),
    ].join("\n"),
    ...(error !== undefined && { error }),
  };
}

interface VerdictCounts {
  readonly verified: number;
  readonly rejected: number;
  readonly missing: number;
}

export type Counts = Record<Verdict["status"], number>;

export function noVerdicts(): Counts {
  return { verified: 0, rejected: 0, missing: 0 };
}

export function countVerdicts(items: readonly { readonly verdict: Verdict }[]): VerdictCounts {
  const counts = noVerdicts();
  for (const { verdict } of items) counts[verdict.status] += 1;
  return counts;
}

/**
 * An anchor that was rejected and skipped harms nobody, and neither does a rejected entry of a message that is verified at another place:
 * a repetition, a place in a foreign room, or one before its keys that was anchored again. Any other rejected message, or anything out of
 * reach, is worth an exit code.
 */
function errorOf(anchors: VerdictCounts, messages: VerdictCounts, verifiedElsewhere: number): DmtpError | undefined {
  const rejected = messages.rejected - verifiedElsewhere;
  if (rejected > 0) return new DmtpError("HISTORY_NOT_VERIFIED", `${plural(rejected, "message")} rejected`);
  if (anchors.missing + messages.missing > 0) {
    const what = `${plural(anchors.missing, "anchor")} and ${plural(messages.missing, "message")} not reachable`;
    return new DmtpError("HISTORY_INCOMPLETE", what);
  }
  return undefined;
}

function describeRoom(found: AuditFinding, { id, messages, entries }: RoomFound): object {
  const room = found.state.room(id);
  const shown = entries?.filter(showsEach(found.unshown)) ?? [];
  const omissions = entries === null ? null : findOmissions(entries);
  return {
    room: id,
    n: room?.range.size ?? 0,
    root: room === undefined ? null : toHex(room.root),
    messages,
    ...(omissions !== null && { omissions: describeOmissions(omissions) }),
    ...(found.isWhole && { entries: shown.map((entry) => describeEntry(found, entry)) }),
  };
}

function describeEntry(found: AuditFinding, entry: Entry): object {
  const { cid, anchorIndex, verdict, message } = entry;
  return {
    cid,
    anchorIndex,
    verdict,
    accounted: isAccounted(found, entry),
    ...(verdict.status === "rejected" && { isVerifiedElsewhere: found.isVerified(cid) }),
    ...(message !== null && {
      sender: checksummed(message.sender),
      receiver: checksummed(message.receiver),
      senderKeyVersion: message.senderKeyVersion,
      receiverKeyVersion: message.receiverKeyVersion,
      seq: message.seq,
      timestamp: message.timestamp,
      binding: message.binding,
    }),
  };
}

function describeAnchor({ event, verdict }: Pick<Anchor, "event" | "verdict">): object {
  return { index: event.index, cid: event.text, blockNumber: event.blockNumber, verdict };
}

function anchorLine({ event, verdict }: Pick<Anchor, "event" | "verdict">): string {
  return `  anchor ${event.index} ${formatVerdict(verdict)}: ${harmlessLine(event.text)}`;
}

function entryLine(found: AuditFinding, entry: Entry): string {
  const { cid, anchorIndex, verdict, message } = entry;
  const who = message === null ? "" : ` ${short(checksummed(message.sender))} ${formatTime(message.timestamp)}`;
  const elsewhere = verdict.status === "rejected" && found.isVerified(cid) ? ", verified at another place" : "";
  const account = formatAccount(isAccounted(found, entry));
  return `  message ${cid} in anchor ${anchorIndex}${who} ${formatVerdict(verdict)}${elsewhere}${account}${formatBinding(message?.binding ?? null)}`;
}

/** Whether the anchor of an entry is verified (SPEC 8.4). */
function isAccounted({ anchors }: Pick<AuditFinding, "anchors">, { anchorIndex }: Pick<Entry, "anchorIndex">): boolean {
  return anchors[anchorIndex]?.verdict.status === "verified";
}

function summarize({ verified, rejected, missing }: VerdictCounts): string {
  const [some, bad, absent] = [verified, rejected, missing].map((count) => count.toLocaleString("en"));
  return `${some} verified, ${bad} rejected, ${absent} missing`;
}
