/** Shards and heads blocks that are not done with, by anchor and by CID. */
import type { Cid } from "../cid.ts";
import type { OpenPart } from "./store.ts";

export class OpenParts {
  private readonly byAnchor = new Map<number, Map<number, OpenPart>>();
  private readonly byCid = new Map<Cid, Set<OpenPart>>();

  /** The blocks that are missing. */
  get missing(): IterableIterator<Cid> {
    return this.byCid.keys();
  }

  set(part: OpenPart): void {
    const { anchorIndex, cid, status } = part;
    this.delete(anchorIndex, part.part);
    const parts = this.byAnchor.get(anchorIndex) ?? new Map<number, OpenPart>();
    this.byAnchor.set(anchorIndex, parts.set(part.part, part));
    if (status === "missing") this.byCid.set(cid, (this.byCid.get(cid) ?? new Set()).add(part));
  }

  delete(anchorIndex: number, number: number): void {
    const parts = this.byAnchor.get(anchorIndex);
    const part = parts?.get(number);
    if (parts === undefined || part === undefined) return;
    parts.delete(number);
    if (parts.size === 0) this.byAnchor.delete(anchorIndex);
    const awaiting = this.byCid.get(part.cid);
    if (awaiting?.delete(part) === true && awaiting.size === 0) this.byCid.delete(part.cid);
  }

  /** By ascending number. */
  ofAnchor(anchorIndex: number): readonly OpenPart[] {
    return [...(this.byAnchor.get(anchorIndex)?.values() ?? [])].sort((a, b) => a.part - b.part);
  }

  /** Those that are missing this block. */
  awaiting(cid: Cid, limit: number): readonly OpenPart[] {
    return [...(this.byCid.get(cid) ?? [])].slice(0, limit);
  }
}
