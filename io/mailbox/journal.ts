/**
 * What became of every manifest that this mailbox decided to anchor. A row is written before the step that it names is done in
 * the world, so that whoever comes after a crash knows what may have happened:
 *
 *     planned → written → submitted → mined → final
 *
 * `planned`: these messages, on this head. `written`: its blocks are in the content store, pinned. `submitted`: a node may have
 * its transaction. `mined`: the chain has it, in a block that may still be replaced; a reorg takes it back to `submitted`.
 * `adopted` and `abandoned` end it too: a replay of the whole chain accounts for its messages, or the head that it builds on is
 * gone and its messages wait again.
 */
import type { Database, Statement } from "better-sqlite3";

import type { Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Attempt } from "../chain/transactions/attempt.ts";
import { Attempts } from "./attempts.ts";

export type JournalState = "planned" | "written" | "submitted" | "mined" | "final" | "adopted" | "abandoned";

interface Plan {
  /** CIDStore's head that it builds on, 32 bytes. */
  readonly prev: Uint8Array;
  /** The entry that it becomes. */
  readonly index: number;
  /** How many messages it lists. */
  readonly count: number;
}

export interface JournalRow extends Plan {
  readonly id: number;
  readonly state: JournalState;
  /** Null while planned. */
  readonly manifest: Cid | null;
  /** Null until mined. */
  readonly blockNumber: number | null;
}

const ROW = `id, state, prev, entry_index AS "index", count, manifest, block_number AS blockNumber`;
const OPEN = "state IN ('planned', 'written', 'submitted', 'mined')";

/** Prepared statements over two tables; transactions and errors are the mailbox's. */
export class Journal {
  /** Of each row. */
  readonly attempts: Attempts;
  private readonly statements;

  constructor(database: Database) {
    this.attempts = new Attempts(database, "journal_id");
    const prepare = <Parameters extends unknown[], Result = unknown>(sql: string): Statement<Parameters, Result> =>
      database.prepare<Parameters, Result>(sql);
    this.statements = {
      open: prepare<[], JournalRow>(`SELECT ${ROW} FROM journal WHERE ${OPEN} ORDER BY id`),
      row: prepare<[number], JournalRow>(`SELECT ${ROW} FROM journal WHERE id = ?`),
      ofManifest: prepare<[Cid], JournalRow>(`SELECT ${ROW} FROM journal WHERE manifest = ? ORDER BY id DESC LIMIT 1`),
      insert: prepare<[Uint8Array, number]>(
        "INSERT INTO journal (state, prev, entry_index, count) VALUES ('planned', ?, ?, 0)",
      ),
      setCount: prepare<[number, number]>("UPDATE journal SET count = ? WHERE id = ?"),
      delete: prepare<[number]>("DELETE FROM journal WHERE id = ?"),
      write: prepare<[Cid, number]>(
        // One that was submitted before stays so: a node may still have its transaction.
        `UPDATE journal SET state = iif(state = 'planned', 'written', state), manifest = ?
         WHERE id = ? AND state IN ('planned', 'written', 'submitted')`,
      ),
      submit: prepare<[number]>(
        "UPDATE journal SET state = 'submitted' WHERE id = ? AND state IN ('written', 'submitted')",
      ),
      mine: prepare<[number, number]>(
        "UPDATE journal SET state = 'mined', block_number = ? WHERE id = ? AND state IN ('written', 'submitted', 'mined')",
      ),
      unmine: prepare<[number]>(
        "UPDATE journal SET state = 'submitted', block_number = NULL WHERE id = ? AND state = 'mined'",
      ),
      end: prepare<[string, string | null, number]>(`UPDATE journal SET state = ?, why = ? WHERE id = ? AND ${OPEN}`),
    };
  }

  /** What is not ended, oldest first; the entries that they become follow each other. */
  open(): JournalRow[] {
    return this.statements.open.all().map(rowOf);
  }

  row(id: number): JournalRow | null {
    const row = this.statements.row.get(id);
    return row === undefined ? null : rowOf(row);
  }

  /** The last row that made this manifest, whatever became of it. */
  ofManifest(cid: Cid): JournalRow | null {
    const row = this.statements.ofManifest.get(cid);
    return row === undefined ? null : rowOf(row);
  }

  /**
   * Adds a planned row.
   * @param list puts messages into it, and says how many; when it is none, there is no row
   */
  plan({ prev, index }: Omit<Plan, "count">, list: (id: number) => number): JournalRow | null {
    const id = Number(this.statements.insert.run(prev, index).lastInsertRowid);
    const count = list(id);
    if (count === 0) this.statements.delete.run(id);
    else this.statements.setCount.run(count, id);
    return this.row(id);
  }

  /** Like `submit` and `mine`. @throws MAILBOX_OVERTAKEN when another process has ended the row in between */
  write(id: number, manifest: Cid): void {
    changed(this.statements.write.run(manifest, id).changes, id);
  }

  submit(id: number, attempt: Attempt): void {
    changed(this.statements.submit.run(id).changes, id);
    this.attempts.add(id, attempt);
  }

  mine(id: number, blockNumber: number): void {
    changed(this.statements.mine.run(blockNumber, id).changes, id);
  }

  unmine(id: number): void {
    this.statements.unmine.run(id);
  }

  end(id: number, state: "final" | "adopted" | "abandoned", why: string | null): void {
    this.statements.end.run(state, why, id);
  }
}

function rowOf(row: JournalRow): JournalRow {
  return { ...row, prev: new Uint8Array(row.prev) };
}

function changed(changes: number, id: number): void {
  if (changes === 0)
    throw new DmtpError("MAILBOX_OVERTAKEN", `anchor ${id} of the journal was ended by another process`);
}
