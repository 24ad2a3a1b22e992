/**
 * What both contracts logged up to some block, as the mailbox has read it. It is brought up to date by what is new, and rolled back where
 * a reorg replaced blocks; with it, own anchors can be judged without reading the chain again.
 */
import type { Database, Statement } from "better-sqlite3";

import { encodeEvent } from "../../protocol/archive.ts";
import type { Hex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import { comparePositions, type AnchorEvent, type ChainEvent, type EventCounts } from "../../protocol/event.ts";
import type { Deployment } from "../../protocol/room.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import type { ChainHead } from "../chain/agreement/chain-view.ts";
import { accessMailbox } from "./access.ts";
import { decodeLogged, Registry } from "./registry.ts";

/** Up to where the log was read. */
export interface LogView {
  readonly number: number;
  readonly hash: Hex;
  /** The highest block that was final then. */
  readonly finalized: number;
}

/** What the chain says that the log does not know. */
export interface LogUpdate {
  /** What the log knew when it was asked. */
  readonly since: LogView | null;
  /** What was logged in later blocks is not on the chain any more. */
  readonly keptUpTo: number;
  /** All that was logged since, in the order of the chain. */
  readonly events: readonly ChainEvent[];
  readonly head: ChainHead;
}

interface AnchorRow {
  readonly index: number;
  readonly event: Uint8Array;
}

/** Every method may throw DATABASE_DAMAGED, DATABASE_BUSY, and DATABASE_WRITE_FAILED when it writes. */
export class ChainLog {
  readonly registry: Registry;
  private readonly statements;

  constructor(database: Database, deployment: Deployment) {
    this.registry = new Registry(database, deployment);
    const prepare = <Parameters extends unknown[], Result = unknown>(sql: string): Statement<Parameters, Result> =>
      database.prepare<Parameters, Result>(sql);
    this.statements = {
      view: prepare<[], LogView>("SELECT block_number AS number, block_hash AS hash, finalized FROM log_view"),
      setView: prepare<[number, string, number]>("INSERT OR REPLACE INTO log_view VALUES (1, ?, ?, ?)"),
      counts: prepare<[number, number], EventCounts>(
        `SELECT (SELECT count(*) FROM anchor_events WHERE block_number <= ?) AS anchors,
                (SELECT count(*) FROM registry_events WHERE block_number <= ?) AS keys`,
      ),
      total: prepare<[], EventCounts>(
        `SELECT (SELECT coalesce(max(entry_index) + 1, 0) FROM anchor_events) AS anchors,
                (SELECT coalesce(max(event_index) + 1, 0) FROM registry_events) AS keys`,
      ),
      blocks: prepare<[], { number: number; hash: Hex }>(
        `SELECT block_number AS number, block_hash AS hash FROM anchor_events UNION
         SELECT block_number, block_hash FROM registry_events ORDER BY 1 DESC`,
      ),
      insert: prepare<[number, number, string, Cid | null, Uint8Array]>(
        "INSERT INTO anchor_events (entry_index, block_number, block_hash, cid, event) VALUES (?, ?, ?, ?, ?)",
      ),
      deleteAfter: prepare<[number]>("DELETE FROM anchor_events WHERE block_number > ?"),
      anchor: prepare<[number], AnchorRow>(
        'SELECT entry_index AS "index", event FROM anchor_events WHERE entry_index = ?',
      ),
      anchors: prepare<[], AnchorRow>('SELECT entry_index AS "index", event FROM anchor_events ORDER BY entry_index'),
      indexOf: prepare<[Cid], number | null>("SELECT min(entry_index) FROM anchor_events WHERE cid = ?").pluck(),
      verdict: prepare<[number], string | null>("SELECT verdict FROM anchor_events WHERE entry_index = ?").pluck(),
      setVerdict: prepare<[string, number]>("UPDATE anchor_events SET verdict = ? WHERE entry_index = ?"),
      missing: prepare<[number], AnchorRow>(
        `SELECT entry_index AS "index", event FROM anchor_events WHERE verdict = 'missing' AND entry_index > ?
         ORDER BY entry_index`,
      ),
    };
  }

  /** Null when nothing was read yet. */
  view(): LogView | null {
    return accessMailbox(() => this.statements.view.get() ?? null);
  }

  /** How many events of each contract are in the log. */
  counts(): EventCounts {
    return accessMailbox(() => this.statements.total.get() ?? { anchors: 0, keys: 0 });
  }

  /** How many of them lie in blocks up to this one. */
  countsUpTo(block: number): EventCounts {
    return accessMailbox(() => this.statements.counts.get(block, block) ?? { anchors: 0, keys: 0 });
  }

  /** The blocks that something was logged in, newest first. */
  blocks(): { readonly number: number; readonly hash: Hex }[] {
    return accessMailbox(() => this.statements.blocks.all());
  }

  /**
   * @returns how many entries of CIDStore stayed; none but them is accounted for any more
   * @throws MAILBOX_OVERTAKEN when another command has meanwhile read the chain
   */
  apply({ since, keptUpTo, events, head }: LogUpdate): number {
    if (this.view()?.hash !== since?.hash)
      throw new DmtpError("MAILBOX_OVERTAKEN", "another command has meanwhile read the chain");
    this.statements.deleteAfter.run(keptUpTo);
    this.registry.rollBack(keptUpTo);
    const kept = this.counts();
    for (const event of events) {
      if (event.kind !== "anchor") continue;
      this.statements.insert.run(event.index, event.blockNumber, event.blockHash, event.cid, encodeEvent(event));
    }
    this.registry.add(events.filter((event) => event.kind !== "anchor"));
    this.statements.setView.run(head.block.number, head.block.hash, head.finalized);
    return kept.anchors;
  }

  anchor(index: number): AnchorEvent | null {
    return accessMailbox(() => {
      const row = this.statements.anchor.get(index);
      return row === undefined ? null : decodeAnchor(row);
    });
  }

  /** The first entry with this CID; null when there is none. */
  indexOf(cid: Cid): number | null {
    return accessMailbox(() => this.statements.indexOf.get(cid) ?? null);
  }

  /** Whether the mailbox has accounted for an entry since it came into the log. */
  isAccounted(index: number): boolean {
    return accessMailbox(() => (this.statements.verdict.get(index) ?? null) !== null);
  }

  account(index: number, verdict: Verdict): void {
    this.statements.setVerdict.run(verdict.status === "rejected" ? verdict.code : verdict.status, index);
  }

  /** The anchors above this one whose content was missing at the last replay. */
  missingAbove(index: number): AnchorEvent[] {
    return accessMailbox(() => this.statements.missing.all(index).map(decodeAnchor));
  }

  /** All of it, in the order of the chain. */
  *events(): Generator<ChainEvent> {
    const keys = this.registry.events();
    let key = keys.next();
    for (const row of this.statements.anchors.iterate()) {
      const anchor = decodeAnchor(row);
      for (; key.done !== true && comparePositions(key.value, anchor) < 0; key = keys.next()) yield key.value;
      yield anchor;
    }
    for (; key.done !== true; key = keys.next()) yield key.value;
  }
}

function decodeAnchor({ event, index }: AnchorRow): AnchorEvent {
  const decoded = decodeLogged(event, index);
  if (decoded.kind === "anchor") return decoded;
  throw new DmtpError("DATABASE_DAMAGED", `the mailbox: entry ${index} of the log is none`);
}
