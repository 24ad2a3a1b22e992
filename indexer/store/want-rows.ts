/**
 * The want list (want-list.ts), read from the rows page by page. Only the newest is in memory, since an anchor may list 262,144 blocks
 * that nobody has.
 */
import type Database from "better-sqlite3";

import type { Cid } from "../../protocol/cid.ts";
import {
  MAX_NEW,
  WANT_KINDS,
  type CidSet,
  type NewWants,
  type Want,
  type WantCursor,
  type WantKind,
  type WantList,
  type WantPage,
} from "../want-list.ts";
import { Statements } from "./statements.ts";

interface Page extends Pick<WantPage, "next" | "nextAnchor"> {
  readonly rows: readonly Row[];
}

interface Row {
  readonly cid: Cid;
  readonly first: number;
  readonly second: number;
}

/** A page looks at no more rows than this, whether what they name is missing or not. */
const MAX_LOOKED_AT = 16_384;
const PAGE = 1_024;
const START: WantCursor = [-1, -1];

const BY_ANCHOR = `
  EXISTS (SELECT 1 FROM anchors WHERE cid = @cid AND status = 'missing' AND manifest IS NULL)
    OR EXISTS (SELECT 1 FROM parts WHERE cid = @cid AND status = 'missing')
    OR EXISTS (SELECT 1 FROM entries WHERE cid_id = (SELECT id FROM cids WHERE cid = @cid) AND status = 'missing')`;
const BY_KEY = "EXISTS (SELECT 1 FROM keys WHERE document = @cid AND document_status = 'missing')";

/** Entries are counted by the totals; the others cost whoever makes them a transaction each. */
const COUNT = `
  SELECT (SELECT n FROM totals WHERE kind = 'messages' AND status = 'missing')
    + (SELECT count(*) FROM anchors WHERE status = 'missing' AND manifest IS NULL)
    + (SELECT count(*) FROM parts WHERE status = 'missing')
    + (SELECT count(*) FROM keys WHERE document_status = 'missing')`;

/** Manifests, and shards and heads of those that are here. */
const ANCHORS = `
  SELECT * FROM (
    SELECT anchor_index AS first, -1 AS second, cid FROM anchors
    WHERE status = 'missing' AND manifest IS NULL AND anchor_index > @first ORDER BY anchor_index LIMIT @limit)
  UNION ALL SELECT * FROM (
    SELECT anchor_index AS first, part AS second, cid FROM parts
    WHERE status = 'missing' AND (anchor_index, part) > (@first, @second) ORDER BY anchor_index, part LIMIT @limit)
  ORDER BY first, second LIMIT @limit`;

const MESSAGES = `
  SELECT anchor_index AS first, ordinal AS second, cids.cid AS cid FROM entries CROSS JOIN cids ON cids.id = cid_id
  WHERE anchor_index = @first AND ordinal > @second AND ordinal <= @second + ${MAX_LOOKED_AT} AND status = 'missing'
  ORDER BY ordinal LIMIT @limit`;

const DOCUMENTS = `
  SELECT key_index AS first, -1 AS second, document AS cid FROM keys
  WHERE key_index > @first AND key_index <= @first + ${MAX_LOOKED_AT} AND document_status = 'missing'
  ORDER BY key_index LIMIT @limit`;

export class WantRows implements CidSet, WantList {
  private readonly statements: Statements;
  private readonly countAll: Database.Statement<[], number>;
  /** What each of the newest is wanted for, and by which anchor last: these are known to be missing without a look at the rows. Behind them, those before. */
  private newest = new Map<Cid, Want>();
  private secondNewest = new Map<Cid, Want>();
  /** What is here, and may still be missing by the rows until the engine has come to it. */
  private readonly arrived = new Set<Cid>();
  private added: Want[] = [];
  /** At first, all is in the rows. */
  private isAll = false;

  constructor(database: Database.Database) {
    this.statements = new Statements(database);
    this.countAll = database.prepare<[], number>(COUNT).pluck();
  }

  /** A message that several anchors list is counted for each. */
  get size(): number {
    return this.countAll.get() ?? 0;
  }

  has(cid: Cid): boolean {
    if (this.arrived.has(cid)) return false;
    return this.isNewlyMissing(cid) || this.isFound(cid, `${BY_ANCHOR} OR ${BY_KEY}`);
  }

  /** Whether more than key events name what is missing. */
  isNamedByAnchor(cid: Cid): boolean {
    const known = this.newest.get(cid) ?? this.secondNewest.get(cid);
    return (known !== undefined && known.kind !== "document") || this.isFound(cid, BY_ANCHOR);
  }

  /** Whether it is missing, as far as is known without a look at the rows. */
  isNewlyMissing(cid: Cid): boolean {
    return this.newest.has(cid) || this.secondNewest.has(cid);
  }

  *[Symbol.iterator](): Generator<Cid> {
    const seen = new Set<Cid>();
    for (const kind of WANT_KINDS) {
      let after: WantCursor | null = null;
      do {
        const page: WantPage = this.page(kind, after, PAGE);
        for (const { cid } of page.wants) {
          if (!seen.has(cid)) yield cid;
          seen.add(cid);
        }
        after = page.next;
      } while (after !== null);
    }
  }

  takeNew(): NewWants {
    const { added, isAll } = this;
    this.added = [];
    this.isAll = true;
    return { wants: added, isAll };
  }

  page(kind: WantKind, after: WantCursor | null, limit: number): WantPage {
    const cursor = after ?? START;
    const { rows, next, nextAnchor } =
      kind === "message"
        ? this.messages(cursor, limit)
        : kind === "document"
          ? this.documents(cursor, limit)
          : this.anchors(cursor, limit);
    const wants = rows
      .filter(({ cid }) => !this.arrived.has(cid))
      .map(({ cid, first }) => ({ cid, kind, anchorIndex: kind === "document" ? null : first }));
    return { wants, next, nextAnchor };
  }

  /** @param anchorIndex the anchor that names these; null for key documents */
  add(cids: Iterable<Cid>, kind: WantKind, anchorIndex: number | null = null): void {
    for (const cid of cids) {
      this.arrived.delete(cid);
      const known = this.newest.get(cid) ?? this.secondNewest.get(cid);
      // Another anchor that names it may be trusted more.
      const isKnown = known !== undefined && (known.kind !== "document" || kind === "document");
      if (isKnown && (kind === "document" || anchorIndex === known.anchorIndex)) continue;
      const want: Want = { cid, kind, anchorIndex };
      this.newest.set(cid, want);
      this.added.push(want);
      if (this.newest.size < MAX_NEW) continue;
      this.secondNewest = this.newest;
      this.newest = new Map();
    }
    if (this.added.length < 2 * MAX_NEW) return;
    this.added = this.added.slice(-MAX_NEW);
    this.isAll = false;
  }

  /** One that waited for these does not any more; whether another does is in the rows. */
  remove(cids: Iterable<Cid>): void {
    for (const cid of cids) this.forget(cid);
  }

  /** It is here: nobody waits for it. */
  arrive(cid: Cid): void {
    this.forget(cid);
    this.arrived.add(cid);
  }

  /** To be called when all that arrived is in the rows. */
  settle(): void {
    this.arrived.clear();
  }

  private isFound(cid: Cid, condition: string): boolean {
    return this.statements.prepare<{ found: number }>(`SELECT ${condition} AS found`).get({ cid })?.found === 1;
  }

  private forget(cid: Cid): void {
    this.newest.delete(cid);
    this.secondNewest.delete(cid);
  }

  private anchors([first, second]: WantCursor, limit: number): Page {
    const rows = this.statements.prepare<Row>(ANCHORS).all({ first, second, limit });
    const last = rows.at(-1);
    const next: WantCursor | null = last === undefined || rows.length < limit ? null : [last.first, last.second];
    // An anchor has 65 of these at most.
    return { rows, next, nextAnchor: next };
  }

  private messages([first, second]: WantCursor, limit: number): Page {
    const anchorIndex = first < 0 ? this.nextThatLacks(-1) : first;
    if (anchorIndex === null) return { rows: [], next: null, nextAnchor: null };
    const from = first < 0 ? -1 : second;
    const rows = this.statements.prepare<Row>(MESSAGES).all({ first: anchorIndex, second: from, limit });
    const last = rows.at(-1);
    const following = this.nextThatLacks(anchorIndex);
    const nextAnchor: WantCursor | null = following === null ? null : [following, -1];
    if (last !== undefined && rows.length === limit) return { rows, next: [anchorIndex, last.second], nextAnchor };
    const sql = "SELECT 1 FROM entries WHERE anchor_index = ? AND ordinal > ? LIMIT 1";
    const looked = from + MAX_LOOKED_AT;
    if (this.statements.prepare(sql).get(anchorIndex, looked) !== undefined)
      return { rows, next: [anchorIndex, looked], nextAnchor };
    return { rows, next: nextAnchor, nextAnchor };
  }

  private documents([first, second]: WantCursor, limit: number): Page {
    const rows = this.statements.prepare<Row>(DOCUMENTS).all({ first, limit });
    const last = rows.at(-1);
    if (last !== undefined && rows.length === limit)
      return { rows, next: [last.first, second], nextAnchor: [last.first, second] };
    const looked = first + MAX_LOOKED_AT;
    const isMore = this.statements.prepare("SELECT 1 FROM keys WHERE key_index > ? LIMIT 1").get(looked) !== undefined;
    const next: WantCursor | null = isMore ? [looked, second] : null;
    return { rows, next, nextAnchor: next };
  }

  /** The first anchor behind this one that lists a message that is missing. */
  private nextThatLacks(anchorIndex: number): number | null {
    const sql = `SELECT anchor_index AS "index" FROM anchors WHERE missing > 0 AND anchor_index > ? ORDER BY anchor_index LIMIT 1`;
    return this.statements.prepare<{ index: number }>(sql).get(anchorIndex)?.index ?? null;
  }
}
