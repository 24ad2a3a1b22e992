import type { Cid } from "../protocol/cid.ts";
import type { Want, WantKind, WantList } from "./want-list.ts";

/** CIDs that only change when the history does. */
export interface CidSet extends Iterable<Cid> {
  readonly size: number;
  has(cid: Cid): boolean;
}

/** How often something waits for a block, and whether anything but a key does. */
interface Waiting {
  count: number;
  isDocument: boolean;
}

/** The blocks without which something stays undecided, each for as long as something waits for it. */
export class MissingContent implements CidSet, WantList {
  private readonly waiting = new Map<Cid, Waiting>();
  private added: Want[] = [];

  get size(): number {
    return this.waiting.size;
  }

  has(cid: Cid): boolean {
    return this.waiting.has(cid);
  }

  [Symbol.iterator](): MapIterator<Cid> {
    return this.waiting.keys();
  }

  takeNew(): readonly Want[] {
    const { added } = this;
    this.added = [];
    return added;
  }

  /** @param anchorIndex the anchor that names these; null for key documents */
  add(cids: Iterable<Cid>, kind: WantKind = "message", anchorIndex: number | null = null): void {
    const isDocument = kind === "document";
    for (const cid of cids) {
      const waiting = this.waiting.get(cid);
      if (waiting === undefined) this.waiting.set(cid, { count: 1, isDocument });
      if (waiting === undefined || (waiting.isDocument && !isDocument)) this.added.push({ cid, kind, anchorIndex });
      if (waiting === undefined) continue;
      waiting.count += 1;
      waiting.isDocument &&= isDocument;
    }
  }

  /** One that waited for these does not any more. What has arrived in between is passed over. */
  remove(cids: Iterable<Cid>): void {
    for (const cid of cids) {
      const waiting = this.waiting.get(cid);
      if (waiting === undefined) continue;
      if (waiting.count > 1) waiting.count -= 1;
      else this.waiting.delete(cid);
    }
  }

  /** It is here: nobody waits for it. */
  arrive(cid: Cid): void {
    this.waiting.delete(cid);
  }
}
