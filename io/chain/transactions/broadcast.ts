/** What a node's refusal of a transaction means; every client has words of its own for the same few things. */
import { faultOf } from "../rpc/rpc-fault.ts";

/**
 * - `known`: the node has it already, as it should.
 * - `nonce used`: a transaction with this nonce is on the chain, ours or another.
 * - `nonce ahead`: an earlier nonce is still open.
 * - `outbid`: another transaction with this nonce waits, and this one does not pay enough more.
 * - `underpriced`: the chain takes no such fees at the moment.
 * - `poor`: the account can't pay for it.
 * - `unsure`: no answer, or none that says whether the node took it.
 * - `refused`: for a reason of its own.
 */
export type Refusal = "known" | "nonce used" | "nonce ahead" | "outbid" | "underpriced" | "poor" | "unsure" | "refused";

/** In the order in which they are tried: "replacement transaction underpriced" is not "underpriced". */
const WORDS: readonly (readonly [Refusal, RegExp])[] = [
  [
    "known",
    /already[ _]?known|\bknown transaction|already (?:imported|exists|in (?:the )?(?:mem)?pool)|ALREADY_EXISTS/i,
  ],
  [
    "outbid",
    /replacement[^.]*(?:underpriced|too low|not ?allowed)|could ?not ?replace|too low to replace|replaced by transaction with higher/i,
  ],
  ["nonce used", /nonce (?:is )?too low|old ?nonce|nonce (?:has )?already (?:been )?used|invalid transaction nonce/i],
  [
    "nonce ahead",
    /nonce ?(?:is )?too ?(?:high|distant|far)|nonce ?gap|gapped|in-flight transaction limit|future transaction tries|higher than the nonce/i,
  ],
  ["poor", /insufficient ?(?:funds|balance)|enough funds|sender doesn't have|upfront cost exceeds/i],
  [
    "underpriced",
    /underpriced|tip cap.*(?:below|minimum|needed)|(?:less|lower) than (?:the )?(?:block )?base ?fee|fee ?(?:cap)? ?too ?low|gas price (?:is )?(?:too low|below)/i,
  ],
  // A provider, or a pool, that is too busy for it at the moment.
  [
    "unsure",
    /too many requests|rate limit|request limit|(?<!gas )limit exceeded|pool is full|internal error|timed? ?out/i,
  ],
];

/** @param error what Account.broadcast threw; null when it is no failure of the node or the way to it */
export function refusalOf(error: unknown): Refusal | null {
  const fault = faultOf(error);
  if (fault === null) return null;
  if (fault.fault !== "answer") return "unsure";
  return WORDS.find(([, words]) => words.test(fault.message))?.[0] ?? "refused";
}
