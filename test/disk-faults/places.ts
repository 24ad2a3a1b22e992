/** Where a run can be made to fail: each of its calls that write, by the number that strace counts it with. */
import type { Ending, Errno, Fault } from "./strace.ts";

export interface Place {
  readonly call: string;
  readonly at: number;
  /** Whether it is the first or the last of the same calls on the same file in a row, such as the pages of one commit. */
  readonly isEdge: boolean;
}

/** In the order in which the run came to them. */
export function placesOf({ calls }: Ending): Place[] {
  const counts = new Map<string, number>();
  return calls.map(({ name, on }, i) => {
    const at = (counts.get(name) ?? 0) + 1;
    counts.set(name, at);
    const isSame = [calls[i - 1], calls[i + 1]].map((other) => other?.name === name && other.on === on);
    return { call: name, at, isEdge: isSame.includes(false) };
  });
}

const KINDS: readonly (readonly [error: Errno, isLasting: boolean])[] = [
  ["ENOSPC", true],
  ["EIO", false],
  ["EIO", true],
  ["ENOSPC", false],
];

/** Every place with both errors, once and for good. */
export function allFaults(places: readonly Place[]): Fault[] {
  return places.flatMap(({ call, at }) => KINDS.map(([error, isLasting]) => ({ call, at, error, isLasting })));
}

/** Of the edges each `stride`-th, from the one numbered `turn` on; each with one of the four kinds in turn. */
export function someFaults(places: readonly Place[], stride: number, turn: number): Fault[] {
  const edges = places.filter(({ isEdge }) => isEdge).filter((_, i) => i % stride === turn % stride);
  return edges.map(({ call, at }, i) => {
    const [error, isLasting] = KINDS[(turn + i) % KINDS.length]!;
    return { call, at, error, isLasting };
  });
}
