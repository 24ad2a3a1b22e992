/**
 * The calls of KeyRegistry that this mailbox has decided on: registrations and revocations. A call is written down before anything of it is
 * signed, and is open until it is on the chain or can't come there any more; so whoever comes after a crash goes on with the same call, and
 * pays for it once.
 */
import type { Database, Statement } from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";
import type { Hex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { Attempt, AttemptLog } from "../chain/transactions/attempt.ts";
import { accessMailbox } from "./access.ts";
import type { Transaction } from "./anchors.ts";
import { Attempts } from "./attempts.ts";

export interface PlannedCall {
  readonly wallet: Address;
  readonly kind: "register" | "revoke";
  /** The version that it makes. */
  readonly version: number;
  /** What KeyRegistry is called with. */
  readonly data: Hex;
  /** The key document of a registration, and how its key is sealed; null for a revocation. */
  readonly document: Cid | null;
  readonly sealedWith: "wallet" | "passphrase" | null;
}

export interface RegistryCall extends PlannedCall {
  readonly id: number;
}

/** Every method may throw DATABASE_DAMAGED, DATABASE_BUSY, and DATABASE_WRITE_FAILED when it writes. */
export class RegistryCalls {
  private readonly transaction: Transaction;
  private readonly attempts: Attempts;
  private readonly selectOpen: Statement<[Address], RegistryCall>;
  private readonly insert: Statement<[Address, string, number, Hex, Cid | null, string | null]>;
  private readonly setState: Statement<[string, number]>;

  constructor(database: Database, transaction: Transaction) {
    this.transaction = transaction;
    this.attempts = new Attempts(database, "call_id");
    this.selectOpen = database.prepare<[Address], RegistryCall>(
      `SELECT id, wallet, kind, version, data, document, sealed_with AS sealedWith FROM registry_calls
       WHERE wallet = ? AND state = 'open' ORDER BY id LIMIT 1`,
    );
    this.insert = database.prepare(
      `INSERT INTO registry_calls (state, wallet, kind, version, data, document, sealed_with)
       VALUES ('open', ?, ?, ?, ?, ?, ?)`,
    );
    this.setState = database.prepare("UPDATE registry_calls SET state = ? WHERE id = ?");
  }

  /** The call of a wallet that is not ended; null when there is none. */
  open(wallet: Address): RegistryCall | null {
    return accessMailbox(() => this.selectOpen.get(wallet) ?? null);
  }

  plan(call: PlannedCall): RegistryCall {
    const { wallet, kind, version, data, document, sealedWith } = call;
    // A crash after this leaves a call of which nothing was signed; the next run gives it up.
    const { lastInsertRowid } = this.transaction(() =>
      this.insert.run(wallet, kind, version, data, document, sealedWith),
    );
    return { ...call, id: Number(lastInsertRowid) };
  }

  /** Whether a node may have a transaction of the call. */
  isSigned({ id }: RegistryCall): boolean {
    return accessMailbox(() => this.attempts.of(id).length > 0);
  }

  /** `mined`: the chain has what it makes. `abandoned`: it can't come onto the chain any more. */
  end({ id }: RegistryCall, state: "mined" | "abandoned"): void {
    this.transaction(() => {
      this.setState.run(state, id);
    });
  }

  /** Where the call's transactions are written down before a node gets them. */
  attemptLog({ id }: RegistryCall): AttemptLog {
    const { attempts, transaction } = this;
    return {
      attempts: () => accessMailbox(() => attempts.of(id)),
      // A crash before this returns: no node has it. After: a node may.
      record: (attempt: Attempt) => {
        transaction(() => {
          attempts.add(id, attempt);
        });
      },
      setHash: (hash) => {
        transaction(() => {
          attempts.setHash(id, hash);
        });
      },
      offered: (account, nonce) => accessMailbox(() => attempts.offered(account, nonce)),
    };
  }
}
