/** Single values beside the tables: the deployment, the cursor, what is final, the tip. */
import type Database from "better-sqlite3";

type Name = "deployment" | "identity" | "cursor" | "finalized" | "alarm" | "unconfirmed" | "tip" | "stateRoot";

export function readMeta(database: Database.Database, name: Name): string | null {
  const row = database.prepare<[string], { value: string }>("SELECT value FROM meta WHERE name = ?").get(name);
  return row?.value ?? null;
}

/** Null deletes. */
export function writeMeta(database: Database.Database, name: Name, value: string | null): void {
  if (value === null) database.prepare("DELETE FROM meta WHERE name = ?").run(name);
  else database.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(name, value);
}
