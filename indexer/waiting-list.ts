/** Who waits for what, by number. Most wait for something alone, and a lone one takes no set: there may be a million. */
export class WaitingList<Key> {
  private readonly byKey = new Map<Key, number | Set<number>>();

  add(key: Key, number: number): void {
    const waiting = this.byKey.get(key);
    if (waiting === undefined) this.byKey.set(key, number);
    else if (typeof waiting === "number") this.byKey.set(key, new Set([waiting, number]));
    else waiting.add(number);
  }

  delete(key: Key, number: number): void {
    const waiting = this.byKey.get(key);
    if (waiting === number) this.byKey.delete(key);
    else if (typeof waiting === "object" && waiting.delete(number) && waiting.size === 0) this.byKey.delete(key);
  }

  /** Those that wait for it now. */
  of(key: Key): readonly number[] {
    const waiting = this.byKey.get(key);
    return waiting === undefined ? [] : typeof waiting === "number" ? [waiting] : [...waiting];
  }

  /** It is here: nobody waits for it. @returns those that did */
  take(key: Key): readonly number[] {
    const waiting = this.of(key);
    this.byKey.delete(key);
    return waiting;
  }
}
