/**
 * Version 3 of the mailbox: what became of every anchor is written down (journal.ts), and when content that is missing was last
 * looked for.
 */
import type { Database } from "better-sqlite3";

const TABLES = `
  CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    prev BLOB NOT NULL,
    entry_index INTEGER NOT NULL,
    after_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    manifest TEXT,
    block_number INTEGER,
    why TEXT
  ) STRICT;
  CREATE INDEX journal_open ON journal (id) WHERE state IN ('planned', 'written', 'submitted', 'mined');

  -- Every transaction that was signed for a row, before a node got it. Amounts are decimal text: SQLite's integers are too small.
  CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    journal_id INTEGER NOT NULL REFERENCES journal (id),
    account TEXT NOT NULL,
    nonce INTEGER NOT NULL,
    max_fee_per_gas TEXT NOT NULL,
    max_priority_fee_per_gas TEXT NOT NULL,
    gas_limit TEXT NOT NULL,
    hash TEXT,
    raw TEXT,
    submitted_at_block INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX attempts_of_row ON attempts (journal_id);
  CREATE INDEX attempts_of_nonce ON attempts (account, nonce);

  -- One row while a replay lacks content: when it was looked for, in Unix milliseconds, and how often in vain.
  CREATE TABLE looks (id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL, tries INTEGER NOT NULL) STRICT;
`;

export function addJournal(database: Database): void {
  database.exec(TABLES);
}
