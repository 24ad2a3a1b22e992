/** What the answers of the API are made of. */
import type { Address } from "../../protocol/address.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { RoomId } from "../../protocol/room.ts";
import {
  array,
  boolean,
  branded,
  describe,
  hex,
  hexPattern,
  integer,
  nullable,
  object,
  oneOf,
  text,
  union,
  type AnySchema,
  type Value,
} from "./schema.ts";

export const count = integer();

export const hashSchema = describe(hex(32), "32 bytes, 0x-prefixed lower-case hexadecimal", "Hash");
export const addressSchema = describe(branded<Address>(hexPattern(20)), "A wallet or contract, lower-case", "Address");
export const roomIdSchema = describe(
  branded<RoomId>(hexPattern(32)),
  "SPEC 5.1: a hash over deployment and wallets",
  "RoomId",
);
export const cidSchema = describe(
  // 32 fixed bits stand before the digest and two zero bits after it, so these places take some characters only.
  branded<Cid>("^bafyrei[a-h][a-z2-7]{50}[aeimquy4]$"),
  "CIDv1, dag-cbor, sha2-256, base32 lower-case",
  "Cid",
);
export const codeSchema = describe(text("^[A-Z][A-Z_]+$"), "One of the codes of SPEC 9; codes never change");

export const verdictSchema = describe(
  union(
    object({ status: oneOf("verified") }),
    object({ status: oneOf("rejected"), code: codeSchema, reason: text() }),
    object({ status: oneOf("missing") }),
  ),
  "`verified` and `rejected` are final; `missing` says that a block is not reachable yet",
  "Verdict",
);
/** As SPEC 9 has it; a newer indexer may know more codes. */
export type VerdictAnswer = Value<typeof verdictSchema>;

export const bindingSchema = describe(
  oneOf("signature", "chain"),
  "How a key is known to be the wallet's: by its own signature, or by the chain's word alone",
);

/** Where on the chain something was said. */
export const provenance = {
  blockNumber: count,
  blockHash: hashSchema,
  transactionHash: hashSchema,
  final: describe(boolean, "Whether the chain calls the block final: until then, a reorg may take it back"),
};

/** Which of two events in one block came first. */
export const logIndexSchema = describe(count, "The log's place in its block");

export const heightSchema = describe(
  nullable(object({ block: count, hash: hashSchema })),
  "The block up to which an answer is true; null before the first block was read",
  "Height",
);
export type Height = Value<typeof heightSchema>;

export const countsSchema = describe(
  object({ verified: count, rejected: count, missing: count }),
  "How many, by verdict",
  "Counts",
);

/** The members of a page: what is listed, and the cursor that asks for what comes after it. */
// @__NO_SIDE_EFFECTS__
export function pageMembers<Item extends AnySchema>(item: Item) {
  return { at: heightSchema, items: array(item), next: nullable(text()) };
}

export interface Page<Item> {
  readonly at: Height;
  readonly items: readonly Item[];
  readonly next: string | null;
}
