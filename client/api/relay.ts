/** A relay's interface, as it answers. */
import type { Receipt } from "../../protocol/receipt.ts";
import { fromHex } from "../../protocol/bytes.ts";
import {
  array,
  base64,
  boolean,
  hex,
  integer,
  named,
  nullable,
  object,
  oneOf,
  partialObject,
  text,
  type Value,
} from "./schema.ts";
import {
  addressSchema,
  cidSchema,
  codeSchema,
  count,
  hashSchema,
  heightSchema,
  pageMembers,
  roomIdSchema,
} from "./values.ts";

export const receiptSchema = named(
  object({
    index: count,
    size: integer(1),
    path: array(hashSchema, 64),
    fromBlock: count,
    byBlock: count,
    signature: hex(65),
  }),
  "Receipt",
);
export type ReceiptAnswer = Value<typeof receiptSchema>;

export const relayedMessageSchema = named(
  partialObject(
    {
      cid: cidSchema,
      room: roomIdSchema,
      sender: addressSchema,
      receiver: addressSchema,
      senderKeyVersion: integer(1),
      receiverKeyVersion: integer(1),
      seq: integer(1),
      timestamp: count,
      state: oneOf("pending", "anchored", "final", "rejected"),
      rejection: nullable(codeSchema),
      anchor: nullable(object({ index: count, blockNumber: count })),
      receipt: nullable(receiptSchema),
    },
    { block: nullable(base64) },
  ),
  "RelayedMessage",
);
export type RelayedMessageAnswer = Value<typeof relayedMessageSchema>;

const limitSchema = object({ size: integer(1), perDay: integer(1) });

export const relaySchema = named(
  object({
    deployment: object({ chainId: count, cidStore: addressSchema, keyRegistry: addressSchema }),
    at: heightSchema,
    finalized: nullable(count),
    now: count,
    promise: object({
      blocks: integer(1),
      silence: nullable(oneOf("no key", "key expired", "chain unknown", "anchoring behind")),
      key: nullable(
        object({
          signer: addressSchema,
          fromBlock: count,
          toBlock: count,
          authority: addressSchema,
          signature: hex(65),
        }),
      ),
    }),
    limits: object({
      maxBlockBytes: integer(1),
      maxOutstanding: integer(1),
      conversation: limitSchema,
      senderBytes: limitSchema,
      newReceivers: limitSchema,
      strangers: limitSchema,
      clientWrites: limitSchema,
    }),
  }),
  "Relay",
);
export type RelayAnswer = Value<typeof relaySchema>;

export const takenSchema = object({ message: relayedMessageSchema });
export const relayedAnswerSchema = object({ at: heightSchema, message: relayedMessageSchema });
export const nextSchema = named(object({ seq: integer(1, 2 ** 53), heads: array(hashSchema, 16) }), "Next");
export const pendingPageSchema = object(pageMembers(relayedMessageSchema));

/** The data of each event of a relay's live updates, by its name: a message is told of again whenever its state is another. */
export const relayEventSchemas = {
  message: relayedMessageSchema,
  height: named(object({ at: heightSchema, finalized: nullable(count) }), "HeightEvent"),
  reset: named(object({ reason: text() }), "Reset"),
} as const;

export const relayHealthSchema = object({ status: oneOf("ok") });
export const relayReadySchema = object({ status: oneOf("ready"), promises: boolean });

/** A receipt as protocol/ checks it. */
export function toReceipt(cid: Receipt["cid"], { path, signature, ...rest }: ReceiptAnswer): Receipt {
  return { ...rest, cid, path: path.map((hash) => fromHex(hash)), signature: fromHex(signature) };
}
