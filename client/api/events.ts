/** The data of each event of the live updates, by its name. */
import { anchorSchema, keySchema } from "./chain.ts";
import { messageSchema } from "./rooms.ts";
import { named, nullable, object, oneOf, text } from "./schema.ts";
import { addressSchema, count, heightSchema } from "./values.ts";

export const eventSchemas = {
  message: messageSchema,
  anchor: anchorSchema,
  key: named(object({ wallet: addressSchema, key: keySchema }), "WalletKey"),
  reorg: named(
    object({
      to: heightSchema,
      depth: count,
      cause: oneOf("reorg", "gap"),
    }),
    "Reorg",
  ),
  height: named(object({ at: heightSchema, finalized: nullable(count) }), "HeightEvent"),
  reset: named(object({ reason: text() }), "Reset"),
} as const;
