/** SHA-256 digests, by the half of each: 16 bytes and a place for one more, however many there are. */
import { randomInt } from "node:crypto";

const WORDS = 4;
const FIRST_PLACES = 4_096;

export class DigestSet {
  private count = 0;
  private words = new Uint32Array(WORDS * FIRST_PLACES);
  /** So that nobody can choose digests whose places are all the same. */
  private readonly factor = 2 * randomInt(2 ** 30) + 1;

  /** @returns whether it was not there */
  add(digest: Uint8Array): boolean {
    if (2 * this.count >= this.words.length / WORDS) this.grow();
    const view = new DataView(digest.buffer, digest.byteOffset, digest.byteLength);
    // Four zeros are a free place: the one digest in 2^128 that begins with them is taken for another.
    const key = [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12) || 1] as const;
    const place = this.find(key);
    if (this.words[place + 3] !== 0) return false;
    this.words.set(key, place);
    this.count += 1;
    return true;
  }

  private find(key: readonly [number, number, number, number]): number {
    const mask = this.words.length / WORDS - 1;
    let hash = 0;
    for (const word of key) hash = Math.imul((hash ^ (hash >>> 15)) + word, this.factor);
    for (let at = (hash ^ (hash >>> 15)) & mask; ; at = (at + 1) & mask) {
      const place = WORDS * at;
      if (this.words[place + 3] === 0) return place;
      if (key.every((word, i) => this.words[place + i] === word)) return place;
    }
  }

  private grow(): void {
    const { words } = this;
    this.words = new Uint32Array(2 * words.length);
    for (let place = 0; place < words.length; place += WORDS) {
      const [a = 0, b = 0, c = 0, d = 0] = words.subarray(place, place + WORDS);
      if (d !== 0) this.words.set([a, b, c, d], this.find([a, b, c, d]));
    }
  }
}
