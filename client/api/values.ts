/** What the answers of the API are made of. */
import type { Address } from "../../protocol/address.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { RoomId } from "../../protocol/room.ts";
import {
  array,
  boolean,
  branded,
  named,
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

export const hashSchema = named(hex(32), "Hash");
export const addressSchema = named(branded<Address>(hexPattern(20)), "Address");
export const roomIdSchema = named(branded<RoomId>(hexPattern(32)), "RoomId");
export const cidSchema = named(
  // 32 fixed bits stand before the digest and two zero bits after it, so these places take some characters only.
  branded<Cid>("^bafyrei[a-h][a-z2-7]{50}[aeimquy4]$"),
  "Cid",
);
export const codeSchema = text("^[A-Z][A-Z_]+$");

export const verdictSchema = named(
  union(
    object({ status: oneOf("verified") }),
    object({ status: oneOf("rejected"), code: codeSchema, reason: text() }),
    object({ status: oneOf("missing") }),
  ),
  "Verdict",
);
/** As SPEC 9 has it; a newer indexer may know more codes. */
export type VerdictAnswer = Value<typeof verdictSchema>;

export const bindingSchema = oneOf("signature", "chain");

/** Where on the chain something was said. */
export const provenance = {
  blockNumber: count,
  blockHash: hashSchema,
  transactionHash: hashSchema,
  final: boolean,
};

/** Which of two events in one block came first. */
export const logIndexSchema = count;

export const heightSchema = named(nullable(object({ block: count, hash: hashSchema })), "Height");
export type Height = Value<typeof heightSchema>;

export const countsSchema = named(object({ verified: count, rejected: count, missing: count }), "Counts");

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
