import type { Cid } from "../protocol/cid.ts";

/** CIDs that only change when the history does. */
export interface CidSet extends Iterable<Cid> {
  readonly size: number;
  has(cid: Cid): boolean;
}

/** As the fetcher sees what is missing. */
export interface Missing extends Pick<CidSet, "has"> {
  /** What came to be missing since this was last asked. */
  takeNew(): readonly Cid[];
}

/** The blocks without which something stays undecided, each for as long as something waits for it. */
export class MissingContent implements CidSet, Missing {
  /** How many wait for it. */
  private readonly waiting = new Map<Cid, number>();
  private added: Cid[] = [];

  get size(): number {
    return this.waiting.size;
  }

  has(cid: Cid): boolean {
    return this.waiting.has(cid);
  }

  [Symbol.iterator](): MapIterator<Cid> {
    return this.waiting.keys();
  }

  takeNew(): readonly Cid[] {
    const { added } = this;
    this.added = [];
    return added;
  }

  add(cids: Iterable<Cid>): void {
    for (const cid of cids) {
      const count = this.waiting.get(cid) ?? 0;
      if (count === 0) this.added.push(cid);
      this.waiting.set(cid, count + 1);
    }
  }

  /** One that waited for these does not any more. What has arrived in between is passed over. */
  remove(cids: Iterable<Cid>): void {
    for (const cid of cids) {
      const count = this.waiting.get(cid);
      if (count === undefined) continue;
      if (count > 1) this.waiting.set(cid, count - 1);
      else this.waiting.delete(cid);
    }
  }

  /** It is here: nobody waits for it. */
  arrive(cid: Cid): void {
    this.waiting.delete(cid);
  }
}
