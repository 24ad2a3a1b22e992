/** What the service answers, as zod schemas: the OpenAPI document is derived from them, and the tests hold answers against them. */
import { z } from "zod";

import { MAX_MEMBERS } from "../protocol/room-policy.ts";

const hex = (bytes: number): z.ZodString => z.string().regex(new RegExp(`^0x[0-9a-f]{${2 * bytes}}$`));
const count = z.int().nonnegative();

export const hashSchema = hex(32).meta({ id: "Hash", description: "32 bytes, 0x-prefixed lower-case hexadecimal" });
export const addressSchema = hex(20).meta({ id: "Address", description: "A wallet or contract, lower-case" });
export const roomIdSchema = hex(32).meta({ id: "RoomId", description: "SPEC 5.1: a hash over deployment and wallets" });
export const cidSchema = z
  .string()
  // Before the digest stand 32 fixed bits, behind it two that are 0: so not every character can be every one.
  .regex(/^bafyrei[a-h][a-z2-7]{50}[aeimquy4]$/)
  .meta({ id: "Cid", description: "CIDv1, dag-cbor, sha2-256, base32 lower-case" });
const codeSchema = z
  .string()
  .regex(/^[A-Z][A-Z_]+$/)
  .describe("One of the codes of SPEC 9; codes never change");

export const verdictSchema = z
  .discriminatedUnion("status", [
    z.strictObject({ status: z.literal("verified") }),
    z.strictObject({ status: z.literal("rejected"), code: codeSchema, reason: z.string() }),
    z.strictObject({ status: z.literal("missing") }),
  ])
  .meta({
    id: "Verdict",
    description: "`verified` and `rejected` are final; `missing` says that a block is not reachable yet",
  });

/** Where on the chain something was said. */
const provenance = {
  blockNumber: count,
  blockHash: hashSchema,
  transactionHash: hashSchema,
  final: z.boolean().describe("Whether the chain calls the block final: until then, a reorg may take it back"),
};

/** Which of two events in one block came first. */
const logIndex = count.describe("The log's place in its block");

export const heightSchema = z
  .strictObject({ block: count, hash: hashSchema })
  .nullable()
  .meta({ id: "Height", description: "The block up to which an answer is true; null before the first block was read" });

export const countsSchema = z
  .strictObject({ verified: count, rejected: count, missing: count })
  .meta({ id: "Counts", description: "How many, by verdict" });

const bindingSchema = z
  .enum(["signature", "chain"])
  .describe("How a key is known to be the wallet's: by its own signature, or by the chain's word alone");

export const messageSchema = z
  .strictObject({
    cid: cidSchema,
    room: roomIdSchema,
    sender: addressSchema.nullable(),
    receiver: addressSchema.nullable(),
    senderKeyVersion: count.nullable().describe("Of the key that it is signed with"),
    receiverKeyVersion: count.nullable().describe("Of the key that it is sealed for"),
    seq: count.nullable().describe("The sender's own count in the room under that key version"),
    timestamp: count.nullable().describe("Milliseconds since 1970, by the sender's clock: a claim"),
    sizeBytes: count.nullable(),
    binding: bindingSchema
      .nullable()
      .describe("Of the sender's key, at its anchor; null where there was no such key, or the room is another"),
    verdict: verdictSchema,
    accounted: z
      .boolean()
      .describe(
        "Whether its anchor is verified: only then do the room's count and root, and the state, account for it",
      ),
    anchorIndex: count,
    ordinal: count.describe("8,192 times the number of its shard, plus its place in that"),
    ...provenance,
    block: z.base64().nullable().optional().describe("The envelope, with `include=block`; null while missing"),
  })
  .meta({
    id: "Message",
    description:
      "One place in a room's history. Members that only the envelope says are null while it is missing, or none.",
  });

/** What the state at the tip has of a room. */
const roomState = {
  n: count.nullable().describe("Its messages at the tip; null when the tip does not have the room"),
  root: hashSchema.nullable().describe("RFC 9162 root over them"),
  lastAnchor: count.nullable().describe("The anchor that touched it last, at the tip"),
};
export const roomStateSchema = z
  .strictObject(roomState)
  .meta({ id: "RoomState", description: "Of the height that the answer names, as everything in it" });

export const roomSchema = z
  .strictObject({
    id: roomIdSchema,
    members: z
      .array(addressSchema)
      .max(MAX_MEMBERS)
      .describe("Its two wallets, ascending; empty until a message names them"),
    counts: countsSchema,
    ...roomState,
  })
  .meta({ id: "Room" });

const named = z
  .strictObject({ sender: addressSchema, senderKeyVersion: count, seq: count })
  .meta({ id: "SequenceNumber", description: "Each key version of a sender counts its messages in the room from 1" });
export const roomDetailSchema = z
  .strictObject({
    ...roomSchema.shape,
    omissions: z.strictObject({
      gaps: z.array(named).describe("Numbers that no message has, below the highest of that key version; at most 100"),
      forks: z.array(named).describe("Numbers that more than one message has; at most 100"),
      unseen: z.array(cidSchema).describe("Messages that a sender had seen and the room does not hold; at most 100"),
    }),
    lacks: z.strictObject({
      messages: z.array(cidSchema).describe("Its messages that no source has now; at most 100 are named"),
      anchors: z.array(count).describe("Undecided anchors, which may list more messages of it; at most 100 are named"),
    }),
  })
  .meta({ id: "RoomDetail" });

const anchor = {
  index: count,
  cid: cidSchema.nullable().describe("Null for a text that is not a DMTP CID"),
  text: z.string().describe("As it was stored"),
  verdict: verdictSchema,
  counts: countsSchema.describe("Its messages, by verdict"),
  ...provenance,
  logIndex,
};
const manifest = {
  seq: count,
  base: count.nullable().describe("The anchor it builds on"),
  prev: cidSchema.nullable().describe("That anchor's CID"),
  count: count.describe("Messages in its shards, as it says"),
  state: hashSchema.describe("The state root after it, as it says"),
};
export const anchorSchema = z
  .strictObject({ ...anchor, manifest: z.strictObject(manifest).nullable() })
  .meta({ id: "Anchor" });
export const anchorDetailSchema = z
  .strictObject({
    ...anchor,
    manifest: z.strictObject({ ...manifest, rooms: z.array(cidSchema), heads: z.array(cidSchema) }).nullable(),
    lacks: z.array(cidSchema).describe("Its own blocks that no source has now"),
  })
  .meta({ id: "AnchorDetail" });

export const keySchema = z
  .discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("key"),
      index: count.describe("Counts all events of the registry"),
      version: count,
      encryptionKey: hashSchema.describe("X25519"),
      signingKey: hashSchema.describe("Ed25519"),
      document: cidSchema.describe("The key document"),
      deadline: z
        .string()
        .regex(/^[0-9]+$/)
        .describe("Unix seconds, as text: the contract allows any uint256"),
      signature: z
        .string()
        .regex(/^0x(?:[0-9a-f]{2})*$/)
        .describe("The wallet's, over the binding (SPEC 3.3), as it was registered"),
      hasCode: z.boolean().describe("Whether the wallet was a contract, or carried code, when it registered"),
      binding: bindingSchema,
      verdict: verdictSchema.describe("Of the key"),
      documentVerdict: verdictSchema.describe("Of its key document"),
      ...provenance,
      logIndex,
    }),
    z.strictObject({ kind: z.literal("revocation"), index: count, version: count, ...provenance, logIndex }),
  ])
  .meta({ id: "Key", description: "A key version, or a tombstone that revokes every version before it" });

/** The data of each event of the live updates, by its name. */
export const eventSchemas = {
  message: messageSchema,
  anchor: anchorSchema,
  key: z.strictObject({ wallet: addressSchema, key: keySchema }).meta({ id: "WalletKey" }),
  reorg: z
    .strictObject({
      to: heightSchema.describe("The last block that still stands; null: none. What lay above it is taken back"),
      depth: count.describe("Blocks that were taken back"),
      cause: z.enum(["reorg", "gap"]).describe("The chain changed; or a node had left something out of it"),
    })
    .meta({ id: "Reorg" }),
  height: z
    .strictObject({ at: heightSchema, finalized: count.nullable() })
    .meta({ id: "HeightEvent", description: "All events so far have been sent, up to this block; what is final now" }),
  reset: z
    .strictObject({ reason: z.string() })
    .meta({ id: "Reset", description: "The position is not known here: read the lists again; what follows is new" }),
} as const;

export const statusSchema = z
  .strictObject({
    deployment: z.strictObject({ chainId: count, cidStore: addressSchema, keyRegistry: addressSchema }),
    ready: z.boolean(),
    problem: z
      .strictObject({ code: codeSchema, detail: z.string() })
      .nullable()
      .describe("What keeps it from being ready"),
    alarm: z.string().nullable().describe("Set for good when a final block changed: no later block is called final"),
    head: heightSchema.describe("The chain as last seen"),
    indexed: heightSchema,
    finalized: count.nullable(),
    finalityStalledSeconds: count
      .nullable()
      .describe("Set while nothing more became final for over a minute, though the chain went on"),
    lag: z.strictObject({ blocks: count, seconds: count.nullable() }).nullable().describe("From the index to the head"),
    tip: z
      .strictObject({ anchorIndex: count, cid: cidSchema, seq: count })
      .nullable()
      .describe("The verified manifest with the highest index"),
    stateRoot: hashSchema,
    counts: z.strictObject({ rooms: count, keys: count, anchors: countsSchema, messages: countsSchema }),
    content: z.strictObject({
      reachable: z.boolean().describe("Whether the content store answered the last time"),
      missing: count.describe("Blocks that are lacking"),
      retrying: count.describe("Those among them that were asked for in vain"),
      sources: z
        .array(
          z.strictObject({
            state: z.enum(["ok", "suspended"]).describe("`suspended`: not asked for a while, after faults of its own"),
            found: count,
            absent: count,
            faults: z.record(z.string(), count).describe("How often it failed, by the kind of failure"),
            latencyMs: z.number().nonnegative().nullable().describe("Of the blocks that it gave, in the mean"),
          }),
        )
        .describe("Each content source in the order of the configuration; none where blocks lie in a folder only"),
    }),
  })
  .meta({ id: "Status" });

export const problemSchema = z
  .strictObject({
    type: z.string().regex(/^urn:dmtp:error:[A-Z_]+$/),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string(),
    code: codeSchema,
    hint: z.string(),
  })
  .meta({ id: "Problem", description: "RFC 9457" });

/** A page, and the cursor that asks for what comes behind it. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.strictObject({ at: heightSchema, items: z.array(item), next: z.string().nullable() });
}
