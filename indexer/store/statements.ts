import type Database from "better-sqlite3";

/**
 * Statements by their text, each compiled once.
 *
 * What is compared with a parameter and has an order (`ORDER BY`, `min`, `max`) has a sign in front of the parameter: `id = +?`. It
 * changes no value. Without it SQLite, as it comes with better-sqlite3, compiles the statement again for each value that is bound, which
 * takes ten times as long as to run it.
 */
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
