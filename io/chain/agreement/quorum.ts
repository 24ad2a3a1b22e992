/** Which of several nodes' words count: what most of those that were given say. */
import { DmtpError } from "../../../protocol/error.ts";

/** How many of the nodes that were given have to say the same: who can keep some of them away must not decide for the rest. */
export function majorityOf(given: number): number {
  return Math.floor(given / 2) + 1;
}

/** How many have to say the same for it to be taken at all, confirmed or not. */
export function quorumOf(given: number, answering: number): number {
  return Math.min(answering, majorityOf(given));
}

/** The largest number that a quorum reaches. */
export function reachedBy(numbers: readonly number[], quorum: number): number {
  return numbers.toSorted((a, b) => b - a)[quorum - 1] ?? -1;
}

/**
 * The votes of the largest group that says the same, when it is a quorum and nobody else is as many.
 * @param what is voted on, for the error
 * @throws CHAIN_DISAGREES
 */
export function majority<Vote>(
  votes: readonly Vote[],
  quorum: number,
  textOf: (vote: Vote) => string,
  what: string,
): Vote[] {
  const groups = [...Map.groupBy(votes, textOf).values()].sort((a, b) => b.length - a.length);
  const [largest = [], second = []] = groups;
  if (largest.length >= quorum && largest.length > second.length) return largest;
  throw new DmtpError("CHAIN_DISAGREES", `the nodes differ on ${what}`);
}
