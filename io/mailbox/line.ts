/** The line of manifests as the mailbox knows it: its tip, the rooms' state there, and how much of the chain went into it. */
import type { Database, Statement } from "better-sqlite3";

import { equal, toBinaryString } from "../../protocol/bytes.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { isCid, type Cid } from "../../protocol/cid.ts";
import { primitives } from "../../protocol/crypto/provider.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Tip } from "../../protocol/manifest.ts";
import { StateNodes } from "../../protocol/state-nodes.ts";
import { State } from "../../protocol/state.ts";
import { accessMailbox } from "./access.ts";
import { NodeTable } from "./node-table.ts";

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
interface LineRecord {
  readonly tip: RecordedTip | null;
  readonly accounted: AccountedLog;
}

interface RecordedTip extends Omit<Tip, "state"> {
  /** The state root, 32 bytes. */
  readonly root: Uint8Array;
  /** The root's node; null where there are no rooms. */
  readonly ref: number | null;
}

type Row = readonly [
  index: number | null,
  cid: Cid | null,
  seq: number | null,
  root: Uint8Array | null,
  ref: number | null,
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
  private readonly nodes: NodeTable;
  /** Which tip a state was read of. */
  private readonly origins = new WeakMap<StateNodes, RecordedTip | null>();
  private readonly get: Statement<[], unknown[]>;
  private readonly set: Statement<[...Row, Uint8Array]>;

  constructor(database: Database) {
    this.nodes = new NodeTable(database);
    this.get = database
      .prepare<[], unknown[]>(
        "SELECT tip_index, tip_cid, tip_seq, tip_state, tip_ref, anchor_count, anchor_head, is_settled, checksum FROM line",
      )
      .raw();
    this.set = database.prepare("INSERT OR REPLACE INTO line VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
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
    const { index, cid, seq } = record.tip;
    return { index, cid, seq, state: this.open(record.tip) };
  }

  /** Stores a tip: of its state only what the stored one has not, which then is gone. */
  setTip({ index, cid, seq, state }: Tip): void {
    const saved = this.replaceState(state);
    const tip = { index, cid, seq, root: state.root, ref: saved.link?.ref ?? null };
    this.write({ ...(this.record() ?? NOTHING), tip });
  }

  /** Forgets the tip and every room. */
  clear(): void {
    this.nodes.clear();
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
    const [index, cid, seq, root, ref, count, head, isSettled] = row;
    const hasTip = index !== null && cid !== null && seq !== null && root !== null;
    return {
      tip: hasTip ? { index, cid, seq, root: copy(root), ref } : null,
      accounted: { count, head: copy(head), isSettled: isSettled === 1 },
    };
  }

  private write(record: LineRecord): void {
    const row = rowOf(record);
    this.set.run(...row, checksumOfLine(row));
  }

  private open(tip: RecordedTip, nodes = this.nodesAt(tip)): State {
    return State.open(tip.ref === null ? null : { ref: tip.ref, hash: toBinaryString(tip.root) }, nodes);
  }

  /** The stored nodes, as somebody reads and writes them who found this tip. */
  private nodesAt(tip: RecordedTip | null): StateNodes {
    const nodes = new StateNodes({
      read: (ref) => accessMailbox(() => this.nodes.read(ref)),
      write: (row) => accessMailbox(() => this.nodes.write(row)),
      refusal: () => accessMailbox(() => this.refusal(tip)),
    });
    this.origins.set(nodes, tip);
    return nodes;
  }

  /** @returns the state as it is stored now */
  private replaceState(state: State): State {
    const tip = this.record()?.tip ?? null;
    const { nodes } = state;
    const origin = nodes === null ? null : (this.origins.get(nodes) ?? null);
    if (nodes !== null && origin !== null && this.isCurrent(origin)) {
      return this.writeDifference(this.open(origin, nodes), state, nodes);
    }
    try {
      if (tip !== null) {
        const known = this.nodesAt(tip);
        const stored = this.open(tip, known);
        return this.writeDifference(stored, state.sharing(stored), known);
      }
    } catch (error) {
      // Nothing is kept of a stored state that is damaged: this one puts it right.
      if (!(error instanceof DmtpError) || error.code !== "DATABASE_DAMAGED") throw error;
    }
    this.nodes.clear();
    return state.save(this.nodesAt(null));
  }

  private writeDifference(stored: State, state: State, nodes: StateNodes): State {
    const superseded = stored.superseded(state);
    const saved = state.save(nodes);
    for (const ref of superseded) this.nodes.delete(ref);
    return saved;
  }

  private isCurrent(tip: RecordedTip | null): boolean {
    const recorded = this.record()?.tip ?? null;
    if (recorded === null || tip === null) return false;
    const { index, cid, seq, root, ref } = recorded;
    return index === tip.index && cid === tip.cid && seq === tip.seq && ref === tip.ref && equal(root, tip.root);
  }

  /** Why a node of a tip could not be read. */
  private refusal(tip: RecordedTip | null): DmtpError {
    return this.isCurrent(tip)
      ? new DmtpError("DATABASE_DAMAGED", "the mailbox: the rooms do not give the recorded state root")
      : new DmtpError("DATABASE_BUSY", "the mailbox: another command has meanwhile moved the line of manifests on");
  }
}

function rowOf({ tip, accounted: { count, head, isSettled } }: LineRecord): Row {
  const { index = null, cid = null, seq = null, root = null, ref = null } = tip ?? {};
  return [index, cid, seq, root, ref, count, head, isSettled ? 1 : 0];
}

/** SHA-256 over the row: an anchor that builds on a tip with one wrong byte would be rejected. */
function checksumOfLine(row: Row): Uint8Array {
  return primitives.sha256(encode(row));
}

/** A damaged file can give values of any type. */
function isRow(row: unknown[]): row is [...Row] {
  const [index, cid, seq, root, ref, count, head, isSettled] = row;
  return (
    (index === null || isCount(index)) &&
    (cid === null || isCid(cid)) &&
    (seq === null || isCount(seq)) &&
    (root === null || root instanceof Uint8Array) &&
    (ref === null || isCount(ref)) &&
    isCount(count) &&
    head instanceof Uint8Array &&
    isCount(isSettled)
  );
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A plain array, which is compared and shown as such: better-sqlite3 gives Buffers. */
function copy(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes);
}
