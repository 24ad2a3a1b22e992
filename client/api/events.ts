/** The data of each event of the live updates, by its name. */
import { anchorSchema, keySchema } from "./chain.ts";
import { messageSchema } from "./rooms.ts";
import { describe, nullable, object, oneOf, text } from "./schema.ts";
import { addressSchema, count, heightSchema } from "./values.ts";

export const eventSchemas = {
  message: messageSchema,
  anchor: anchorSchema,
  key: describe(object({ wallet: addressSchema, key: keySchema }), "A wallet's key or tombstone", "WalletKey"),
  reorg: describe(
    object({
      to: describe(heightSchema, "The last block that still stands; null: none. What lay above it is taken back"),
      depth: describe(count, "Blocks that were taken back"),
      cause: describe(oneOf("reorg", "gap"), "The chain changed; or a node had left something out of it"),
    }),
    "Blocks were taken back",
    "Reorg",
  ),
  height: describe(
    object({ at: heightSchema, finalized: nullable(count) }),
    "All events so far have been sent, up to this block; what is final now",
    "HeightEvent",
  ),
  reset: describe(
    object({ reason: text() }),
    "The position is not known here: read the lists again; what follows is new",
    "Reset",
  ),
} as const;
