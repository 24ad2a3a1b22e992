/** What a room's verified messages say is missing or forked (SPEC 8.5), from the rows that are kept of it. */
import type { Cid } from "../../protocol/cid.ts";
import { MAX_NAMED, type SequenceNumber } from "../../protocol/omissions.ts";
import type { Snapshot } from "./snapshot.ts";

export interface OmissionsAnswer {
  readonly gaps: SequenceNumber[];
  readonly forks: SequenceNumber[];
  readonly unseen: Cid[];
}

interface RunRow {
  readonly sender: SequenceNumber["sender"];
  readonly senderKeyVersion: number;
  /** The highest number of the run before; null for the first. */
  readonly before: number | null;
  readonly first: number;
}

const OWNER = "sender, sender_key_version AS senderKeyVersion";
/** Before each run that does not begin with 1 there is a gap. */
const GAPS = `
  SELECT ${OWNER}, first, (
    SELECT last FROM sequence_runs AS p
    WHERE p.room_number = r.room_number AND p.sender = r.sender AND p.sender_key_version = r.sender_key_version
      AND p.first < r.first ORDER BY p.first DESC LIMIT 1
  ) AS before
  FROM sequence_runs AS r WHERE room_number = ? AND first > 1
  ORDER BY sender, sender_key_version, first LIMIT ${MAX_NAMED}`;
const FORKS = `
  SELECT ${OWNER}, seq FROM sequence_forks WHERE room_number = ?
  ORDER BY sender, sender_key_version, seq LIMIT ${MAX_NAMED}`;
const UNSEEN = `
  SELECT cid FROM unseen JOIN cids ON cids.id = cid_id WHERE room_number = ?
  ORDER BY anchor_index, ordinal, position LIMIT ${MAX_NAMED}`;

export function readOmissions(snapshot: Pick<Snapshot, "all">, roomNumber: number): OmissionsAnswer {
  const gaps: SequenceNumber[] = [];
  for (const { sender, senderKeyVersion, before, first } of snapshot.all<RunRow>(GAPS, roomNumber)) {
    for (let seq = (before ?? 0) + 1; seq < first && gaps.length < MAX_NAMED; seq++) {
      gaps.push({ sender, senderKeyVersion, seq });
    }
  }
  return {
    gaps,
    forks: snapshot.all<SequenceNumber>(FORKS, roomNumber),
    unseen: snapshot.all<{ cid: Cid }>(UNSEEN, roomNumber).map(({ cid }) => cid),
  };
}
