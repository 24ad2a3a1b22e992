/** How many of several nodes have to say the same, and what those say together. */
import { toHex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import { isPassing, type Endpoint } from "../rpc/endpoint.ts";

/** Whether all nodes that were given have to say the same, or most of them. */
export type Policy = "all" | "majority";

/** How many of the nodes that were given have to say the same: whoever can keep some of them away must not decide for the rest. */
export function countRequired(policy: Policy, given: number): number {
  return policy === "all" ? given : Math.floor(given / 2) + 1;
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
  toText: (vote: Vote) => string,
  what: string,
): Vote[] {
  const groups = [...Map.groupBy(votes, toText).values()].sort((a, b) => b.length - a.length);
  const [largest = [], second = []] = groups;
  if (largest.length >= quorum && largest.length > second.length) return largest;
  throw new DmtpError("CHAIN_DISAGREES", `the nodes differ on ${what}`);
}

/**
 * Reads from as many nodes as a quorum has, and from the others when some of these fail or differ.
 * @param endpoints the best first
 * @param combine what a quorum of the answers says together; throws CHAIN_DISAGREES where no quorum says the same
 * @throws what `read` and `combine` throw last
 */
export async function readFromQuorum<T, Combined>(
  endpoints: readonly Endpoint[],
  quorum: number,
  read: (endpoint: Endpoint) => Promise<T>,
  combine: (given: readonly T[]) => Combined,
): Promise<Combined> {
  const waiting = [...endpoints];
  const given: T[] = [];
  let reason: unknown;
  while (waiting.length > 0) {
    const asked = waiting.splice(0, Math.max(1, quorum - given.length));
    for (const answer of await Promise.allSettled(asked.map(read))) {
      if (answer.status === "fulfilled") given.push(answer.value);
      else if (isPassing(answer.reason)) reason = answer.reason;
      else throw answer.reason;
    }
    if (given.length < quorum) continue;
    try {
      return combine(given);
    } catch (error) {
      // One of them may be wrong: those that were not asked yet decide.
      if (!isPassing(error)) throw error;
      reason = error;
    }
  }
  throw reason;
}

/** The one value that a quorum gives. @throws CHAIN_DISAGREES */
export function takeSame<T>(given: readonly T[], quorum: number, what: string): T {
  const [first] = quorum === 1 && given.length === 1 ? given : majority(given, quorum, toComparableText, what);
  return first as T;
}

/** Two values have the same text exactly when they say the same. */
export function toComparableText(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => {
    if (typeof member === "bigint") return String(member);
    return member instanceof Uint8Array ? toHex(member) : member;
  });
}
