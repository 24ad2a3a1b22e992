/** Anchors and keys, which stand on the chain, as the API answers. */
import { array, boolean, named, hex, nullable, object, oneOf, text, union, type Value } from "./schema.ts";
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
  cid: nullable(cidSchema),
  text: text(),
  verdict: verdictSchema,
  counts: countsSchema,
  ...provenance,
  logIndex: logIndexSchema,
};
const manifest = {
  seq: count,
  base: nullable(count),
  prev: nullable(cidSchema),
  count: count,
  state: hashSchema,
};
export const anchorSchema = named(object({ ...anchor, manifest: nullable(object(manifest)) }), "Anchor");
export type AnchorAnswer = Value<typeof anchorSchema>;

export const anchorDetailSchema = named(
  object({
    ...anchor,
    manifest: nullable(object({ ...manifest, rooms: array(cidSchema), heads: array(cidSchema) })),
    lacks: array(cidSchema),
  }),
  "AnchorDetail",
);

export type AnchorDetailAnswer = Value<typeof anchorDetailSchema>;

export const keySchema = named(
  union(
    object({
      kind: oneOf("key"),
      index: count,
      version: count,
      encryptionKey: hashSchema,
      signingKey: hashSchema,
      document: cidSchema,
      deadline: text("^(?:0|[1-9][0-9]{0,77})$"),
      signature: hex(),
      hasCode: boolean,
      binding: bindingSchema,
      verdict: verdictSchema,
      documentVerdict: verdictSchema,
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
  "Key",
);
export type KeyAnswer = Value<typeof keySchema>;

export const anchorsPageSchema = object(pageMembers(anchorSchema));
export const anchorAnswerSchema = object({ at: heightSchema, anchor: anchorDetailSchema });
export const keysPageSchema = object({
  ...pageMembers(keySchema),
  wallet: addressSchema,
  current: named(object({ status: oneOf("usable", "rejected", "revoked"), version: count }), "CurrentKey"),
});
