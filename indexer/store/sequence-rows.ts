/**
 * Which numbers the verified messages of each room have (SPEC 8.5), by sender and key version: as runs of numbers without a gap, and
 * those that more than one message has. A room of any size without omissions has a row for each key version that wrote in it.
 */
import type Database from "better-sqlite3";

import type { SequenceNumber } from "../../protocol/omissions.ts";
import { Statements } from "./statements.ts";

/** Numbers from `first` to `last`, both included. */
interface Run {
  first: number;
  last: number;
}

type Owner = readonly [roomNumber: number, sender: string, senderKeyVersion: number];

/** The signs are those of statements.ts. */
const OF_OWNER = "room_number = +? AND sender = +? AND sender_key_version = +?";

export class SequenceRows {
  private readonly statements: Statements;
  /** Runs that are not written yet: most messages only continue one. */
  private readonly pending = new Map<string, { readonly owner: Owner; readonly run: Run }>();

  constructor(database: Database.Database) {
    this.statements = new Statements(database);
  }

  /** One more message has this number. What is added is written by {@link flush}. */
  add(roomNumber: number, { sender, senderKeyVersion, seq }: SequenceNumber): void {
    const key = `${roomNumber}/${sender}/${senderKeyVersion}`;
    const pending = this.pending.get(key);
    if (pending?.run.last === seq - 1) {
      pending.run.last = seq;
      return;
    }
    if (pending !== undefined) this.write(pending.owner, pending.run);
    this.pending.set(key, { owner: [roomNumber, sender, senderKeyVersion], run: { first: seq, last: seq } });
  }

  /** One message less has this number. */
  remove(roomNumber: number, { sender, senderKeyVersion, seq }: SequenceNumber): void {
    this.flush();
    this.removeOne([roomNumber, sender, senderKeyVersion], seq);
  }

  /** As {@link remove}, of many: numbers that descend without a gap cost no more than one. */
  removeAll(messages: Iterable<SequenceNumber & { readonly roomNumber: number }>): void {
    this.flush();
    const runs = new Map<string, { readonly owner: Owner; readonly run: Run }>();
    for (const { roomNumber, sender, senderKeyVersion, seq } of messages) {
      const key = `${roomNumber}/${sender}/${senderKeyVersion}`;
      const removed = runs.get(key);
      if (removed?.run.first === seq + 1) {
        removed.run.first = seq;
        continue;
      }
      if (removed !== undefined) this.removeRun(removed.owner, removed.run);
      runs.set(key, { owner: [roomNumber, sender, senderKeyVersion], run: { first: seq, last: seq } });
    }
    for (const { owner, run } of runs.values()) this.removeRun(owner, run);
  }

  flush(): void {
    for (const { owner, run } of this.pending.values()) this.write(owner, run);
    this.pending.clear();
  }

  private removeRun(owner: Owner, { first, last }: Run): void {
    const run = this.runUpTo(owner, last);
    const forks = `SELECT 1 FROM sequence_forks WHERE ${OF_OWNER} AND seq BETWEEN ? AND ?`;
    const isForked = this.statements.prepare(forks).get(...owner, first, last) !== undefined;
    if (isForked || run === undefined || run.first > first || run.last < last) {
      for (let seq = last; seq >= first; seq--) this.removeOne(owner, seq);
    } else this.cut(owner, run, { first, last });
  }

  private removeOne(owner: Owner, seq: number): void {
    const { statements } = this;
    const fork = `sequence_forks SET messages = messages - 1 WHERE ${OF_OWNER} AND seq = ?`;
    if (statements.run(`UPDATE ${fork}`, ...owner, seq).changes > 0) {
      statements.run(`DELETE FROM sequence_forks WHERE ${OF_OWNER} AND seq = ? AND messages = 1`, ...owner, seq);
      return;
    }
    const run = this.runUpTo(owner, seq);
    if (run !== undefined && run.last >= seq) this.cut(owner, run, { first: seq, last: seq });
  }

  /** Takes numbers out of a run that has them all. */
  private cut(owner: Owner, run: Run, { first, last }: Run): void {
    this.delete(owner, run.first);
    if (run.first < first) this.insert(owner, { first: run.first, last: first - 1 });
    if (last < run.last) this.insert(owner, { first: last + 1, last: run.last });
  }

  private write(owner: Owner, run: Run): void {
    const nearest = this.runUpTo(owner, run.last + 1);
    if (nearest === undefined) {
      // Nothing to join it with, as in every new room.
      this.insert(owner, run);
      return;
    }
    const before = nearest.first <= run.last ? nearest : this.runUpTo(owner, run.last);
    if (before === undefined || before.last < run.first) {
      this.join(owner, run, before);
      return;
    }
    for (let seq = run.first; seq <= run.last; seq++) {
      const covering = this.runUpTo(owner, seq);
      if (covering === undefined || covering.last < seq) this.join(owner, { first: seq, last: seq }, covering);
      else
        this.statements.run(
          "INSERT INTO sequence_forks VALUES (?, ?, ?, ?, 2) ON CONFLICT DO UPDATE SET messages = messages + 1",
          ...owner,
          seq,
        );
    }
  }

  /** Adds a run that overlaps none. @param before the run below it */
  private join(owner: Owner, { first, last }: Run, before: Run | undefined): void {
    const after = this.statements
      .prepare<Run>(`SELECT first, last FROM sequence_runs WHERE ${OF_OWNER} AND first = ?`)
      .get(...owner, last + 1);
    if (after !== undefined) this.delete(owner, after.first);
    const end = after?.last ?? last;
    if (before?.last !== first - 1) this.insert(owner, { first, last: end });
    else
      this.statements.run(
        `UPDATE sequence_runs SET last = ? WHERE ${OF_OWNER} AND first = ?`,
        end,
        ...owner,
        before.first,
      );
  }

  /** The run that begins at `seq`, or the nearest one that begins below. */
  private runUpTo(owner: Owner, seq: number): Run | undefined {
    const sql = `SELECT first, last FROM sequence_runs WHERE ${OF_OWNER} AND first <= +? ORDER BY first DESC LIMIT 1`;
    return this.statements.prepare<Run>(sql).get(...owner, seq);
  }

  private insert(owner: Owner, { first, last }: Run): void {
    this.statements.run("INSERT INTO sequence_runs VALUES (?, ?, ?, ?, ?)", ...owner, first, last);
  }

  private delete(owner: Owner, first: number): void {
    this.statements.run(`DELETE FROM sequence_runs WHERE ${OF_OWNER} AND first = ?`, ...owner, first);
  }
}
