import type Database from "better-sqlite3";

/** Statements by their text, each compiled once. */
export class Statements {
  private readonly database: Database.Database;
  private readonly compiled = new Map<string, Database.Statement>();

  constructor(database: Database.Database) {
    this.database = database;
  }

  run(sql: string, ...values: unknown[]): Database.RunResult {
    return this.prepare(sql).run(...values);
  }

  /** The row type is what the caller's SQL selects. */
  prepare<Row = unknown>(sql: string): Database.Statement<unknown[], Row> {
    let statement = this.compiled.get(sql);
    if (statement === undefined) {
      statement = this.database.prepare(sql);
      this.compiled.set(sql, statement);
    }
    return statement as Database.Statement<unknown[], Row>;
  }
}
