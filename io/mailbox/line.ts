/** The line of manifests as the mailbox knows it: its tip, the rooms' state there, and how much of the chain went into it. */
import type { Database, Statement } from "better-sqlite3";

import { equal } from "../../protocol/bytes.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { isCid, type Cid } from "../../protocol/cid.ts";
import { primitives } from "../../protocol/crypto/provider.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Tip } from "../../protocol/manifest.ts";
import type { NodeSource } from "../../protocol/state-tree.ts";
import { State } from "../../protocol/state.ts";
import { accessMailbox } from "./access.ts";
import { isCount, Rooms } from "./rooms.ts";

/** What of CIDStore the mailbox has accounted for. */
export interface AccountedLog {
  /** Entries. */
  readonly count: number;
  /** CIDStore's head after them, 32 bytes; zero when there are none. */
  readonly head: Uint8Array;
  /** Whether everything that they name could be read: if not, the next look may find more. */
  readonly isSettled: boolean;
}

/** What the one row of the table holds. */
export interface LineRecord {
  readonly tip: RecordedTip | null;
  readonly accounted: AccountedLog;
}

interface RecordedTip extends Omit<Tip, "state"> {
  /** The state root, 32 bytes. */
  readonly root: Uint8Array;
}

type Row = readonly [
  index: number | null,
  cid: Cid | null,
  seq: number | null,
  root: Uint8Array | null,
  count: number,
  head: Uint8Array,
  isSettled: number,
];

const HASH_BYTES = 32;
const NOTHING: LineRecord = {
  tip: null,
  accounted: { count: 0, head: new Uint8Array(HASH_BYTES), isSettled: true },
};

export class Line {
  private readonly rooms: Rooms;
  private readonly get: Statement<[], unknown[]>;
  private readonly set: Statement<[...Row, Uint8Array]>;

  constructor(database: Database) {
    this.rooms = new Rooms(database);
    this.get = database
      .prepare<[], unknown[]>(
        "SELECT tip_index, tip_cid, tip_seq, tip_state, anchor_count, anchor_head, is_settled, checksum FROM line",
      )
      .raw();
    this.set = database.prepare("INSERT OR REPLACE INTO line VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)");
  }

  /** Which anchor the tip is; null when there is none, or its record is damaged. */
  tipAnchor(): Pick<Tip, "index" | "cid"> | null {
    return this.record()?.tip ?? null;
  }

  /**
   * The tip. Of its state, only what is asked for is read: as long as it is in use, that may throw DATABASE_DAMAGED, or
   * DATABASE_BUSY when another command has moved the line on.
   * @throws DATABASE_DAMAGED when the record is not what was written
   */
  tip(): Tip | null {
    const record = this.record();
    if (record === null) throw new DmtpError("DATABASE_DAMAGED", "the mailbox: the record of the tip has other bytes");
    if (record.tip === null) return null;
    const { root, ...anchor } = record.tip;
    const source: TipSource = {
      tip: record.tip,
      branch: (prefix) => accessMailbox(() => this.rooms.branch(prefix)),
      room: (prefix) => accessMailbox(() => this.rooms.room(prefix)),
      refusal: () => accessMailbox(() => this.refusal(source)),
    };
    return { ...anchor, state: State.open(root, source) };
  }

  /** Stores a tip: of a state that grew from the stored one only what is new, of any other everything. */
  setTip({ index, cid, seq, state }: Tip): void {
    if (state.source !== null && this.isCurrent(state.source as TipSource)) {
      this.rooms.save(state.unsaved());
    } else {
      const whole = state.source === null ? state : State.of([...state.rooms()]);
      this.rooms.clear();
      this.rooms.save(whole.unsaved());
    }
    this.write({ ...(this.record() ?? NOTHING), tip: { index, cid, seq, root: state.root } });
  }

  /** Forgets the tip and every room. */
  clear(): void {
    this.rooms.clear();
    this.write({ ...(this.record() ?? NOTHING), tip: null });
  }

  /** When the record is damaged, nothing is accounted for: then the chain is read again, which puts everything right. */
  accounted(): AccountedLog {
    return this.record()?.accounted ?? { ...NOTHING.accounted, isSettled: false };
  }

  setAccounted(accounted: AccountedLog): void {
    this.write({ ...(this.record() ?? NOTHING), accounted });
  }

  /** Null when it is not what was written. */
  private record(): LineRecord | null {
    const row = this.get.get();
    if (row === undefined) return NOTHING;
    const checksum = row.pop();
    if (!isRow(row) || !(checksum instanceof Uint8Array) || !equal(checksumOfLine(row), checksum)) return null;
    const [index, cid, seq, root, count, head, isSettled] = row;
    return {
      tip:
        index === null || cid === null || seq === null || root === null ? null : { index, cid, seq, root: copy(root) },
      accounted: { count, head: copy(head), isSettled: isSettled === 1 },
    };
  }

  private write(record: LineRecord): void {
    const row = rowOf(record);
    this.set.run(...row, checksumOfLine(row));
  }

  private isCurrent({ tip }: TipSource): boolean {
    const recorded = this.record()?.tip;
    if (recorded === null || recorded === undefined) return false;
    const { index, cid, seq, root } = recorded;
    return index === tip.index && cid === tip.cid && seq === tip.seq && equal(root, tip.root);
  }

  /** Why a room of a tip could not be read. */
  private refusal(source: TipSource): DmtpError {
    return this.isCurrent(source)
      ? new DmtpError("DATABASE_DAMAGED", "the mailbox: the rooms do not give the recorded state root")
      : new DmtpError("DATABASE_BUSY", "the mailbox: another command has meanwhile moved the line of manifests on");
  }
}

/** Where the rooms of a tip are read from. */
interface TipSource extends NodeSource {
  readonly tip: RecordedTip;
}

export function rowOf({ tip, accounted: { count, head, isSettled } }: LineRecord): Row {
  return [tip?.index ?? null, tip?.cid ?? null, tip?.seq ?? null, tip?.root ?? null, count, head, isSettled ? 1 : 0];
}

/** SHA-256 over the row: an anchor that builds on a tip with one wrong byte would be rejected. */
export function checksumOfLine(row: Row): Uint8Array {
  return primitives.sha256(encode(row));
}

/** A damaged file can give values of any type. */
function isRow(row: unknown[]): row is [...Row] {
  const [index, cid, seq, root, count, head, isSettled] = row;
  return (
    (index === null || isCount(index)) &&
    (cid === null || isCid(cid)) &&
    (seq === null || isCount(seq)) &&
    (root === null || root instanceof Uint8Array) &&
    isCount(count) &&
    head instanceof Uint8Array &&
    isCount(isSettled)
  );
}

/** A plain array, which is compared and shown as such: better-sqlite3 gives Buffers. */
function copy(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes);
}
