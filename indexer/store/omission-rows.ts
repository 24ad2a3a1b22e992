/**
 * What each room's verified messages say is missing or forked (SPEC 8.5), kept as they come, so that nobody who asks has a room walked
 * through. Of what messages name as seen, only what the history has at a later place, or not at all, has rows.
 */
import type Database from "better-sqlite3";

import { cidOfDigest, type Cid } from "../../protocol/cid.ts";
import type { MessageSummary } from "../../protocol/entry.ts";
import { comparePlaces, type Place } from "../../protocol/replay/store.ts";
import { SequenceRows } from "./sequence-rows.ts";
import { Statements } from "./statements.ts";

/** Where a message is verified, with the numbers of its room and of its CID. */
export interface VerifiedPlace extends Place {
  readonly roomNumber: number;
  readonly cidId: number;
}

/** The number of a CID, and the place where it is verified in the room, if it is. */
export type FindNamed = (cid: Cid, roomNumber: number) => { readonly cidId: number; readonly place: Place | null };

interface SequenceRow {
  readonly roomNumber: number;
  readonly sender: MessageSummary["sender"];
  readonly senderKeyVersion: number;
  readonly seq: number;
}

const SEQUENCES = "SELECT room_number AS roomNumber, sender, sender_key_version AS senderKeyVersion, seq FROM entries";

export class OmissionRows {
  private readonly statements: Statements;
  private readonly sequences: SequenceRows;
  private readonly findNamed: FindNamed;
  /** Whether any message was named before its place; where all are in order, that saves each a look. */
  private hasNamed: boolean;

  constructor(database: Database.Database, findNamed: FindNamed) {
    this.statements = new Statements(database);
    this.sequences = new SequenceRows(database);
    this.findNamed = findNamed;
    this.hasNamed = this.statements.prepare("SELECT 1 FROM named_ahead LIMIT 1").get() !== undefined;
  }

  /**
   * A message is verified at this place. {@link flush} has to follow.
   * @param mayBeNamed whether any message may have named it as seen
   */
  add(at: VerifiedPlace, message: MessageSummary, mayBeNamed = true): void {
    this.sequences.add(at.roomNumber, message);
    if (this.hasNamed && mayBeNamed) this.settleNamed(at);
    message.seen.forEach((digest, position) => {
      const { cidId, place } = this.findNamed(cidOfDigest(digest), at.roomNumber);
      if (place !== null && comparePlaces(place, at) < 0) return;
      this.hasNamed = true;
      const row = [at.roomNumber, cidId, at.anchorIndex, at.ordinal, position];
      this.statements.run("INSERT INTO named_ahead VALUES (?, ?, ?, ?, ?)", ...row);
      if (place === null) {
        this.statements.run(
          `INSERT INTO unseen VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
             SET anchor_index = excluded.anchor_index, ordinal = excluded.ordinal, position = excluded.position
             WHERE (excluded.anchor_index, excluded.ordinal) < (anchor_index, ordinal)`,
          ...row,
        );
      }
    });
  }

  /** A message that was verified at this place is verified at an earlier one now, which was added before. */
  leave({ anchorIndex, ordinal }: Place): void {
    const row = this.statements
      .prepare<SequenceRow>(`${SEQUENCES} WHERE anchor_index = ? AND ordinal = ?`)
      .get(anchorIndex, ordinal);
    if (row !== undefined) this.sequences.remove(row.roomNumber, row);
    this.statements.run("DELETE FROM named_ahead WHERE anchor_index = ? AND ordinal = ?", anchorIndex, ordinal);
  }

  /** Takes out what this anchor and all behind it list; to be called while the entries are still there. */
  truncate(fromAnchor: number): void {
    const rows = this.statements.prepare<SequenceRow>(
      `${SEQUENCES} WHERE anchor_index >= ? AND status = 'verified' ORDER BY anchor_index DESC, ordinal DESC`,
    );
    this.sequences.removeAll(rows.all(fromAnchor));
    this.statements.run("DELETE FROM named_ahead WHERE anchor_index >= ?", fromAnchor);
    this.statements.run("DELETE FROM unseen WHERE anchor_index >= ?", fromAnchor);
    // Of those that name what goes, the first one stays.
    this.statements.run(
      `INSERT OR IGNORE INTO unseen
         SELECT n.room_number, n.cid_id, n.anchor_index, n.ordinal, n.position
         FROM entries AS e CROSS JOIN named_ahead AS n ON n.room_number = e.room_number AND n.cid_id = e.cid_id
         WHERE e.anchor_index >= ? AND e.status = 'verified' ORDER BY n.anchor_index, n.ordinal`,
      fromAnchor,
    );
  }

  flush(): void {
    this.sequences.flush();
  }

  /** The message is here: those that name it at later places name nothing that is missing. */
  private settleNamed({ roomNumber, cidId, anchorIndex, ordinal }: VerifiedPlace): void {
    this.statements.run("DELETE FROM unseen WHERE room_number = ? AND cid_id = ?", roomNumber, cidId);
    this.statements.run(
      "DELETE FROM named_ahead WHERE room_number = ? AND cid_id = ? AND (anchor_index, ordinal) > (?, ?)",
      roomNumber,
      cidId,
      anchorIndex,
      ordinal,
    );
  }
}
