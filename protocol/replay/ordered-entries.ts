/** Entries by their places, as the store in memory keeps them. */
import type { Entry } from "../entry.ts";
import { comparePlaces, type Place, type PlacedEntry } from "./store.ts";

/** Entries in the order of the history, in whatever order they come; sorted when somebody looks. */
export class Ordered<Item extends PlacedEntry> {
  private readonly items: Item[];
  private isSorted = true;

  /** With one item: most rooms have one of an anchor, and an array that begins empty grows to seventeen places with its first. */
  constructor(first: Item) {
    this.items = [first];
  }

  get all(): readonly Item[] {
    if (!this.isSorted) this.items.sort(comparePlaces);
    this.isSorted = true;
    return this.items;
  }

  add(item: Item): void {
    const last = this.items.at(-1);
    if (last !== undefined && comparePlaces(last, item) > 0) this.isSorted = false;
    this.items.push(item);
  }

  /** Where this place is, or would be. */
  position(place: Place): number {
    const { all } = this;
    let [low, high] = [0, all.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const item = all[middle];
      if (item !== undefined && comparePlaces(item, place) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  at(place: Place): Item | undefined {
    const item = this.all[this.position(place)];
    return item !== undefined && comparePlaces(item, place) === 0 ? item : undefined;
  }

  from(start: number, limit: number): readonly Item[] {
    return this.all.slice(start, start + limit);
  }
}

/** The entries of one message that are missing. They are decided from the first on, so each is passed over once. */
export class MissingEntries {
  private readonly entries: Ordered<Entry>;
  private next = 0;
  private count = 1;

  constructor(first: Entry) {
    this.entries = new Ordered(first);
  }

  add(entry: Entry): void {
    this.entries.add(entry);
    this.next = 0;
    this.count += 1;
  }

  /** @returns how many are left */
  removeOne(): number {
    return --this.count;
  }

  first(limit: number): readonly Entry[] {
    const { all } = this.entries;
    while (all[this.next] !== undefined && all[this.next]?.verdict.status !== "missing") this.next += 1;
    const found: Entry[] = [];
    for (let at = this.next; at < all.length && found.length < limit; at++) {
      const entry = all[at];
      if (entry?.verdict.status === "missing") found.push(entry);
    }
    return found;
  }
}

/** Adds an item to those under a key. */
export function addUnder<Key, Item extends PlacedEntry>(map: Map<Key, Ordered<Item>>, key: Key, item: Item): void {
  const ordered = map.get(key);
  if (ordered === undefined) map.set(key, new Ordered(item));
  else ordered.add(item);
}
