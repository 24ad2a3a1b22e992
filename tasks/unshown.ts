/**
 * What of a history cannot be shown: entries whose content is missing, and rejected ones. An anchor may list any number of either, so a
 * few are shown one by one, and many as one line that says how many there are.
 */
import type { ErrorCode } from "../protocol/error.ts";

interface Unshown {
  /** Or the text that an anchor has in its place. */
  readonly cid: string;
  readonly anchorIndex: number | null;
  readonly verdict: { readonly status: string; readonly code?: ErrorCode };
}

/** Entries of one kind: of one verdict, and rejected ones of one code. */
export interface UnshownKind {
  readonly status: "missing" | "rejected";
  /** Null for missing ones. */
  readonly code: ErrorCode | null;
  readonly count: number;
  /** The first anchor that lists one. */
  readonly sinceAnchor: number | null;
  /** The first 100. */
  readonly cids: readonly string[];
}

/** As many of one kind are shown one by one. */
const FEW = 10;
const MAX_NAMED = 100;

/** Counts what cannot be shown, as it comes. */
export class UnshownCount {
  private readonly byName = new Map<string, UnshownKind & { count: number; cids: string[] }>();

  /** Verified entries, and pending ones, are passed over. */
  add({ cid, anchorIndex, verdict }: Unshown): void {
    const { status, code = null } = verdict;
    if (status !== "missing" && status !== "rejected") return;
    const name = nameOf(verdict);
    const kind = this.byName.get(name) ?? { status, code, count: 0, sinceAnchor: anchorIndex, cids: [] };
    this.byName.set(name, kind);
    kind.count += 1;
    if (kind.cids.length < MAX_NAMED) kind.cids.push(cid);
  }

  /** Whether only few of this verdict have come so far. */
  hasFew(verdict: Unshown["verdict"]): boolean {
    return (this.byName.get(nameOf(verdict))?.count ?? 0) <= FEW;
  }

  /** The kinds that are there, the missing first. */
  get kinds(): UnshownKind[] {
    return [...this.byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, kind]) => kind);
  }
}

export function countUnshown(entries: Iterable<Unshown>): UnshownKind[] {
  const count = new UnshownCount();
  for (const entry of entries) count.add(entry);
  return count.kinds;
}

/** Whether an entry is shown by itself, and not in the line of its kind. */
export function showsEach(kinds: readonly UnshownKind[]): (entry: Pick<Unshown, "verdict">) => boolean {
  const folded = new Set(kinds.filter(({ count }) => count > FEW).map((kind) => nameOf({ ...kind })));
  return ({ verdict }) => !folded.has(nameOf(verdict));
}

/** A line for each kind of which there are many. @param what `entries of this room`, say */
export function formatUnshown(kinds: readonly UnshownKind[], what: string): string[] {
  return kinds
    .filter(({ count }) => count > FEW)
    .map(({ status, code, count, sinceAnchor }) => {
      const since = sinceAnchor === null ? "" : ` (since anchor ${sinceAnchor})`;
      const why = status === "missing" ? "cannot be shown: their content is missing" : `are rejected: ${code}`;
      return `… ${count.toLocaleString("en")} ${what} ${why}${since}`;
    });
}

function nameOf({ status, code }: { readonly status: string; readonly code?: ErrorCode | null }): string {
  return `${status}/${code ?? ""}`;
}
