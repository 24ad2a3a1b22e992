/** The transactions that were signed for something that the mailbox has decided on, each written down before a node gets it. */
import type { Database, Statement } from "better-sqlite3";
import { keccak256 } from "ethers/crypto";

import type { Address } from "../../protocol/address.ts";
import type { Hex } from "../../protocol/bytes.ts";
import type { Attempt } from "../chain/transactions/attempt.ts";
import type { Fees } from "../chain/transactions/fees.ts";

interface AttemptRow extends Pick<Attempt, "account" | "nonce" | "hash" | "raw" | "submittedAtBlock"> {
  readonly maxFeePerGas: string;
  readonly maxPriorityFeePerGas: string;
  readonly gasLimit: string;
}

const COLUMNS = `account, nonce, max_fee_per_gas AS maxFeePerGas, max_priority_fee_per_gas AS maxPriorityFeePerGas,
  gas_limit AS gasLimit, hash, raw, submitted_at_block AS submittedAtBlock`;

/** Prepared statements over one table of schema.ts; transactions and errors are the mailbox's. */
export class Attempts {
  private readonly statements;

  /** @param owner the column with what the attempts are for: a row of the journal, or a call of KeyRegistry */
  constructor(database: Database, owner: "journal_id" | "call_id") {
    const prepare = <Parameters extends unknown[], Result = unknown>(sql: string): Statement<Parameters, Result> =>
      database.prepare<Parameters, Result>(sql);
    this.statements = {
      of: prepare<[number], AttemptRow>(`SELECT ${COLUMNS} FROM attempts WHERE ${owner} = ? ORDER BY id`),
      offers: prepare<[Address, number], AttemptRow>(`SELECT ${COLUMNS} FROM attempts WHERE account = ? AND nonce = ?`),
      add: prepare<[number, Address, number, string, string, string, Hex | null, Hex | null, number]>(
        `INSERT INTO attempts (${owner}, account, nonce, max_fee_per_gas, max_priority_fee_per_gas, gas_limit, hash, raw,
           submitted_at_block) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ),
      setHash: prepare<[Hex, number]>(
        `UPDATE attempts SET hash = ? WHERE id = (SELECT max(id) FROM attempts WHERE ${owner} = ?) AND hash IS NULL`,
      ),
    };
  }

  /** Oldest first. */
  of(ownerId: number): Attempt[] {
    return this.statements.of.all(ownerId).flatMap(decodeAttempt);
  }

  add(ownerId: number, { account, nonce, fees, gasLimit, hash, raw, submittedAtBlock }: Attempt): void {
    const [maxFee, maxTip] = [String(fees.maxFeePerGas), String(fees.maxPriorityFeePerGas)];
    this.statements.add.run(ownerId, account, nonce, maxFee, maxTip, String(gasLimit), hash, raw, submittedAtBlock);
  }

  setHash(ownerId: number, hash: Hex): void {
    this.statements.setHash.run(hash, ownerId);
  }

  /** The most that any transaction of this mailbox offered with this nonce, whatever it was for. */
  offered(account: Address, nonce: number): Fees | null {
    const offers = this.statements.offers.all(account, nonce).flatMap(decodeAttempt);
    return offers.reduce<Fees | null>((most, { fees }) => (most === null ? fees : greater(most, fees)), null);
  }
}

function greater(a: Fees, b: Fees): Fees {
  return {
    maxFeePerGas: a.maxFeePerGas > b.maxFeePerGas ? a.maxFeePerGas : b.maxFeePerGas,
    maxPriorityFeePerGas:
      a.maxPriorityFeePerGas > b.maxPriorityFeePerGas ? a.maxPriorityFeePerGas : b.maxPriorityFeePerGas,
  };
}

/** None for an attempt that the disk gave other bytes back of: its nonce is then taken again, and replaces it. */
function decodeAttempt({ maxFeePerGas, maxPriorityFeePerGas, gasLimit, ...row }: AttemptRow): Attempt[] {
  if (row.raw !== null && keccak256(row.raw) !== row.hash) return [];
  const fees = { maxFeePerGas: BigInt(maxFeePerGas), maxPriorityFeePerGas: BigInt(maxPriorityFeePerGas) };
  return [{ ...row, fees, gasLimit: BigInt(gasLimit) }];
}
