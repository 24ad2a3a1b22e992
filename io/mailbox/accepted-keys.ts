/**
 * The keys of contract wallets that the user has accepted on the word of the nodes alone, in rows of `meta`: of each wallet, the
 * version and both keys that were accepted last. Whatever a node shows later in their place has to be accepted anew.
 */
import type { Database, Statement } from "better-sqlite3";

import { toHex } from "../../protocol/bytes.ts";
import type { KeyEvent } from "../../protocol/event.ts";

const PREFIX = "accepted_key ";

type AcceptedKey = Pick<KeyEvent, "wallet" | "version" | "encryptionKey" | "signingKey">;

export class AcceptedKeys {
  private readonly insert: Statement<[string, string]>;
  private readonly select: Statement<[string]>;

  constructor(database: Database) {
    this.insert = database.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)");
    this.select = database.prepare<[string]>("SELECT value FROM meta WHERE name = ?").pluck();
  }

  accept(key: AcceptedKey): void {
    this.insert.run(PREFIX + key.wallet, formatKey(key));
  }

  has(key: AcceptedKey): boolean {
    return this.select.get(PREFIX + key.wallet) === formatKey(key);
  }
}

function formatKey({ version, encryptionKey, signingKey }: AcceptedKey): string {
  return `${version} ${toHex(encryptionKey)} ${toHex(signingKey)}`;
}
