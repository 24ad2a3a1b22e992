/** The wallets that this mailbox is of, in rows of `meta`. What a replay of the chain brought is not among them. */
import type { Database, Statement } from "better-sqlite3";

import type { Address } from "../../protocol/address.ts";

const PREFIX = "own_wallet ";

export class OwnWallets {
  private readonly insert: Statement<[string]>;
  private readonly select: Statement<[string], string>;

  constructor(database: Database) {
    this.insert = database.prepare("INSERT OR IGNORE INTO meta VALUES (?, 1)");
    this.select = database.prepare<[string], string>("SELECT name FROM meta WHERE name GLOB ? ORDER BY name").pluck();
  }

  note(wallet: Address): void {
    this.insert.run(PREFIX + wallet);
  }

  wallets(): Address[] {
    return this.select.all(`${PREFIX}*`).map((name) => name.slice(PREFIX.length) as Address);
  }
}
