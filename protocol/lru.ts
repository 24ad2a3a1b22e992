/**
 * Remembers values: at most `capacity`, and of those the half that was used last for certain. Two maps, of which the older is dropped
 * when the newer is full: to keep one in the exact order of use takes a deletion for each look, and a map with many deletions is slow.
 */
export class Lru<Key, Value> {
  private readonly half: number;
  private recent = new Map<Key, Value>();
  private older = new Map<Key, Value>();

  constructor(capacity: number) {
    this.half = Math.ceil(capacity / 2);
  }

  get(key: Key): Value | undefined {
    const value = this.recent.get(key);
    if (value !== undefined) return value;
    const old = this.older.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: Key, value: Value): void {
    if (this.recent.size >= this.half && !this.recent.has(key)) {
      this.older = this.recent;
      this.recent = new Map();
    }
    this.recent.set(key, value);
  }

  delete(key: Key): void {
    this.recent.delete(key);
    this.older.delete(key);
  }

  clear(): void {
    this.recent.clear();
    this.older.clear();
  }
}
