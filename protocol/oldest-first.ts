/**
 * Takes the entries out of a Map or Set from the oldest on. A new iterator for each would pass over the places of all that were taken
 * before, until the collection is next made anew: with 32,768 entries that is 20 µs each. This one goes on where it was.
 */
interface Collection<Key, Value> {
  entries(): Iterator<[Key, Value]>;
  delete(key: Key): boolean;
}

export class OldestFirst<Key, Value> {
  private readonly collection: Collection<Key, Value>;
  private iterator: Iterator<[Key, Value]> | null = null;

  constructor(collection: Collection<Key, Value>) {
    this.collection = collection;
  }

  /** Takes out the entry that was put in first; undefined when there is none. */
  take(): [key: Key, value: Value] | undefined {
    const { collection } = this;
    // Everything before its place was taken. One that came to the end stays there, whatever is put in later.
    let next = (this.iterator ??= collection.entries()).next();
    if (next.done === true) next = (this.iterator = collection.entries()).next();
    if (next.done === true) {
      this.iterator = null;
      return undefined;
    }
    collection.delete(next.value[0]);
    return next.value;
  }
}
