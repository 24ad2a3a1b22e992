/** What a room's own messages say is missing or forked (SPEC 8.5): how an omission or a reordering shows. */
import type { Address } from "./address.ts";
import { toHex } from "./bytes.ts";
import { digestOfCid, type Cid } from "./cid.ts";
import type { EnvelopeHeader } from "./envelope.ts";
import type { Verdict } from "./verdict.ts";

/** One number of one key version of a sender: each version counts its messages in the room from 1. */
export interface SequenceNumber {
  readonly sender: Address;
  readonly senderKeyVersion: number;
  readonly seq: number;
}

/** Each list has the first 100 at most. */
export interface Omissions {
  /** Numbers below the highest that a sender gave under that key version, and that no message has. */
  readonly gaps: readonly SequenceNumber[];
  /** Numbers that more than one message has. */
  readonly forks: readonly SequenceNumber[];
  /** Digests of messages that a sender had seen, and that the room does not hold. */
  readonly unseen: readonly Uint8Array[];
}

/** An entry of the room; `message` is null while its block is missing, and when it is no envelope. */
interface SequencedEntry {
  readonly cid: Cid;
  readonly verdict: Verdict;
  readonly message: Pick<EnvelopeHeader, "sender" | "senderKeyVersion" | "seq" | "seen"> | null;
}

export const MAX_NAMED = 100;

/** How many messages of one key version of a sender have each number. */
interface Count {
  readonly sender: Address;
  readonly senderKeyVersion: number;
  readonly messages: Map<number, number>;
}

/** Looks at the verified entries of one room. */
export function findOmissions(entries: Iterable<SequencedEntry>): Omissions {
  const counts = new Map<string, Count>();
  const held = new Set<string>();
  const named = new Map<string, Uint8Array>();
  for (const { cid, verdict, message } of entries) {
    if (verdict.status !== "verified" || message === null) continue;
    held.add(toHex(digestOfCid(cid)));
    for (const digest of message.seen) named.set(toHex(digest), digest);
    const { sender, senderKeyVersion, seq } = message;
    const key = `${sender}/${senderKeyVersion}`;
    const count = counts.get(key) ?? { sender, senderKeyVersion, messages: new Map<number, number>() };
    counts.set(key, count);
    count.messages.set(seq, (count.messages.get(seq) ?? 0) + 1);
  }
  const gaps: SequenceNumber[] = [];
  const forks: SequenceNumber[] = [];
  for (const { sender, senderKeyVersion, messages } of [...counts.values()].sort(compareCounts)) {
    let expected = 1;
    for (const seq of [...messages.keys()].sort((a, b) => a - b)) {
      for (; expected < seq && gaps.length < MAX_NAMED; expected++) {
        gaps.push({ sender, senderKeyVersion, seq: expected });
      }
      expected = seq + 1;
      if ((messages.get(seq) ?? 0) > 1 && forks.length < MAX_NAMED) forks.push({ sender, senderKeyVersion, seq });
    }
  }
  const unseen = [...named].filter(([key]) => !held.has(key)).map(([, digest]) => digest);
  return { gaps, forks, unseen: unseen.slice(0, MAX_NAMED) };
}

function compareCounts(a: Count, b: Count): number {
  if (a.sender !== b.sender) return a.sender < b.sender ? -1 : 1;
  return a.senderKeyVersion - b.senderKeyVersion;
}
