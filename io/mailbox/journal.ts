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
import { keccak256 } from "ethers/crypto";

import type { Address } from "../../protocol/address.ts";
import type { Hex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Attempt } from "../chain/attempt.ts";

export type JournalState = "planned" | "written" | "submitted" | "mined" | "final" | "adopted" | "abandoned";

export interface Plan {
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

interface AttemptRow extends Pick<Attempt, "account" | "nonce" | "hash" | "raw" | "submittedAtBlock"> {
  readonly maxFeePerGas: string;
  readonly maxPriorityFeePerGas: string;
  readonly gasLimit: string;
}

const ROW = `id, state, prev, entry_index AS "index", count, manifest, block_number AS blockNumber`;
const OPEN = "state IN ('planned', 'written', 'submitted', 'mined')";
const ATTEMPT = `account, nonce, max_fee_per_gas AS maxFeePerGas, max_priority_fee_per_gas AS maxPriorityFeePerGas,
  gas_limit AS gasLimit, hash, raw, submitted_at_block AS submittedAtBlock`;

/** Prepared statements over the two tables; transactions and errors are the mailbox's. */
export class Journal {
  private readonly statements;

  constructor(database: Database) {
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
      attempts: prepare<[number], AttemptRow>(`SELECT ${ATTEMPT} FROM attempts WHERE journal_id = ? ORDER BY id`),
      offers: prepare<[Address, number], AttemptRow>(`SELECT ${ATTEMPT} FROM attempts WHERE account = ? AND nonce = ?`),
      addAttempt: prepare<[number, Address, number, string, string, string, Hex | null, Hex | null, number]>(
        `INSERT INTO attempts (journal_id, account, nonce, max_fee_per_gas, max_priority_fee_per_gas, gas_limit, hash, raw,
           submitted_at_block) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ),
      setHash: prepare<[Hex, number]>(
        "UPDATE attempts SET hash = ? WHERE id = (SELECT max(id) FROM attempts WHERE journal_id = ?) AND hash IS NULL",
      ),
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

  /** Like `submit` and `mine`. @throws ANCHOR_OVERTAKEN when another process has ended the row in between */
  write(id: number, manifest: Cid): void {
    changed(this.statements.write.run(manifest, id).changes, id);
  }

  submit(id: number, attempt: Attempt): void {
    changed(this.statements.submit.run(id).changes, id);
    const { account, nonce, fees, gasLimit, hash, raw, submittedAtBlock } = attempt;
    const [maxFee, maxTip] = [fees.maxFeePerGas, fees.maxPriorityFeePerGas].map(String) as [string, string];
    this.statements.addAttempt.run(id, account, nonce, maxFee, maxTip, String(gasLimit), hash, raw, submittedAtBlock);
  }

  setHash(id: number, hash: Hex): void {
    this.statements.setHash.run(hash, id);
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

  attempts(id: number): Attempt[] {
    return this.statements.attempts.all(id).flatMap(attemptOf);
  }

  offers(account: Address, nonce: number): Attempt[] {
    return this.statements.offers.all(account, nonce).flatMap(attemptOf);
  }
}

function rowOf(row: JournalRow): JournalRow {
  return { ...row, prev: new Uint8Array(row.prev) };
}

/** None for an attempt that the disk gave other bytes back of: its nonce is then taken again, and replaces it. */
function attemptOf({ maxFeePerGas, maxPriorityFeePerGas, gasLimit, ...row }: AttemptRow): Attempt[] {
  if (row.raw !== null && keccak256(row.raw) !== row.hash) return [];
  const fees = { maxFeePerGas: BigInt(maxFeePerGas), maxPriorityFeePerGas: BigInt(maxPriorityFeePerGas) };
  return [{ ...row, fees, gasLimit: BigInt(gasLimit) }];
}

function changed(changes: number, id: number): void {
  if (changes === 0)
    throw new DmtpError("ANCHOR_OVERTAKEN", `anchor ${id} of the journal was ended by another process`);
}
