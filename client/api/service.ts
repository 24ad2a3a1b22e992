/** How the indexer itself is doing, and its problem documents, as the API answers. */
import { array, boolean, named, integer, nullable, number, object, oneOf, record, text, type Value } from "./schema.ts";
import { addressSchema, cidSchema, codeSchema, count, countsSchema, hashSchema, heightSchema } from "./values.ts";

const sourceSchema = object({
  state: oneOf("ok", "suspended"),
  found: count,
  absent: count,
  faults: record(count),
  latencyMs: nullable(number),
});

export const statusSchema = named(
  object({
    deployment: object({ chainId: count, cidStore: addressSchema, keyRegistry: addressSchema }),
    ready: boolean,
    problem: nullable(object({ code: codeSchema, detail: text() })),
    alarm: nullable(text()),
    head: heightSchema,
    indexed: heightSchema,
    finalized: nullable(count),
    finalityStalledSeconds: nullable(count),
    lag: nullable(object({ blocks: count, seconds: nullable(count) })),
    tip: nullable(object({ anchorIndex: count, cid: cidSchema, seq: count })),
    stateRoot: hashSchema,
    counts: object({ rooms: count, keys: count, anchors: countsSchema, messages: countsSchema }),
    content: object({
      reachable: boolean,
      // Counted at each place that lists it, so that nobody has to look at all of them.
      missing: count,
      retrying: count,
      sources: array(sourceSchema),
    }),
  }),
  "Status",
);
export type StatusAnswer = Value<typeof statusSchema>;

export const healthSchema = object({ status: oneOf("ok") });
export const readySchema = object({ at: heightSchema, status: oneOf("ready") });

/** What a client takes of a problem document; a proxy's may have less. */
export const refusalSchema = object({ code: text(), detail: text() });

export const problemSchema = named(
  object({
    type: text("^urn:dmtp:error:[A-Z_]+$"),
    title: text(),
    status: integer(400, 599),
    detail: text(),
    code: codeSchema,
    hint: text(),
  }),
  "Problem",
);
