/**
 * How many blocks that one anchor names are asked for at once. A group of blocks that are there is soon asked for as widely as the
 * limit allows; a group of which nothing is there is hardly asked for, so that a million digests of nothing delay no other anchor.
 */

import { OldestFirst } from "../protocol/oldest-first.ts";

/** What names the blocks: an anchor by its index. */
export type Group = number;

interface Window {
  /** 0: doubtful, since nothing of what was asked for lately is there. */
  size: number;
  inFlight: number;
}

/** Of a group of which nothing was asked for yet. Half of it is taken away each time that a block is absent: 2, 1, 0. */
const FIRST_SIZE = 4;
/** Of the groups that are remembered, each takes about 100 bytes. */
const MAX_GROUPS = 65_536;

export class AskingWindows {
  private readonly windows = new Map<Group, Window>();
  private readonly oldest = new OldestFirst(this.windows);
  private readonly limit: number;

  /** @param limit the largest window: the number of requests that are in flight at once */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Whether one more block of the group may be asked for now. */
  hasRoom(group: Group): boolean {
    const window = this.windows.get(group);
    return window === undefined || window.inFlight < Math.min(window.size, this.limit);
  }

  /** Whether too few of the group's blocks were found: then its other blocks wait until all other groups have been asked for. */
  isDoubtful(group: Group): boolean {
    return this.windows.get(group)?.size === 0;
  }

  begin(group: Group): void {
    this.window(group).inFlight += 1;
  }

  end(group: Group): void {
    const window = this.windows.get(group);
    if (window !== undefined && window.inFlight > 0) window.inFlight -= 1;
  }

  /** A block of the group was there. */
  widen(group: Group): void {
    const window = this.window(group);
    window.size = window.size === 0 ? FIRST_SIZE : Math.min(this.limit, window.size + 1);
  }

  /** A block of the group was absent. */
  narrow(group: Group): void {
    const window = this.window(group);
    window.size = Math.floor(window.size / 2);
  }

  clear(): void {
    this.windows.clear();
  }

  private window(group: Group): Window {
    let window = this.windows.get(group);
    if (window === undefined) {
      window = { size: FIRST_SIZE, inFlight: 0 };
      this.windows.set(group, window);
      if (this.windows.size > MAX_GROUPS) this.forgetOldest();
    }
    return window;
  }

  /** A group that is forgotten is asked for like a new one. */
  private forgetOldest(): void {
    for (let looked = 0; looked <= this.limit; looked++) {
      const [group, window] = this.oldest.take() ?? [];
      if (window === undefined || window.inFlight === 0) return;
      // What is asked for now stays, as the newest.
      if (group !== undefined) this.windows.set(group, window);
    }
  }
}
