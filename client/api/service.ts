/** How the indexer itself is doing, and its problem documents, as the API answers. */
import {
  array,
  boolean,
  describe,
  integer,
  nullable,
  number,
  object,
  oneOf,
  record,
  text,
  type Value,
} from "./schema.ts";
import { addressSchema, cidSchema, codeSchema, count, countsSchema, hashSchema, heightSchema } from "./values.ts";

const sourceSchema = object({
  state: describe(oneOf("ok", "suspended"), "`suspended`: not asked for a while, after faults of its own"),
  found: count,
  absent: count,
  faults: describe(record(count), "How often it failed, by the kind of failure"),
  latencyMs: describe(nullable(number), "Of the blocks that it gave, in the mean"),
});

export const statusSchema = describe(
  object({
    deployment: object({ chainId: count, cidStore: addressSchema, keyRegistry: addressSchema }),
    ready: boolean,
    problem: describe(nullable(object({ code: codeSchema, detail: text() })), "What keeps it from being ready"),
    alarm: describe(
      nullable(text()),
      "Set for good when a final block changed: no later block is called final. Also set while less is called final than was",
    ),
    head: describe(heightSchema, "The chain as last seen"),
    indexed: heightSchema,
    finalized: nullable(count),
    finalityStalledSeconds: describe(
      nullable(count),
      "Set while nothing more became final for over a minute, though the chain went on",
    ),
    lag: describe(nullable(object({ blocks: count, seconds: nullable(count) })), "From the index to the head"),
    tip: describe(
      nullable(object({ anchorIndex: count, cid: cidSchema, seq: count })),
      "The verified manifest with the highest index",
    ),
    stateRoot: hashSchema,
    counts: object({ rooms: count, keys: count, anchors: countsSchema, messages: countsSchema }),
    content: object({
      reachable: describe(boolean, "Whether the content store answered the last time"),
      missing: describe(count, "Blocks that are lacking"),
      retrying: describe(count, "Those among them that no source had when they were asked for"),
      sources: describe(
        array(sourceSchema),
        "Each content source in the order of the configuration; none where blocks lie in a folder only",
      ),
    }),
  }),
  "Deployment, heights, counts, tip and state root",
  "Status",
);
export type StatusAnswer = Value<typeof statusSchema>;

export const healthSchema = object({ status: oneOf("ok") });
export const readySchema = object({ at: heightSchema, status: oneOf("ready") });

/** What a client takes of a problem document; a proxy's may have less. */
export const refusalSchema = object({ code: text(), detail: text() });

export const problemSchema = describe(
  object({
    type: text("^urn:dmtp:error:[A-Z_]+$"),
    title: text(),
    status: integer(400, 599),
    detail: text(),
    code: codeSchema,
    hint: text(),
  }),
  "RFC 9457",
  "Problem",
);
