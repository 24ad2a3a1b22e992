/** Anchors and keys, which stand on the chain, as the API answers. */
import { array, boolean, describe, hex, nullable, object, oneOf, text, union, type Value } from "./schema.ts";
import {
  addressSchema,
  bindingSchema,
  cidSchema,
  count,
  countsSchema,
  hashSchema,
  heightSchema,
  logIndexSchema,
  pageMembers,
  provenance,
  verdictSchema,
} from "./values.ts";

const anchor = {
  index: count,
  cid: describe(nullable(cidSchema), "Null for a text that is not a DMTP CID"),
  text: describe(text(), "As it was stored"),
  verdict: verdictSchema,
  counts: describe(countsSchema, "Its messages, by verdict"),
  ...provenance,
  logIndex: logIndexSchema,
};
const manifest = {
  seq: count,
  base: describe(nullable(count), "The anchor it builds on"),
  prev: describe(nullable(cidSchema), "That anchor's CID"),
  count: describe(count, "Messages in its shards, as it says"),
  state: describe(hashSchema, "The state root after it, as it says"),
};
export const anchorSchema = describe(
  object({ ...anchor, manifest: nullable(object(manifest)) }),
  "One CID that CIDStore keeps, and what its manifest says",
  "Anchor",
);
export type AnchorAnswer = Value<typeof anchorSchema>;

export const anchorDetailSchema = describe(
  object({
    ...anchor,
    manifest: nullable(object({ ...manifest, rooms: array(cidSchema), heads: array(cidSchema) })),
    lacks: describe(array(cidSchema), "Its own blocks that no source has now"),
  }),
  "An anchor, with the links of its manifest and what is missing of it",
  "AnchorDetail",
);

export type AnchorDetailAnswer = Value<typeof anchorDetailSchema>;

export const keySchema = describe(
  union(
    object({
      kind: oneOf("key"),
      index: describe(count, "Counts all events of the registry"),
      version: count,
      encryptionKey: describe(hashSchema, "X25519"),
      signingKey: describe(hashSchema, "Ed25519"),
      document: describe(cidSchema, "The key document"),
      deadline: describe(text("^(?:0|[1-9][0-9]{0,77})$"), "Unix seconds, as text: the contract allows any uint256"),
      signature: describe(hex(), "The wallet's, over the binding (SPEC 3.3), as it was registered"),
      hasCode: describe(boolean, "Whether the wallet was a contract, or carried code, when it registered"),
      binding: bindingSchema,
      verdict: describe(verdictSchema, "Of the key"),
      documentVerdict: describe(verdictSchema, "Of its key document"),
      ...provenance,
      logIndex: logIndexSchema,
    }),
    object({
      kind: oneOf("revocation"),
      index: count,
      version: count,
      ...provenance,
      logIndex: logIndexSchema,
    }),
  ),
  "A key version, or a tombstone that revokes every version before it",
  "Key",
);
export type KeyAnswer = Value<typeof keySchema>;

export const anchorsPageSchema = object(pageMembers(anchorSchema));
export const anchorAnswerSchema = object({ at: heightSchema, anchor: anchorDetailSchema });
export const keysPageSchema = object({
  ...pageMembers(keySchema),
  wallet: addressSchema,
  current: describe(object({ status: oneOf("usable", "rejected", "revoked"), version: count }), "Its newest key"),
});
